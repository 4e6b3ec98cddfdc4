"""Kinds of settings. Each says what it takes, reads the text of a variable, and checks the value
that a project gives the Django setting of that name.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

COMMAS = "several are separated by commas"
_LONGEST_SHOWN = 80
_COLLECTIONS = (list, tuple, set, frozenset)
_PATH = r"/[A-Za-z0-9._~!$&()*+=:@%/-]*"  # RFC 3986, 3.3, less what separates here
_FLAGS = {
    **dict.fromkeys(("1", "on", "true", "yes", "y", "ok", "t"), True),
    **dict.fromkeys(("0", "off", "false", "no", "n", "f"), False),
}


class WrongValueError(ValueError):
    """A value that its kind refuses. `part` is what is wrong about it, `why` says more."""

    def __init__(self, part: object = None, why: str = "") -> None:
        super().__init__(why)
        self.part, self.why = part, why


@dataclass(frozen=True)
class Kind:
    """Texts come without the white space around them, and are not empty."""

    example = ""  # the default, if there is none
    is_whole = False  # of these the white space around them counts

    @property
    def wanted(self) -> str:
        raise NotImplementedError

    @property
    def is_secret(self) -> bool:
        """Whether no message may repeat it."""
        return False

    def read(self, text: str) -> Any:
        """Return the value of a variable's text. Raises ValueError."""
        raise NotImplementedError

    def empty(self, default: Any) -> Any:
        """Return what an empty variable means: the same as none."""
        return default

    def check(self, value: Any) -> None:
        """Judge the value of a Django setting. Raises ValueError."""
        if not isinstance(value, str):
            raise WrongValueError(value, "it is not a string")
        if (meant := self.read(value)) != value:
            raise WrongValueError(value, f"write it as {meant!r}")

    def shown(self, part: object) -> str:
        """Return a wrong value as messages quote it, in one line; "" if they may not."""
        if self.is_secret:
            return ""
        if isinstance(part, int) and abs(part) > 10**_LONGEST_SHOWN:
            return "a number of too many digits"
        text = repr(part)
        return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 4]}...'"

    def need(self, default: Any) -> str:
        """Return what is wanted, with an example."""
        example = self.example or ("" if default in ("", None, [], {}) else str(default))
        return f"{self.wanted} is wanted" + (f", such as {example}" if example else "")

    def sentence(self, name: str, problem: "WrongValueError", default: Any) -> str:
        """Return what is wrong with that variable, in one line."""
        shown = self.shown(problem.part)
        why = f"{problem.why}; " if problem.why else ""
        return f"{name}{'=' if shown else ''}{shown}: {why}{self.need(default)}"


@dataclass(frozen=True)
class Text(Kind):
    """Any text that can be printed in one line."""

    wanted = "a text in one line"

    def read(self, text: str) -> str:
        if not text.isprintable():
            raise WrongValueError(text)
        return text


@dataclass(frozen=True)
class Flag(Kind):
    wanted = "on or off"

    def read(self, text: str) -> bool:
        if text.lower() not in _FLAGS:
            raise WrongValueError(text)
        return _FLAGS[text.lower()]

    def check(self, value: Any) -> None:
        if not isinstance(value, bool):
            raise WrongValueError(value, "it is neither True nor False")

    def need(self, default: Any) -> str:
        return f"{self.wanted} is wanted"


@dataclass(frozen=True)
class Number(Kind):
    at_least: int = 0
    at_most: int = 2**31

    @property
    def wanted(self) -> str:
        return f"a whole number from {self.at_least} to {self.at_most}"

    def read(self, text: str) -> int:
        # int() takes +5, 1_000 and the digits of other scripts, and gives up at 4,300 of them.
        if not re.fullmatch(r"-?[0-9]{1,20}", text) or not self._has(int(text)):
            raise WrongValueError(text)
        return int(text)

    def check(self, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not self._has(value):
            raise WrongValueError(value)

    def _has(self, value: int) -> bool:
        return self.at_least <= value <= self.at_most


def days(*, at_least: int = 0) -> Number:
    """Up to a century: what lies so many days away has to be a date."""
    return Number(at_least, 36_500)


@dataclass(frozen=True)
class Seconds(Kind):
    at_least: float = 0
    at_most: float = 86_400

    @property
    def wanted(self) -> str:
        return f"a number of seconds from {self.at_least:g} to {self.at_most:g}"

    def read(self, text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not self._has(float(text)):
            raise WrongValueError(text)
        return float(text)

    def check(self, value: Any) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool) or not self._has(value):
            raise WrongValueError(value)

    def need(self, default: Any) -> str:
        return f"{self.wanted} is wanted, such as {default:g}"

    def _has(self, value: float) -> bool:
        return self.at_least <= value <= self.at_most  # neither has NaN


@dataclass(frozen=True)
class Listed(Kind):
    """Items, separated by commas; empty ones are left out. An empty variable is an empty list."""

    item: Kind

    @property
    def wanted(self) -> str:
        return self.item.wanted

    @property
    def is_secret(self) -> bool:
        return self.item.is_secret

    def shown(self, part: object) -> str:
        return self.item.shown(part)

    def empty(self, default: Any) -> list[Any]:
        return []

    def read(self, text: str) -> list[Any]:
        return [self.item.read(part) for part in _parts(text)]

    def check(self, value: Any) -> None:
        if not isinstance(value, _COLLECTIONS):
            raise WrongValueError(value, "it is not a list")
        for each in value:
            self.item.check(each)

    def need(self, default: Any) -> str:
        return self.item.need(default[0] if default else "")


@dataclass(frozen=True)
class Words(Kind):
    """Items with spaces between them, for a comma may be part of one. `refusal` returns why one is
    wrong, or nothing. An empty variable is an empty list.
    """

    refusal: Callable[[str], str]

    wanted = "a regular expression, or several with spaces between"
    example = "4[0-9]{8}"

    def empty(self, default: Any) -> list[str]:
        return []

    def read(self, text: str) -> list[str]:
        words = text.split()
        self.check(words)
        return words

    def check(self, value: Any) -> None:
        if not isinstance(value, _COLLECTIONS):
            raise WrongValueError(value, "it is not a list")
        for word in value:
            if not isinstance(word, str):
                raise WrongValueError(word, "it is not a string")
            if why := self.refusal(word):
                raise WrongValueError(word, why)


@dataclass(frozen=True)
class Name(Kind):
    wanted = "a name without spaces"
    longest: int = 50  # a notification_type's

    def read(self, text: str) -> str:
        is_quoted = text[:1] in ("'", '"')
        if not text.isprintable() or " " in text or is_quoted or len(text) > self.longest:
            raise WrongValueError(text, "" if " " not in text else COMMAS)
        return text


@dataclass(frozen=True)
class LogLevel(Kind):
    wanted = "DEBUG, INFO, WARNING, ERROR or CRITICAL"

    def read(self, text: str) -> str:
        if not logging.getLevelNamesMapping().get(text.upper()):  # NOTSET is the root's: WARNING
            raise WrongValueError(text)
        return text.upper()


@dataclass(frozen=True)
class Region(Kind):
    wanted = "the two letters (ISO 3166) of a country with phone numbers"

    def read(self, text: str) -> str:
        from phonenumbers import SUPPORTED_REGIONS  # the largest of our libraries, but one

        if text.upper() not in SUPPORTED_REGIONS:
            raise WrongValueError(text)
        return text.upper()


@dataclass(frozen=True)
class Prefix(Kind):
    """Begins names of channels and keys in Redis. Braces would choose the node of a cluster, and
    glob characters would stand for other deployments' names.
    """

    wanted = "1 to 64 letters, digits and . _ : / @ + = -"

    def read(self, text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._:/@+=-]{1,64}", text):
            raise WrongValueError(text)
        return text


@dataclass(frozen=True)
class Sizes(Kind):
    """`/path/=bytes`, with commas between several."""

    wanted = "/path/=bytes"
    example = "/uploads/=26214400"

    def read(self, text: str) -> dict[str, int]:
        pairs = list(self._pairs(text))
        found = dict(pairs)
        if len(found) < len(pairs):
            raise WrongValueError(text, "a path is there twice")
        self.check(found)
        return found

    def _pairs(self, text: str) -> Iterator[tuple[str, int]]:
        for pair in _parts(text):
            path, _, size = pair.rpartition("=")
            if not re.fullmatch(r"[0-9]{1,12}", size):
                raise WrongValueError(pair)
            yield path, int(size)

    def check(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise WrongValueError(value, "it is not a dictionary")
        for path, size in value.items():
            if not isinstance(path, str) or not re.fullmatch(_PATH, path):
                raise WrongValueError(path, "it is not a path")
            Number(at_most=10**12).check(size)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
