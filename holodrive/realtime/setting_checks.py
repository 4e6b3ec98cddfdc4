"""Judges the engine's Django settings, which a project may write itself, as the variables of
holodrive/settings.py are judged.
"""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from jwt import PyJWTError
from rest_framework_simplejwt.exceptions import TokenBackendError
from rest_framework_simplejwt.settings import api_settings

from holodrive.environment.checks import wrong_settings
from holodrive.environment.keys import VerifyingKey
from holodrive.environment.kinds import Flag, Kind, Listed, Number, Seconds, Sizes, days
from holodrive.environment.places import Bind, Dialled, Header, Host, Network, Origin
from holodrive.realtime import keyring
from holodrive.realtime.apps import DEFAULTS

_PROXIES: dict[str, Kind] = {"TRUSTED_PROXIES": Listed(Network())}
_HEADER: dict[str, Kind] = {"CLIENT_ADDRESS_HEADER": Header()}
_OTHERS: dict[str, Kind] = {
    "JWT_SIGNING_KEY_FALLBACKS": Listed(VerifyingKey()),
    "REALTIME_BIND": Bind(),
    "REALTIME_CONNECTS_PER_USER": Number(),
    "REALTIME_DATABASE_THREADS": Number(2, 1000),
    "REALTIME_DRAIN_SECONDS": Seconds(),
    "REALTIME_FAILED_CONNECTS_PER_ADDRESS": Number(),
    "REALTIME_FRAMES_BURST": Number(1),
    "REALTIME_FRAMES_PER_SECOND": Number(),
    "REALTIME_HEARTBEAT_SECONDS": Number(1, 86_400),
    "REALTIME_LOG_DAYS": days(),
    "REALTIME_MAX_BODY_BYTES": Number(),
    "REALTIME_MAX_FRAME_BYTES": Number(0, 1_048_576),
    "REALTIME_OUTBOX_BYTES": Number(),
    "REALTIME_PRESENCE_SECONDS": Seconds(0.5),
    "REALTIME_PROCESSES": Number(),
    "REALTIME_RECONCILE_SECONDS": Seconds(0.1),
    "REALTIME_REQUESTS_PER_SECOND": Number(),
    "REALTIME_REQUEST_SECONDS": Seconds(),
    "REALTIME_RESUME_LIMIT": Number(1),
    "REALTIME_SOCKETS_PER_STAFF": Number(),
    "REALTIME_SOCKETS_PER_USER": Number(),
    "REALTIME_TRACING": Flag(),
    "REALTIME_UPLOADS": Sizes(),
    "WEBSOCKET_ALLOWED_ORIGINS": Listed(Origin()),
    "WEBSOCKET_HOST": Host(),
    "WEBSOCKET_PORT": Number(1, 65_535),
    "WEBSOCKET_URL": Dialled(),
}
KINDS = _PROXIES | _HEADER | _OTHERS


def wrong() -> Iterator[CheckMessage]:
    """Give an Error for each setting that is not of its kind."""
    yield from wrong_settings(_PROXIES, DEFAULTS, "realtime.E020")
    yield from wrong_settings(_HEADER, DEFAULTS, "realtime.E021")
    yield from wrong_settings(_OTHERS, DEFAULTS, "realtime.E022")


def are_wrong() -> bool:
    """Whether other checks, which compute with the settings, would fail over them."""
    return next(wrong(), None) is not None


def keys_of_tokens() -> Iterator[CheckMessage]:
    """What the keys of tokens cannot do, before a token meets them."""
    try:
        ring = keyring.ring()
        if api_settings.SIGNING_KEY:  # without one, tokens come from elsewhere
            _ = ring.prepared_signing_key
    except ImproperlyConfigured as problem:
        yield Error(
            str(problem),
            hint="Where tokens are signed with one of a pair of keys, JWT_SIGNING_KEY_FALLBACKS "
            "lists the public keys of before.",
            id="realtime.E014",
        )
    except (PyJWTError, TokenBackendError, ValueError, TypeError):
        yield Error(
            f"The key that signs tokens is none of {api_settings.ALGORITHM}.",
            hint="HS256 and its like want a secret; RS256 and its like a private key in PEM.",
            id="realtime.E015",
        )


def slips() -> Iterator[CheckMessage]:
    """What holodrive/settings.py found in the environment, and did not read."""
    for notice in getattr(settings, "ENVIRONMENT_NOTICES", ()):
        yield Warning(
            f"{notice}.",
            hint='README.md, "Configuration", has the names of all variables.',
            id="realtime.W023",
        )
