"""Files and folders for nobody but the user that runs the project, whatever the umask."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

_OTHERS = 0o077


class NotOursError(RuntimeError):
    """Somebody else made it, or may write to it: what is in it cannot be believed."""


def opener(path: str, flags: int) -> int:
    """For `open`: a file that is made by it is 0600."""
    return os.open(path, flags, 0o600)


class Connection(sqlite3.Connection):
    """For the `factory` option of a SQLite database. SQLite itself makes the file 0644, and `-wal`
    and `-shm` as the file is.
    """

    def __init__(self, database: str, *args: Any, **kwargs: Any) -> None:
        if not str(database).startswith(("file:", ":memory:")):
            _make(database)
        super().__init__(database, *args, **kwargs)


def _make(database: str) -> None:
    with suppress(OSError):  # it is there; or SQLite says better what is wrong
        os.close(opener(database, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def lax(*paths: Path) -> Iterator[Path]:
    """Those that others may read or write, and their SQLite files of the same name."""
    for path in paths:
        for each in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            try:
                mode = each.lstat().st_mode
            except OSError:
                continue
            if stat.S_ISREG(mode) and mode & _OTHERS:
                yield each


def tighten(*paths: Path) -> None:
    """Take the rights of others away. What is not ours stays as it is."""
    for path in lax(*paths):
        with suppress(OSError):
            path.chmod(path.lstat().st_mode & ~_OTHERS & 0o777)


def claim(home: Path) -> None:
    """Make a folder that is ours alone, or see that it is. Raises NotOursError.

    In a folder that all may write to, another user could make it before us, and answer there.
    """
    above = home.parent.stat()
    if above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX:
        raise NotOursError(f"others may replace {home}: {home.parent} lacks the sticky bit")
    if above.st_uid not in (0, os.getuid()):
        raise NotOursError(f"another user may replace {home}: {home.parent} is theirs")
    with suppress(FileExistsError):
        home.mkdir(mode=0o700)
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise NotOursError(f"{home} is not a folder of this user: remove it, or set REDIS_URL")
    if found.st_mode & 0o022:
        raise NotOursError(f"others may write to {home}: remove it, or set REDIS_URL")
    if found.st_mode & _OTHERS:
        home.chmod(0o700)
    for inside in home.iterdir():
        if inside.lstat().st_uid != os.getuid() or inside.is_symlink():
            raise NotOursError(f"{inside} is not this user's: remove it, or set REDIS_URL")
