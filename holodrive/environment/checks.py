"""Judges Django settings by the kinds that variables have: a project that uses the apps without
holodrive/settings.py writes them itself.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from holodrive.environment.kinds import Kind, WrongValueError


def wrong_settings(
    kinds: Mapping[str, Kind], defaults: Mapping[str, Any], id: str
) -> Iterator[CheckMessage]:
    """Give an Error for each setting that is not of its kind. Defaults are right."""
    for name, kind in kinds.items():
        value, default = getattr(settings, name, defaults[name]), defaults[name]
        try:
            if type(value) is not type(default) or value != default:
                kind.check(value)
        except WrongValueError as problem:
            why = f": {problem.why}" if problem.why else ""
            need = kind.need(default)
            yield Error(
                f"{name} has {kind.shown(problem.part) or 'a wrong value'}{why}.",
                hint=f"{need[0].upper()}{need[1:]}.",
                id=id,
            )
