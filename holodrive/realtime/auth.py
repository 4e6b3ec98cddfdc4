"""Who is it? Turns a socket's credential, or its session cookie, into an active user. Runs in a
database thread.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.http.cookie import parse_cookie
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError

from holodrive.realtime import claims, tickets
from holodrive.realtime.claims import SID
from holodrive.realtime.credentials import Credential, Scope, header
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.tokens import AccessToken, JointAuthentication, TokenAuthentication
from holodrive.realtime.wire import RealtimeError, TokenExpired, Unauthenticated

P = ParamSpec("P")
R = TypeVar("R")

_ANONYMOUS = "Authentication is required: a session, or a token."
_EXPIRED = "The token has expired: get a new one."
_REFUSED = "The credentials were not accepted."
_USED_TICKET = "The ticket is unknown, used or older than 30 s: get a new one."
LOGGED_OUT = "This login was ended."
_CHANGED = "The account or its rights have changed: log in again."
# What a socket's standing depends on; not every user model has all of them.
_RIGHTS = ("is_active", "is_staff", "is_superuser", "role", "password")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at the other end, and until when (UTC; None: for as long as the session lives). `sid`
    and `session_key` say by which login: whichever there is.
    """

    user: Any
    expires_at: datetime | None = None
    sid: str | None = None
    session_key: str | None = None

    @property
    def rights(self) -> tuple[Any, ...]:
        return tuple(getattr(self.user, name, None) for name in _RIGHTS)


def session_key(scope: Scope) -> str | None:
    """The session cookie's value, if the handshake has one."""
    # Django's own parser: Python's SimpleCookie drops all that stands behind one odd cookie.
    cookies = parse_cookie(header(scope, b"cookie") or "")
    return cookies.get(settings.SESSION_COOKIE_NAME) or None


def identify(credential: Credential | None, session: str | None) -> Identity:
    """The user behind the ticket or token, or without one behind the session. A credential that is
    there but wrong refuses: it never falls through to the next. A ticket is used up. Raises
    Unauthenticated or TokenExpired.
    """
    if credential is not None:
        return _by_ticket(credential) if credential.kind == "ticket" else _by_token(credential)
    if session is not None:
        return _by_session(session)
    raise Unauthenticated(_ANONYMOUS)


def identify_together(credentials: Sequence[Credential]) -> list[Identity | RealtimeError]:
    """`identify` for many who come with tokens, by as many queries as for one. What it would raise
    is the answer.
    """
    tokens = [_refusal_or(verify, credential) for credential in credentials]
    joint = JointAuthentication(token for token in tokens if isinstance(token, AccessToken))
    return [
        token if isinstance(token, RealtimeError) else _refusal_or(_owner, credential, token, joint)
        for credential, token in zip(credentials, tokens, strict=True)
    ]


def _refusal_or(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | RealtimeError:
    try:
        return function(*args, **kwargs)
    except RealtimeError as refusal:
        return refusal


def _by_token(credential: Credential) -> Identity:
    return _owner(credential, verify(credential), TokenAuthentication())


def verify(credential: Credential) -> AccessToken:
    """The token's signature, form and expiry; asks no database."""
    try:
        return AccessToken(credential.token)  # type: ignore[arg-type]
    except ExpiredTokenError:
        raise TokenExpired(_EXPIRED) from None
    except (TokenError, ValueError):
        raise Unauthenticated(_REFUSED) from None


def _owner(credential: Credential, token: AccessToken, users: TokenAuthentication) -> Identity:
    try:
        identity = _by_claims(token, users)
    except (APIException, ValueError):
        raise Unauthenticated(_REFUSED) from None
    if credential.user_id is not None and credential.user_id != str(identity.user.pk):
        raise Unauthenticated(_REFUSED)
    return identity


def _by_claims(token: Any, authentication: TokenAuthentication) -> Identity:
    """Of a token that was verified. The rest is judged anew each time: an active user, the password
    unchanged, the login not ended.
    """
    user = authentication.get_user(token)
    return Identity(user, datetime.fromtimestamp(token["exp"], tz=UTC), sid=token.get(SID))


def _by_ticket(credential: Credential) -> Identity:
    """The socket is its login's, as if that had opened it: it ends when that does."""
    ticket = tickets.redeem(credential.token)
    if ticket is None:
        raise Unauthenticated(_USED_TICKET)
    if ticket.claims is None:
        session = tickets.session_of(credential.token, ticket)
        if session is None:
            raise Unauthenticated(_USED_TICKET)
        return _by_session(session)
    try:
        claims.check(ticket.claims)
        identity = _by_claims(ticket.claims, TokenAuthentication())
    except (APIException, TokenError, KeyError):
        raise Unauthenticated(_REFUSED) from None
    if identity.expires_at is None or identity.expires_at <= timezone.now():
        raise TokenExpired(_EXPIRED)
    return identity


def _by_session(key: str) -> Identity:
    return Identity(_user_of_session(key), session_key=key)


def digest(session_key: str) -> str:
    """What a session is called by between processes."""
    return hashlib.sha256(session_key.encode()).hexdigest()


def is_login(identity: Identity | None, kind: str, value: str) -> bool:
    """Whether this socket was opened by that login: of a token (`login`, its sid) or of a `session`
    (the digest of its key).
    """
    if identity is None:
        return False
    if kind == "login":
        return identity.sid == value
    return identity.session_key is not None and digest(identity.session_key) == value


def is_staff(identity: Identity | None) -> bool:
    """Whether permissions decide what this socket may do: of others only their own rows do."""
    return identity is not None and bool(getattr(identity.user, "is_staff", False))


def judge(identity: Identity) -> Identity:
    """The identity as it is now, if its login would still be let in. Raises Unauthenticated."""
    user = get_user_model()._default_manager.filter(pk=identity.user.pk).first()
    now = replace(identity, user=user)
    if user is None or not user.is_active or now.rights != identity.rights:
        raise Unauthenticated(_CHANGED)
    if identity.sid and RevokedSession.objects.filter(sid=identity.sid).exists():
        raise Unauthenticated(LOGGED_OUT)
    if identity.session_key:
        _user_of_session(identity.session_key)
    return now


def doubtful(identities: Iterable[Identity]) -> set[Identity]:
    """Those for whom something has changed, in two queries; and all staff and all sessions, whose
    rights have more sources than these two show. Few enough to judge one by one.
    """
    identities = set(identities)
    users = get_user_model()._default_manager.in_bulk({one.user.pk for one in identities})
    sids = {one.sid for one in identities if one.sid}
    revoked = set(RevokedSession.objects.filter(sid__in=sids).values_list("sid", flat=True))
    return {
        one
        for one in identities
        if one.session_key
        or is_staff(one)
        or one.sid in revoked
        or replace(one, user=users.get(one.user.pk)).rights != one.rights
    }


def _user_of_session(key: str) -> Any:
    """Django's own rules for a session, but without its writes: a socket cannot send a new cookie,
    so renewing the session here (as `get_user` does under a rotated SECRET_KEY) would log the
    browser out.
    """
    if "\x00" in key:  # an octal escape in a quoted cookie; PostgreSQL fails on it
        raise Unauthenticated(_ANONYMOUS)
    session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    backend_path = session.get(BACKEND_SESSION_KEY)
    if backend_path not in settings.AUTHENTICATION_BACKENDS:
        raise Unauthenticated(_ANONYMOUS)
    user = load_backend(backend_path).get_user(session[SESSION_KEY])
    if user is None:
        raise Unauthenticated(_ANONYMOUS)
    known = session.get(HASH_SESSION_KEY, "")
    valid = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    if not any(constant_time_compare(known, hash) for hash in valid):
        raise Unauthenticated(_ANONYMOUS)
    return user
