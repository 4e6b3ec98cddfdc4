"""Devices over REST."""

from typing import Annotated, Any, Literal

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from holodrive.realtime import auth
from holodrive.realtime.rest import View, answer, read_body
from holodrive.realtime.tokens import SID
from holodrive.realtime.wire import checked_text, timestamp
from push import services
from push.models import Device

_Key = Annotated[str, msgspec.Meta(max_length=200)]


class RegisterDevice(msgspec.Struct, kw_only=True):
    """`token`: of the platform's push service; of a browser, its subscription's endpoint, with the
    `keys` p256dh and auth. `name` is for the user's own list.
    """

    platform: Literal["android", "ios", "web"]
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    keys: Annotated[dict[_Key, _Key], msgspec.Meta(max_length=5)] = {}
    name: Annotated[str, msgspec.Meta(max_length=100)] = ""

    def __post_init__(self) -> None:
        for text in (self.token, self.name, *self.keys, *self.keys.values()):
            checked_text(text)


class DeviceItem(msgspec.Struct, kw_only=True):
    id: int
    platform: Literal["android", "ios", "web"]
    token: str
    name: str
    created_at: str


class DeviceList(msgspec.Struct, kw_only=True):
    results: list[DeviceItem]


def _item(row: Device) -> DeviceItem:
    platform: Any = row.platform
    return DeviceItem(
        id=row.pk,
        platform=platform,
        token=row.token,
        name=row.name,
        created_at=timestamp(row.created_at),
    )


class Devices(View):
    @extend_schema(responses=DeviceList)
    def get(self, request: Request) -> Response:
        """The devices that the caller gets pushes on, at most 20."""
        return answer(DeviceList(results=[_item(row) for row in services.devices_of(request.user)]))

    @extend_schema(request=RegisterDevice, responses={200: DeviceItem, 201: DeviceItem})
    def post(self, request: Request) -> Response:
        """Register a device: 201; 200 if the caller had registered this token before. It is
        forgotten when the login ends that registered it.
        """
        asked = read_body(request, RegisterDevice)
        device, created = services.register(
            user=request.user,
            platform=asked.platform,
            token=asked.token,
            keys=asked.keys,
            name=asked.name,
            login=_login(request),
        )
        return answer(_item(device), 201 if created else 200)


class DeviceById(View):
    @extend_schema(responses={204: None})
    def delete(self, request: Request, device_id: int) -> Response:
        """No more pushes on that device."""
        services.forget(user=request.user, device_id=device_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _login(request: Request) -> str:
    token: Any = request.auth  # None with a session
    if token is not None:
        return str(token.get(SID) or "")
    key = request.session.session_key if hasattr(request, "session") else None
    return auth.digest(key) if key else ""
