"""Reads settings from the environment (and `.env`). Every wrong value is one clear sentence, all of
them at once, and never a traceback.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from holodrive.environment import file, keys, kinds, urls

# Of names that begin so, one that is nearly a variable's is a slip.
_OURS = (
    "REALTIME_",
    "WEBSOCKET_",
    "CHAT_",
    "NOTIFICATIONS_",
    "PUSH_",
    "JWT_",
    "LOGIN_",
    "TRUSTED_",
)
_LIKE_OURS, _LIKE_OTHERS = 0.805, 0.9
_SHORTEST = 8  # DEBUG and its like have neighbours that somebody means
_OF_THE_TESTS = ("TEST_DATABASE", "TEST_PATIENCE")


class Environment:
    """Typed reads of environment variables. Real variables win over the file. An empty variable
    counts as one that is not set, unless its kind says otherwise.
    """

    def __init__(
        self,
        named: str | None,
        beside: Path,
        variables: MutableMapping[str, str] = os.environ,
    ) -> None:
        self._variables = variables
        self._in_file = file.load(named, beside, variables)
        self.known: dict[str, tuple[kinds.Kind, Any]] = {}  # by name; with the default
        self.problems: list[str] = []

    def read(self, name: str, kind: kinds.Kind, default: Any) -> Any:
        """Return the variable's value; the default in place of a wrong one, until `refuse`."""
        self.known[name] = kind, default
        text = self._variables.get(name)
        if text is None:
            return default
        try:
            if not text.strip():
                return kind.empty(default)
            return kind.read(text if kind.is_whole else text.strip())
        except kinds.WrongValueError as problem:
            if text.strip()[:1] in ("'", '"'):  # `docker --env-file` keeps them
                problem.why = "there are quotes around it"
            self.problems.append(kind.sentence(name, problem, default))
            return default

    def flag(self, name: str, *, default: bool) -> bool:
        return bool(self.read(name, kinds.Flag(), default))

    def number(self, name: str, default: int, *, at_least: int = 0, at_most: int = 2**31) -> int:
        return int(self.read(name, kinds.Number(at_least, at_most), default))

    def days(self, name: str, default: int, *, at_least: int = 0) -> int:
        return int(self.read(name, kinds.days(at_least=at_least), default))

    def seconds(
        self, name: str, default: float, *, at_least: float = 0, at_most: float = 86_400
    ) -> float:
        return float(self.read(name, kinds.Seconds(at_least, at_most), float(default)))

    def text(self, name: str, default: str, kind: kinds.Kind | None = None) -> str:
        return str(self.read(name, kind or kinds.Text(), default))

    def names(self, name: str, default: list[str], item: kinds.Kind | None = None) -> list[str]:
        return list(self.read(name, kinds.Listed(item or kinds.Text()), default))

    def words(self, name: str, refusal: Callable[[str], str]) -> list[str]:
        return list(self.read(name, kinds.Words(refusal), []))

    def key(self, name: str, default: str | None = None) -> str:
        """Return a secret. Without a default it has to be there."""
        if default is None and not self._variables.get(name, "").strip():
            self.problems.append(f"{name} is missing: set it in the environment or in .env")
        return str(self.read(name, keys.Key(), default or ""))

    def former_keys(self, name: str) -> list[str]:
        return list(self.read(name, keys.FormerKeys(), []))

    def sizes(self, name: str) -> dict[str, int]:
        return dict(self.read(name, kinds.Sizes(), {}))

    def database(self, name: str, default: str) -> dict[str, Any]:
        """Return an entry of DATABASES."""
        return dict(self.read(name, urls.DatabaseUrl(), urls.configuration(default)))

    def refuse(self) -> None:
        """Raise ImproperlyConfigured with a line for each wrong value, if there is one."""
        if self.problems:
            raise ImproperlyConfigured("\nerror: ".join(self.problems))

    def notices(self) -> list[str]:
        """Return what is probably a slip: a name almost of ours, a name twice in the file."""
        twice = [name for name, count in Counter(self._in_file).items() if count > 1]
        known = {*self.known, "ENV_FILE"}
        unknown = sorted({*self._variables} - known - {*_OF_THE_TESTS})
        near = {name: _nearest(name, known) for name in unknown}
        return [
            *(
                f"{name} is twice in the file of variables, and the last one counts"
                for name in twice
            ),
            *(f"{name} is not read: is {known} meant?" for name, known in near.items() if known),
        ]


def _nearest(name: str, known: Iterable[str]) -> str | None:
    is_like_ours = name.upper().startswith(_OURS)
    if not is_like_ours and len(name) < _SHORTEST:
        return None
    cutoff = _LIKE_OURS if is_like_ours else _LIKE_OTHERS
    return next(iter(get_close_matches(name.upper(), known, 1, cutoff)), None)
