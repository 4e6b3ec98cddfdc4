"""Who is it? Turns a socket's credential, or its session cookie, into an active user. Runs in a
database thread.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, load_backend
from django.utils.crypto import constant_time_compare
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.exceptions import ExpiredTokenError, TokenError
from rest_framework_simplejwt.tokens import AccessToken

from holodrive.realtime.credentials import Credential, Scope, header
from holodrive.realtime.tokens import TokenAuthentication
from holodrive.realtime.wire import TokenExpired, Unauthenticated

_ANONYMOUS = "Authentication is required: a session, or a token."
_REFUSED = "The credentials were not accepted."


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is at the other end, and until when (UTC; None: for as long as the session lives)."""

    user: Any
    expires_at: datetime | None = None


def session_key(scope: Scope) -> str | None:
    """The session cookie's value, if the handshake has one."""
    try:
        cookies = SimpleCookie(header(scope, b"cookie") or "")
    except CookieError:
        return None
    cookie = cookies.get(settings.SESSION_COOKIE_NAME)
    return cookie.value if cookie else None


def identify(credential: Credential | None, session: str | None) -> Identity:
    """The user behind the token, or without one behind the session. A credential that is there but
    wrong refuses: it never falls through to the next. Raises Unauthenticated or TokenExpired.
    """
    if credential is not None:
        return _by_token(credential)
    if session is not None:
        return Identity(_user_of_session(session))
    raise Unauthenticated(_ANONYMOUS)


def _by_token(credential: Credential) -> Identity:
    try:
        token = AccessToken(credential.token)  # type: ignore[arg-type]
        user = TokenAuthentication().get_user(token)
    except ExpiredTokenError:
        raise TokenExpired("The token has expired: get a new one.") from None
    except (TokenError, APIException, ValueError):
        raise Unauthenticated(_REFUSED) from None
    if credential.user_id is not None and credential.user_id != str(user.pk):
        raise Unauthenticated(_REFUSED)
    return Identity(user, datetime.fromtimestamp(token["exp"], tz=UTC))


def _user_of_session(key: str) -> Any:
    """Django's own rules for a session, but without its writes: a socket cannot send a new cookie,
    so renewing the session here (as `get_user` does under a rotated SECRET_KEY) would log the
    browser out.
    """
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
