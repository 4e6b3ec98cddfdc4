"""Reads a file of variables (`.env`) into the environment. Its lines are never repeated: they hold
keys.
"""

import io
import os
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)")
_QUOTES = ("'", '"')


def load(named: str | None, beside: Path, variables: MutableMapping[str, str]) -> list[str]:
    """Read the file that ENV_FILE names (None: `beside`, if it is there; empty: no file) into these
    variables; those that are there stay. Return the names in it, twice if they stand there twice.
    Raises ImproperlyConfigured.
    """
    if named == "" or (named is None and not os.path.lexists(beside)):
        return []
    path = beside if named is None else Path(named)
    found = list(_lines(path))
    into: Any = type("Into", (environ.Env,), {"ENVIRON": variables})
    text = "\n".join(f"{name}={value}" for name, value in found)
    into.read_env(io.StringIO(text), overwrite=False)
    return [name for name, _ in found]


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_text(path).splitlines(), start=1):
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise _wrong(path, f"line {number} is not NAME=value")
        value = found["value"].rstrip()
        if not value.startswith(_QUOTES):
            value = found["value"]  # a key may not end in white space: it is refused, not cut
        elif len(value) == 1 or value[0] != value[-1]:
            raise _wrong(path, f"the quote in line {number} does not end there")
        yield found["name"], value


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # Notepad writes a mark ahead
    except OSError as problem:
        raise _wrong(path, f"{problem.strerror}".lower()) from None
    except UnicodeDecodeError:
        raise _wrong(path, "it is not UTF-8") from None
    if "\0" in text:
        raise _wrong(path, "there is a NUL in it")
    return text


def _wrong(path: Path, why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"ENV_FILE={str(path)!r}: {why}; a file of lines NAME=value in UTF-8 is wanted, such as "
        ".env.example"
    )
