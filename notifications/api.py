"""Notifications over REST: the same items and rules of who sees what as on the socket."""

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from holodrive.realtime import log, schema
from holodrive.realtime.rest import Page, View, page, read_body
from notifications import events, services


class NotificationPage(Page, kw_only=True):
    results: list[events.NotificationBody]
    unread_count: int


class UnreadCount(msgspec.Struct, kw_only=True):
    unread_count: int


class Notifications(View):
    @extend_schema(parameters=schema.PAGE, responses=NotificationPage)
    def get(self, request: Request) -> Response:
        """A page of the caller's notifications."""
        assert request.user.pk is not None
        services.settle([request.user.pk])
        stream = events.stream_of(request.user.pk)
        head = log.heads([stream]).get(
            stream, 0
        )  # before the rows: a resume from it misses nothing
        response = page(request, services.notifications_of(request.user), events.body, head)
        response.data["unread_count"] = services.unread_count(request.user)
        return response


class NotificationRead(View):
    @extend_schema(request=None, responses=UnreadCount)
    def post(self, request: Request, notification_id: int) -> Response:
        """Mark one read."""
        services.mark_read(user=request.user, notification_id=notification_id)
        return Response({"unread_count": services.unread_count(request.user)})


class NotificationsRead(View):
    """`up_to_id` in the body, optional: mark what is on the screen, not what has come since."""

    @extend_schema(request=events.MarkAllAsRead, responses=UnreadCount)
    def post(self, request: Request) -> Response:
        """Mark all read up to `up_to_id`, or all there are."""
        command = read_body(request, events.MarkAllAsRead)
        services.mark_all_read(user=request.user, up_to_id=command.up_to_id)
        return Response({"unread_count": services.unread_count(request.user)})
