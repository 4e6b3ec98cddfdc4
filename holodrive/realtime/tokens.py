"""Tokens: every login has a `sid` that its access tokens share across refreshes, so one device can
be logged out. They are signed with one key, and accepted with those before it as well.
"""

import functools
import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from rest_framework import serializers
from rest_framework_simplejwt import tokens as simplejwt
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import (
    ExpiredTokenError,
    InvalidToken,
    TokenBackendError,
    TokenBackendExpiredToken,
    TokenError,
)
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer, TokenRefreshSerializer
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import Token

from holodrive.realtime.models import RevokedSession
from holodrive.realtime.wire import TokenExpired, Unauthenticated

SID = "sid"
_USED = "The refresh token was used before: log in again."


class KeyRing(TokenBackend):
    """Signs with one key; what was signed with one of the fallbacks is accepted too."""

    def __init__(self, key: str, *fallbacks: str) -> None:
        super().__init__(
            api_settings.ALGORITHM,
            key,
            api_settings.VERIFYING_KEY,
            api_settings.AUDIENCE,
            api_settings.ISSUER,
            api_settings.JWK_URL,
            api_settings.LEEWAY,
            api_settings.JSON_ENCODER,
        )
        self._older = KeyRing(*fallbacks) if fallbacks else None

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = super().decode(token, verify)
        except TokenBackendExpiredToken:
            raise  # the signature was right
        except TokenBackendError:
            if self._older is None:
                raise
            return self._older.decode(token, verify)
        return claims


_ring = functools.lru_cache(KeyRing)


class _SignedByRing:
    def get_token_backend(self) -> KeyRing:
        """Tokens signed with SECRET_KEY are rotated with it."""
        key: str = api_settings.SIGNING_KEY
        fallbacks = settings.JWT_SIGNING_KEY_FALLBACKS
        if not fallbacks and key == settings.SECRET_KEY:
            fallbacks = settings.SECRET_KEY_FALLBACKS
        return _ring(key, *fallbacks)


class AccessToken(_SignedByRing, simplejwt.AccessToken):
    """simplejwt's, under rotating keys."""


class RefreshToken(_SignedByRing, simplejwt.RefreshToken):  # type: ignore[misc]
    """simplejwt's, under rotating keys, and used once even by two at the same moment."""

    access_token_class = AccessToken

    def blacklist(self) -> Any:
        """Raises TokenError if it was done before: both found it unused, but only one adds it."""
        found: Any = super().blacklist()
        _, added = found
        if not added:
            raise TokenError(_USED)
        return found


class ObtainSerializer(TokenObtainPairSerializer):
    """A new login: refresh and access token with a new `sid`."""

    token_class = RefreshToken

    @classmethod
    def get_token(cls, user: Any) -> Token:
        token = super().get_token(user)
        token[SID] = uuid.uuid4().hex
        return token


def _refuse_revoked(token: Token) -> None:
    sid = token.get(SID)
    if sid is not None and RevokedSession.objects.filter(sid=sid).exists():
        raise InvalidToken("This login was ended.")


class RefreshSerializer(TokenRefreshSerializer):
    """A refresh of a login that was not ended; the `sid` goes on."""

    token_class = RefreshToken

    @transaction.atomic  # the old token is used up together with the coming of the new one
    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        _refuse_revoked(RefreshToken(attrs["refresh"]))
        try:
            validated: dict[str, str] = super().validate(attrs)
        except ObjectDoesNotExist as problem:
            raise InvalidToken("The user is gone.") from problem
        return validated


class TokenAuthentication(JWTAuthentication):
    """simplejwt's full authentication (signature, expiry, active user, password unchanged), and the
    login not ended.
    """

    def get_validated_token(self, raw_token: bytes) -> Token:
        """Expiry stays told apart from what was never good: an app refreshes after the first."""
        try:
            return AccessToken(raw_token)  # type: ignore[arg-type]
        except ExpiredTokenError as problem:
            raise InvalidToken("The token has expired: get a new one.") from problem
        except TokenError as problem:
            raise InvalidToken("The token is not valid.") from problem

    def get_user(self, validated_token: Token) -> Any:
        user = super().get_user(validated_token)
        _refuse_revoked(validated_token)
        return user


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

    def get_user(self, validated_token: Token) -> Any:
        user = JWTAuthentication.get_user(self, validated_token)
        if validated_token.get(SID) in self._revoked:
            raise InvalidToken("This login was ended.")
        return user


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
            return RefreshToken(value)  # type: ignore[arg-type]
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
        sid = refresh.get(SID)
        if sid is not None:
            expires_at = datetime.fromtimestamp(refresh["exp"], tz=UTC)
            RevokedSession.objects.get_or_create(sid=sid, defaults={"expires_at": expires_at})
