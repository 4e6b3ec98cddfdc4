"""Devices, and what their users want to hear there, over REST."""

from datetime import time
from typing import Annotated, Any, Literal, cast

import msgspec
from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from holodrive.realtime import characters
from holodrive.realtime.rest import View, answer, read_body
from holodrive.realtime.wire import ANY_TEXT, checked_text, timestamp
from push import backends, logins, services
from push.models import Device, Preference, QuietHours
from push.quiet import zone

_Key = Annotated[str, msgspec.Meta(max_length=200, extra_json_schema=ANY_TEXT)]


class RegisterDevice(msgspec.Struct, kw_only=True):
    """`token`: of the platform's push service; of a browser, its subscription's endpoint, with the
    `keys` p256dh and auth. `name` is for the user's own list.
    """

    platform: Literal["android", "ios", "web"]
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=1000, extra_json_schema=ANY_TEXT)]
    keys: Annotated[dict[_Key, _Key], msgspec.Meta(max_length=5)] = {}
    name: Annotated[str, msgspec.Meta(max_length=100, extra_json_schema=ANY_TEXT)] = ""

    def __post_init__(self) -> None:
        for text in (self.token, self.name, *self.keys, *self.keys.values()):
            checked_text(text)
        if characters.is_blank(self.name):
            self.name = ""


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
        """Register a device, after every login: 201; 200 if the caller had registered this token
        before. It is forgotten when the login ends that registered it.
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


class Offer(msgspec.Struct, kw_only=True):
    """What this server pushes by. `web_public_key` is what a browser subscribes with (its
    `applicationServerKey`). `mandatory_categories` come whatever is preferred, at any hour.
    """

    channels: list[Literal["mobile", "web"]]
    web_public_key: str | None
    mandatory_categories: list[str]


class PushOffer(View):
    @extend_schema(responses=Offer)
    def get(self, request: Request) -> Response:
        """What there is."""
        web = backends.configured().get("web")
        channels: Any = sorted(backends.configured())
        return answer(
            Offer(
                channels=channels,
                web_public_key=getattr(web, "public_key", None),
                mandatory_categories=settings.PUSH_MANDATORY_CATEGORIES,
            )
        )


# Its length, because $ also matches ahead of a final newline.
_Clock = Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", max_length=5)]


class QuietItem(msgspec.Struct, kw_only=True):
    """`start` and `end` as 22:00, on the clock of `time_zone` (Asia/Tashkent); over midnight if
    `end` is the earlier.
    """

    start: _Clock
    end: _Clock
    time_zone: Annotated[str, msgspec.Meta(max_length=64)]

    def __post_init__(self) -> None:
        zone(self.time_zone)
        if self.start == self.end:
            raise ValueError("start and end are the same")


class Wish(msgspec.Struct, kw_only=True):
    """Whether notifications of that category (their `notification_type`) go to that channel."""

    category: Annotated[str, msgspec.Meta(min_length=1, max_length=50, extra_json_schema=ANY_TEXT)]
    channel: Literal["mobile", "web"]
    is_enabled: bool

    def __post_init__(self) -> None:
        checked_text(self.category)


class Wanted(msgspec.Struct, kw_only=True):
    """All of a user's preferences. A category that is not here is pushed to every channel."""

    categories: Annotated[list[Wish], msgspec.Meta(max_length=200)]
    quiet_hours: QuietItem | None


def _wanted(user: Any) -> Wanted:
    wishes = Preference.objects.filter(user=user).order_by("category", "channel")
    quiet = QuietHours.objects.filter(user=user).first()
    return Wanted(
        categories=[
            Wish(category=row.category, channel=cast(Any, row.channel), is_enabled=row.is_enabled)
            for row in wishes
        ],
        quiet_hours=QuietItem(
            start=f"{quiet.start:%H:%M}", end=f"{quiet.end:%H:%M}", time_zone=quiet.time_zone
        )
        if quiet
        else None,
    )


class Preferences(View):
    @extend_schema(responses=Wanted)
    def get(self, request: Request) -> Response:
        """The caller's preferences."""
        return answer(_wanted(request.user))

    @extend_schema(request=Wanted, responses=Wanted)
    def put(self, request: Request) -> Response:
        """These, and no others."""
        asked = read_body(request, Wanted)
        services.prefer(
            user=request.user,
            wishes={(wish.category, wish.channel): wish.is_enabled for wish in asked.categories},
            quiet=_times(asked.quiet_hours) if asked.quiet_hours else None,
        )
        return answer(_wanted(request.user))


def _times(quiet: QuietItem) -> tuple[time, time, str]:
    return time.fromisoformat(quiet.start), time.fromisoformat(quiet.end), quiet.time_zone


def _login(request: Request) -> logins.Login:
    token: Any = request.auth  # None with a session
    if token is not None:
        return logins.of_token(request.user, token)
    return logins.of_session(request.user, request.session)
