"""Reads settings from the environment (and `.env`); a wrong value is one clear sentence, never a
traceback.
"""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from holodrive.realtime import brokers


class Environment:
    """Typed reads of environment variables. Real variables win over the file."""

    def __init__(self, file: Path) -> None:
        self._env = environ.Env()
        if file.is_file():
            environ.Env.read_env(file, overwrite=False)

    def read(self, name: str, kind: str, default: Any, wants: str) -> Any:
        try:
            return getattr(self._env, kind)(name, default=default)
        except (ValueError, ImproperlyConfigured, KeyError) as wrong:
            raise ImproperlyConfigured(
                f"{name}={self._env.str(name, default='')!r}: {wants} is wanted ({wrong})"
            ) from wrong

    def text(self, name: str, default: str) -> str:
        # Not by django-environ: it takes "$x" for another variable's value, and keys begin so too.
        return str(self._env.ENVIRON.get(name, default))

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.text(name, "on" if default else "off").lower()
        if value not in (
            "1",
            "on",
            "true",
            "yes",
            "y",
            "ok",
            "t",
            "0",
            "off",
            "false",
            "no",
            "n",
            "f",
            "",
        ):
            raise ImproperlyConfigured(f"{name}={value!r}: on or off is wanted")
        return value in ("1", "on", "true", "yes", "y", "ok", "t")

    def number(self, name: str, default: int, *, at_least: int = 0, at_most: int = 2**31) -> int:
        wants = f"a whole number from {at_least} to {at_most}"
        value = int(self.read(name, "int", default, wants))
        if not at_least <= value <= at_most:
            raise ImproperlyConfigured(f"{name}={value}: {wants} is wanted")
        return value

    def seconds(self, name: str, default: float, *, at_least: float) -> float:
        wants = f"a number of seconds from {at_least:g} up"
        value = float(self.read(name, "float", default, wants))
        if not value >= at_least:
            raise ImproperlyConfigured(f"{name}={value:g}: {wants} is wanted")
        return value

    def names(self, name: str, default: list[str]) -> list[str]:
        parts = self.text(name, ",".join(default)).split(",")
        return [part.strip() for part in parts if part.strip()]

    def networks(self, name: str, default: list[str]) -> list[str]:
        found = self.names(name, default)
        for text in found:
            try:
                ip_network(text, strict=False)
            except ValueError:
                raise ImproperlyConfigured(
                    f"{name}={text!r}: addresses or networks are wanted, such as 10.0.0.0/8"
                ) from None
        return found

    def header(self, name: str, default: str) -> str:
        text = self.text(name, default).strip() or default
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", text):
            raise ImproperlyConfigured(
                f"{name}={text!r}: the name of a header is wanted, such as {default}"
            )
        return text

    def sizes(self, name: str) -> dict[str, int]:
        """`/path/=bytes`, with commas between several."""
        found: dict[str, int] = {}
        for pair in self.names(name, []):
            path, _, size = pair.rpartition("=")
            if not path.startswith("/") or not size.isdecimal() or len(size) > 12:
                raise ImproperlyConfigured(f"{name}={pair!r}: /path/=bytes is wanted")
            found[path] = int(size)
        return found

    def database(self, name: str, default: str) -> dict[str, Any]:
        """django-environ's form. The value is not repeated in the error: it may hold a password."""
        if urlsplit(self.text(name, default)).scheme not in environ.Env.DB_SCHEMES:
            raise ImproperlyConfigured(f"{name}: a URL such as postgres://user@host/name is wanted")
        config: dict[str, Any] = self.read(name, "db", default, "a database URL")
        return config

    def redis(self, name: str, default: str) -> str:
        """See `brokers.py`. The value is not repeated in the error either."""
        url = self.text(name, default) or default
        try:
            brokers.hosts(url)
        except ValueError as problem:
            raise ImproperlyConfigured(f"{name}: {problem}") from None
        return url
