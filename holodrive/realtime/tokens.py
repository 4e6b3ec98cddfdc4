"""Tokens: every login has a `sid` that its access tokens share across refreshes, so one device can
be logged out.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from rest_framework import serializers
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import ExpiredTokenError, InvalidToken, TokenError
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer, TokenRefreshSerializer
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, Token

from holodrive.realtime.models import RevokedSession
from holodrive.realtime.wire import TokenExpired, Unauthenticated

SID = "sid"


class ObtainSerializer(TokenObtainPairSerializer):
    """A new login: refresh and access token with a new `sid`."""

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

    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        _refuse_revoked(RefreshToken(attrs["refresh"]))
        validated: dict[str, str] = super().validate(attrs)
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
        refresh.blacklist()
        sid = refresh.get(SID)
        if sid is not None:
            expires_at = datetime.fromtimestamp(refresh["exp"], tz=UTC)
            RevokedSession.objects.get_or_create(sid=sid, defaults={"expires_at": expires_at})
