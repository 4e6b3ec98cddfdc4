"""What would keep pushes from going out, said at the start."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from holodrive.environment.checks import wrong_settings
from holodrive.environment.keys import Contact
from holodrive.environment.kinds import Kind, Listed, Name, Seconds, WrongValueError, days
from holodrive.environment.places import PushHost
from push import backends
from push.apps import DEFAULTS

# Those that our own apps write; a project's own types are as good.
_OUR_TYPES = ("chat_message", "conversation_assigned")


@dataclass(frozen=True)
class Backends(Kind):
    wanted = "a dictionary of channels and the paths of their classes"
    example = '{"web": "push.backends.web.WebPush"}'

    def check(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise WrongValueError(value)
        for part in (*value, *value.values()):
            if not isinstance(part, str):
                raise WrongValueError(part)


KINDS: dict[str, Kind] = {
    "PUSH_BACKENDS": Backends(),
    "PUSH_DELAY_SECONDS": Seconds(),
    "PUSH_MANDATORY_CATEGORIES": Listed(Name()),
    "PUSH_SHOWN_DAYS": days(),
    "PUSH_VAPID_SUBJECT": Contact(),
    "PUSH_WEB_HOSTS": Listed(PushHost()),
}


@register
def check_backends(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    if found := [*wrong_settings(KINDS, DEFAULTS, "push.E002")]:
        return found
    try:
        backends.configured()
    except ImportError as problem:
        hint = "pip install -r requirements-push.txt"
        return [
            Error(f"A channel of PUSH_BACKENDS is missing: {problem}", hint=hint, id="push.E001")
        ]
    except ImproperlyConfigured as problem:
        return [Error(str(problem), id="push.E002")]
    return [*_slips()]


def _slips() -> Iterator[CheckMessage]:
    for name in settings.PUSH_MANDATORY_CATEGORIES:
        near = get_close_matches(name, _OUR_TYPES, 1, 0.8)
        if near and name not in _OUR_TYPES:
            yield Warning(
                f"PUSH_MANDATORY_CATEGORIES has {name!r}, which no app of ours writes.",
                hint=f"Is {near[0]} meant?",
                id="push.W001",
            )
