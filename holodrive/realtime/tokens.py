"""Tokens: every login has a `sid` that its access tokens share across refreshes, so one device can
be logged out. They are signed with one key, and accepted with those before it as well.
"""

import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.forms import UsernameField
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone
from rest_framework import serializers
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import (
    AuthenticationFailed,
    ExpiredTokenError,
    InvalidToken,
    TokenError,
)
from rest_framework_simplejwt.serializers import (
    PasswordField,
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
)
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import Token
from rest_framework_simplejwt.utils import get_md5_hash_password

from holodrive.realtime import claims
from holodrive.realtime.claims import REFRESH_JTI as REFRESH_JTI
from holodrive.realtime.claims import SID as SID  # whose tokens ask for it here
from holodrive.realtime.credentials import token_in
from holodrive.realtime.keyring import KeyRing, ring
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.wire import TokenExpired, Unauthenticated

# Sent with `sid`, and `jti` and `expires_at` of the refresh token that the login goes on with.
login_renewed = Signal()
_USED = "The refresh token was used before: log in again."


class _Token:
    """Signed under rotating keys, and its claims are what they should be."""

    payload: dict[str, Any]

    def get_token_backend(self) -> KeyRing:
        return ring()

    def verify(self, *args: Any, **kwargs: Any) -> None:
        claims.check(self.payload)
        super().verify(*args, **kwargs)  # type: ignore[misc]


class AccessToken(_Token, simplejwt.AccessToken):
    """simplejwt's, under rotating keys."""


class RefreshToken(_Token, simplejwt.RefreshToken):  # type: ignore[misc]
    """simplejwt's, under rotating keys, of a login from its first moment, and used once even by two
    at the same moment.
    """

    access_token_class = AccessToken

    def __init__(self, token: Any = None, verify: bool = True) -> None:
        super().__init__(token, verify)
        if token is None:
            self.payload[SID] = uuid.uuid4().hex  # before anybody can store or send it without

    def verify(self, *args: Any, **kwargs: Any) -> None:
        """One without a `sid` would outlive its login: no logout ends it."""
        if SID not in self.payload:
            raise TokenError("Token has no login")
        super().verify(*args, **kwargs)

    @property
    def access_token(self) -> AccessToken:
        access: AccessToken = super().access_token  # type: ignore[assignment]
        access[REFRESH_JTI] = self.payload[api_settings.JTI_CLAIM]
        return access

    def blacklist(self) -> Any:
        """Raises TokenError if it was done before: both found it unused, but only one adds it."""
        found: Any = super().blacklist()
        _, added = found
        if not added:
            raise TokenError(_USED)
        return found


def as_typed(username: str) -> str:
    """Return the name that a login looks up, read as the admin's form reads it: by its own code."""
    model = get_user_model()
    field: Any = model._meta.get_field(model.USERNAME_FIELD)
    return str(UsernameField(max_length=field.max_length or 254).to_python(username))


class _Username(serializers.CharField):
    def to_internal_value(self, data: Any) -> str:
        return as_typed(super().to_internal_value(data))


class ObtainSerializer(TokenObtainPairSerializer):
    """A new login: refresh and access token with a new `sid`. Name and password are read as the
    admin's form reads them: a password is not trimmed.
    """

    token_class = RefreshToken

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[self.username_field] = _Username(write_only=True)
        self.fields["password"] = PasswordField(trim_whitespace=False)


class RefreshSerializer(TokenRefreshSerializer):
    """A refresh of a login that was not ended; the `sid` goes on."""

    token_class = RefreshToken

    @transaction.atomic  # the old token is used up together with the coming of the new one
    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        refresh = RefreshToken(attrs["refresh"])
        _add_password_claim(refresh)
        _let_in(refresh.access_token)
        try:
            validated: dict[str, str] = super().validate({**attrs, "refresh": str(refresh)})
        except ObjectDoesNotExist as problem:
            raise InvalidToken("The user is gone.") from problem
        next_one = RefreshToken(validated.get("refresh") or attrs["refresh"], verify=False)
        if "refresh" in validated:
            validated["access"] = str(next_one.access_token)  # which came with this one
        _tell_renewed(next_one)
        return validated


def _tell_renewed(refresh: RefreshToken) -> None:
    jti, expires_at = refresh[api_settings.JTI_CLAIM], refresh["exp"]
    expires_at = datetime.fromtimestamp(expires_at, tz=UTC)
    login_renewed.send(RefreshToken, sid=refresh[SID], jti=jti, expires_at=expires_at)


def _let_in(access: Token) -> None:
    """Give out no token that is refused at the next request: an app would refresh for ever."""
    door = TokenAuthentication()
    door.get_user(door.get_validated_token(str(access).encode()))


def _add_password_claim(refresh: RefreshToken) -> None:
    """To one from before CHECK_REVOKE_TOKEN was on. That no password was changed since is
    `end_unmarked`'s to see to.
    """
    if api_settings.CHECK_REVOKE_TOKEN and api_settings.REVOKE_TOKEN_CLAIM not in refresh:
        user = TokenAuthentication().get_user(refresh)
        refresh[api_settings.REVOKE_TOKEN_CLAIM] = get_md5_hash_password(user.password)


def end_unmarked(user: Any) -> None:
    """Use up all refresh tokens of a user whose password changes: one without the claim that would
    end it would be given the new password's at its next refresh.
    """
    unused = OutstandingToken.objects.filter(user=user, blacklistedtoken=None)
    live = unused.filter(expires_at__gt=timezone.now()).values_list("pk", flat=True)
    ended = [BlacklistedToken(token_id=pk) for pk in live]
    BlacklistedToken.objects.bulk_create(ended, ignore_conflicts=True)


class TokenAuthentication(JWTAuthentication):
    """simplejwt's full authentication (signature, expiry, active user, password unchanged), and the
    login not ended.
    """

    def get_raw_token(self, header: bytes) -> bytes | None:
        token = token_in(header)
        return None if token is None else token.encode("latin1")

    def get_validated_token(self, raw_token: bytes) -> Token:
        """Expiry stays told apart from what was never good: an app refreshes after the first."""
        try:
            return AccessToken(raw_token)  # type: ignore[arg-type]
        except ExpiredTokenError as problem:
            raise InvalidToken("The token has expired: get a new one.") from problem
        except TokenError as problem:
            raise InvalidToken("The token is not valid.") from problem

    def get_user(self, validated_token: Token) -> Any:
        try:
            user = super().get_user(validated_token)
        except AuthenticationFailed as refusal:
            # The last that simplejwt looks at. A token from before CHECK_REVOKE_TOKEN was on says
            # nothing of a password: it is good until it expires.
            unmarked = api_settings.REVOKE_TOKEN_CLAIM not in validated_token
            if not unmarked or refusal.detail.get("code") != "password_changed":  # type: ignore[union-attr]
                raise
            user = self._user(validated_token)
        if self._is_revoked(validated_token.get(SID)):
            raise InvalidToken("This login was ended.")
        return user

    def _user(self, token: Token) -> Any:
        try:
            user_id = token[api_settings.USER_ID_CLAIM]
            return self.user_model.objects.get(**{api_settings.USER_ID_FIELD: user_id})
        except self.user_model.DoesNotExist as problem:
            raise InvalidToken("The user is gone.") from problem

    def _is_revoked(self, sid: str | None) -> bool:
        return sid is not None and RevokedSession.objects.filter(sid=sid).exists()


class JointAuthentication(TokenAuthentication):
    """The same of many verified tokens: two queries bring what their users and logins are now."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        super().__init__()
        tokens = list(tokens)
        self.user_model = _Loaded(  # type: ignore[assignment]
            token.get(api_settings.USER_ID_CLAIM) for token in tokens
        )
        sids = {token.get(SID) for token in tokens} - {None}
        revoked = RevokedSession.objects.filter(sid__in=sids)
        self._revoked = set(revoked.values_list("sid", flat=True))

    def _is_revoked(self, sid: str | None) -> bool:
        return sid in self._revoked


class _Loaded:
    """As much of a user model as simplejwt asks for."""

    def __init__(self, ids: Iterable[Any]) -> None:
        model = get_user_model()
        field = api_settings.USER_ID_FIELD
        rows = model.objects.filter(**{f"{field}__in": set(ids) - {None}})
        self._users = {str(getattr(row, field)): row for row in rows}
        self.DoesNotExist = model.DoesNotExist
        self.objects = self

    def get(self, **asked: Any) -> Any:
        user = self._users.get(str(asked[api_settings.USER_ID_FIELD]))
        if user is None:
            raise self.DoesNotExist
        return user


class LogoutSerializer(serializers.Serializer[Any]):
    """Ends the login that a refresh token belongs to: that device, and no other."""

    refresh = serializers.CharField()

    def validate_refresh(self, value: str) -> RefreshToken:
        try:
            return RefreshToken(value)
        except ExpiredTokenError as problem:
            raise TokenExpired(str(problem)) from problem
        except TokenError as problem:
            raise Unauthenticated(str(problem)) from problem

    @transaction.atomic
    def save(self, **kwargs: Any) -> None:
        refresh: RefreshToken = self.validated_data["refresh"]
        with suppress(
            TokenError
        ):  # a refresh at the same moment used it up: its login ends as well
            refresh.blacklist()
        RevokedSession.objects.get_or_create(
            sid=refresh[SID], defaults={"expires_at": _end_of_login(refresh)}
        )


def _end_of_login(refresh: RefreshToken) -> datetime:
    """When the last token of its login has expired: a later refresh token than this one may be out,
    and that may have brought an access token just now.
    """
    latest: datetime = timezone.now() + api_settings.REFRESH_TOKEN_LIFETIME
    ends = max(latest, datetime.fromtimestamp(refresh["exp"], tz=UTC))
    lifetime: timedelta = api_settings.ACCESS_TOKEN_LIFETIME + ring().get_leeway()
    return ends + lifetime
