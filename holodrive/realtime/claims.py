"""What the claims of a token of ours may be. A signature says who wrote them, not that they make
sense: a number where a text is meant must be a refusal, and never an error further on.
"""

from collections.abc import Callable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Field, IntegerField
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings

from holodrive.realtime.wire import MAX_INTEGER

SID = "sid"
REFRESH_JTI = "refresh_jti"  # of an access token: the refresh token that it came with
Claims = dict[str, Any]
_SID_LENGTH = 64  # RevokedSession.sid
_JTI_LENGTH = 255  # OutstandingToken.jti
_END_OF_TIME = 221_845_392_000  # the year 9000: what is added to it is still a datetime


def check(claims: Claims) -> None:
    """Raises TokenError. Whether there is such a user, and such a login, is not asked here."""
    for name, is_right in _kinds().items():
        if name in claims and not is_right(claims[name]):
            raise TokenError(f"Token has a malformed '{name}'")
    for name in (api_settings.USER_ID_CLAIM, api_settings.JTI_CLAIM):
        if name is not None and name not in claims:
            raise TokenError(f"Token has no '{name}'")


def of_a_login(claims: Claims) -> Claims:
    """Those that say whose token it is, and until when: all that a ticket has to remember."""
    names = (api_settings.USER_ID_CLAIM, api_settings.JTI_CLAIM, api_settings.REVOKE_TOKEN_CLAIM)
    return {name: claims[name] for name in (*names, SID, "exp") if name in claims}


def _kinds() -> dict[str, Callable[[Any], bool]]:
    return {
        "exp": _is_time,
        "iat": _is_number,
        "nbf": _is_number,
        "iss": lambda value: isinstance(value, str),  # PyJWT signs no other, at the next refresh
        api_settings.JTI_CLAIM: lambda value: _is_text(value, _JTI_LENGTH),
        api_settings.USER_ID_CLAIM: _is_user_id,
        api_settings.REVOKE_TOKEN_CLAIM: lambda value: isinstance(value, str),
        SID: lambda value: _is_text(value, _SID_LENGTH),
        REFRESH_JTI: lambda value: _is_text(value, _JTI_LENGTH),
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    return _is_number(value) and abs(value) < _END_OF_TIME  # so NaN is none either


def _is_text(value: Any, longest: int) -> bool:
    """NUL and lone surrogates, which no column takes, are not printable."""
    return isinstance(value, str) and 1 <= len(value) <= longest and value.isprintable()


def _is_user_id(value: Any) -> bool:
    """As `Token.for_user` writes it, or the number itself; of two spellings of one id only that."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return False
    if isinstance(value, str) and not _is_text(value, 1000):
        return False
    field = _user_id_field()
    try:
        known = field.to_python(value)
        is_the_same = str(known) == str(value)
    except (ValidationError, ValueError):  # str() of more than 4,300 digits is a ValueError
        return False
    return is_the_same and not (isinstance(field, IntegerField) and abs(known) > MAX_INTEGER)


def _user_id_field() -> "Field[Any, Any]":
    meta = get_user_model()._meta
    name = api_settings.USER_ID_FIELD
    return meta.pk if name == "pk" else meta.get_field(name)  # type: ignore[return-value]
