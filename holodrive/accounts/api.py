"""Who one is, over REST: log in, refresh; me; the devices for pushes."""

from typing import Annotated, Any, Literal

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from chat.events import name_of
from chat.models import is_support
from holodrive.accounts import services
from holodrive.accounts.models import Device
from holodrive.accounts.throttle import login_attempt
from holodrive.realtime.api import RefreshToken
from holodrive.realtime.rest import answer, read_body
from holodrive.realtime.wire import checked_text, timestamp


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


class RegisterDevice(msgspec.Struct, kw_only=True):
    """`token`: of the platform's push service."""

    platform: Literal["android", "ios", "web"]
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]

    def __post_init__(self) -> None:
        checked_text(self.token)


class DeviceItem(msgspec.Struct, kw_only=True):
    id: int
    platform: Literal["android", "ios", "web"]
    token: str
    created_at: str


class DeviceList(msgspec.Struct, kw_only=True):
    results: list[DeviceItem]


class Login(TokenObtainPairView):
    @extend_schema(request=Credentials, responses=Tokens)
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """A new login. After too many failures: 429, with Retry-After."""
        fields = request.data if isinstance(request.data, dict) else {}
        with login_attempt(request._request, str(fields.get("username", ""))):
            response: Response = super().post(request, *args, **kwargs)
        return response


class Refresh(TokenRefreshView):
    @extend_schema(request=RefreshToken, responses=Tokens)
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """New tokens of the same login; the old refresh token is used up."""
        response: Response = super().post(request, *args, **kwargs)
        return response


class Me(APIView):
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


class Devices(APIView):
    @extend_schema(responses=DeviceList)
    def get(self, request: Request) -> Response:
        """The devices that the caller gets pushes on, at most 20."""
        return answer(DeviceList(results=[_item(row) for row in services.devices_of(request.user)]))

    @extend_schema(request=RegisterDevice, responses={200: DeviceItem, 201: DeviceItem})
    def post(self, request: Request) -> Response:
        """Register a device: 201; 200 if this push token was registered before."""
        asked = read_body(request, RegisterDevice)
        device, created = services.register_device(
            user=request.user, platform=asked.platform, token=asked.token
        )
        return answer(_item(device), 201 if created else 200)


class DeviceById(APIView):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, device_id: int) -> Response:
        """No more pushes on that device."""
        services.remove_device(user=request.user, device_id=device_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _item(row: Device) -> DeviceItem:
    platform: Any = row.platform
    return DeviceItem(
        id=row.pk, platform=platform, token=row.token, created_at=timestamp(row.created_at)
    )
