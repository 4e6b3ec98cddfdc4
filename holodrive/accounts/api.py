"""Who one is, over REST: log in, refresh; me."""

from typing import Any, Literal

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from chat.events import name_of
from chat.models import is_support
from holodrive.accounts.throttle import login_attempt
from holodrive.realtime.api import RefreshToken
from holodrive.realtime.rest import NeverStored, View, answer
from holodrive.realtime.rest_budget import PASSWORD
from holodrive.realtime.tokens import ObtainSerializer


class Credentials(msgspec.Struct, kw_only=True):
    username: str
    password: str


class Tokens(msgspec.Struct, kw_only=True):
    refresh: str
    access: str


class MeItem(msgspec.Struct, kw_only=True):
    """`is_support`: may see, and answer in, every conversation."""

    id: int
    username: str
    name: str
    role: Literal["admin", "rider", "driver"]
    is_support: bool


class Login(NeverStored, TokenObtainPairView):
    serializer_class = ObtainSerializer
    work = PASSWORD

    @extend_schema(request=Credentials, responses=Tokens)
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A new login. After too many failures: 429, with Retry-After."""
        fields = request.data if isinstance(request.data, dict) else {}
        username = str(fields.get(ObtainSerializer.username_field, ""))
        with login_attempt(request._request, username):
            response: Response = super().post(request, *args, **kwargs)
        return response


class Refresh(NeverStored, TokenRefreshView):
    @extend_schema(request=RefreshToken, responses=Tokens)
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """New tokens of the same login; the old refresh token is used up."""
        response: Response = super().post(request, *args, **kwargs)
        return response


class Me(View):
    @extend_schema(responses=MeItem)
    def get(self, request: Request) -> Response:
        """Who the caller is."""
        user: Any = request.user
        shown = MeItem(
            id=user.pk,
            username=user.get_username(),
            name=name_of(user),
            role=user.role,
            is_support=is_support(user),
        )
        return answer(shown)
