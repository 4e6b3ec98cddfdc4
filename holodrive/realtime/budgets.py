"""Budgets that several sockets share: connects that have not joined yet, by address, and what
resumes bring back, by user. Counted in this process only, as all limits are (limits.py).
"""

from time import monotonic

import jwt
from django.conf import settings
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.settings import api_settings

from holodrive.realtime.credentials import Credential
from holodrive.realtime.limits import Bucket, Buckets, Clock
from holodrive.realtime.tokens import AccessToken
from holodrive.realtime.wire import LoggedEvent

# A connect costs 2 ms of CPU, or 5 with a token: of one address a twentieth of a core.
_CONNECTS_PER_SECOND = 10
_CONNECTS_BURST = 100

_EVENT_BYTES = 16_384  # each of these that an event has counts as one more event
_RESUME_EVENTS = 5  # a resume costs at least that: two queries
_WINDOW_SECONDS = 60  # in which the budget of resumes fills


class Newcomers:
    """Whose turn it is to connect. A connect is paid for in advance, by its address, and gets that
    back once it has joined: only those that are refused, or never say who they are, use it up.
    Riders behind the address of an attacker then come in by their own account, which the signature
    of their token proves.
    """

    def __init__(self, clock: Clock = monotonic) -> None:
        self._buckets = Buckets(clock)

    def admit(self, address: str, credential: Credential | None) -> Bucket | None:
        """The bucket that has paid; None if it is not this one's turn yet."""
        bucket = self._buckets.of(address, _CONNECTS_PER_SECOND, _CONNECTS_BURST)
        if bucket.wait():
            user_id = signed_user_id(credential)
            most = settings.REALTIME_CONNECTS_PER_USER or _CONNECTS_BURST
            if user_id is None:
                return None
            bucket = self._buckets.of(("user", user_id), most / 60, most)
            if bucket.wait():
                return None
        bucket.take(1)
        return bucket


def signed_user_id(credential: Credential | None) -> str | None:
    """Whose token it is, if we have signed it: even one that has expired or was revoked."""
    if credential is None or credential.kind != "token":
        return None
    try:
        AccessToken(credential.token)  # type: ignore[arg-type]
    except ExpiredTokenError:
        pass  # the signature is looked at first
    except (TokenError, ValueError):
        return None
    claims = jwt.decode(credential.token, options={"verify_signature": False})
    return str(claims.get(api_settings.USER_ID_CLAIM))


class Resumes:
    """What resumes may bring back to one user: all sockets that they may have, each a full window
    (REALTIME_RESUME_LIMIT), at once and then once a minute.
    """

    def __init__(self, clock: Clock = monotonic) -> None:
        self._buckets = Buckets(clock)

    def of(self, user: object, most_sockets: int) -> Bucket | None:
        """The user's bucket; None without a limit of sockets."""
        events = most_sockets * settings.REALTIME_RESUME_LIMIT
        if not events:
            return None
        return self._buckets.of(user, events / _WINDOW_SECONDS, events)


def cost(missed: list[LoggedEvent] | None) -> int:
    """What a resume has brought back, in events."""
    events = sum(1 + len(event.text) // _EVENT_BYTES for event in missed or ())
    return max(_RESUME_EVENTS, events)
