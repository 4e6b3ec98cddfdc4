"""Conversations and messages over REST: the same items, and the same rules of who sees what, as on
the socket.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from chat import audit, events, looks, overview, queue_events, services, workflow
from chat.models import is_support
from holodrive.realtime import log, schema
from holodrive.realtime.rest import Page, View, answer, page, page_limit, query_text, read_body
from holodrive.realtime.wire import Forbidden, InvalidMessage, host_id
from notifications import services as notifications

_CHOICES = ("filter", "kind", "q")


class MessagePage(Page, kw_only=True):
    results: list[events.ChatMessage]


class FoundMessage(msgspec.Struct, kw_only=True):
    conversation_id: int
    message: events.ChatMessage


class FoundPage(msgspec.Struct, kw_only=True):
    results: list[FoundMessage]
    has_more: bool


class ConversationPage(msgspec.Struct, kw_only=True):
    """`next`: the `cursor` of the next page; null at the end."""

    results: list[events.ConversationItem]
    has_more: bool
    next: str | None


class UnreadMessages(msgspec.Struct, kw_only=True):
    conversation_id: int
    unread_count: int


class Unread(msgspec.Struct, kw_only=True):
    """`messages` is the sum over `conversations`, which names only those with unread messages."""

    notifications: int
    messages: int
    conversations: list[UnreadMessages]


class Conversations(View):
    @extend_schema(
        operation_id="conversations_list",
        parameters=[*schema.CURSOR, *schema.QUEUE],
        responses=ConversationPage,
    )
    def get(self, request: Request) -> Response:
        """The caller's conversations, the newest message first; support may filter."""
        found = looks.conversations_of(
            request.user,
            cursor=request.query_params.get("cursor"),
            limit=page_limit(request),
            choice=_choice(request),
        )
        shown = ConversationPage(
            results=found.items, has_more=found.next is not None, next=found.next
        )
        return answer(shown)

    @extend_schema(
        request=events.OpenConversation,
        responses={200: events.ConversationItem, 201: events.ConversationItem},
    )
    def post(self, request: Request) -> Response:
        """Riders and drivers: their open support conversation (200), or a new one (201). Staff: a
        new trip.
        """
        asked = read_body(request, events.OpenConversation)
        opened = self._open(request.user, asked)
        item = looks.conversation_of(request.user, opened.conversation.pk)
        return answer(item, 201 if opened.created else 200)

    def _open(self, user: Any, asked: events.OpenConversation) -> services.OpenedConversation:
        if asked.kind == "support":
            return services.open_support(user=user, subject=asked.subject)
        rider, driver = host_id(asked.rider), host_id(asked.driver)
        assert rider is not None
        assert driver is not None
        trip = services.open_trip_as(
            staff=user, rider_id=rider, driver_id=driver, closes_at=asked.closes_at
        )
        return services.OpenedConversation(trip, created=True)


def _choice(request: Request) -> overview.Choice:
    asked = {name: request.query_params[name] for name in _CHOICES if name in request.query_params}
    if asked and not is_support(request.user):
        raise Forbidden(f"{', '.join(asked)}: for support only.")
    if "q" in asked:
        asked["q"] = query_text(request, "q", shortest=2, longest=200)
    try:
        return msgspec.convert(asked, overview.Choice)
    except msgspec.ValidationError as problem:
        raise InvalidMessage(str(problem)) from None


class Conversation(View):
    @extend_schema(responses=events.ConversationItem)
    def get(self, request: Request, conversation_id: str) -> Response:
        """One conversation."""
        id = services.conversation_id(conversation_id)
        return answer(looks.conversation_of(request.user, id))

    @extend_schema(request=queue_events.ChangeConversation, responses=events.ConversationItem)
    def patch(self, request: Request, conversation_id: str) -> Response:
        """Support: assign, unassign, set the priority or the status."""
        id = services.conversation_id(conversation_id)
        changes = read_body(request, queue_events.ChangeConversation)
        workflow.change(user=request.user, conversation_id=id, changes=changes)
        return answer(looks.conversation_of(request.user, id))


class Messages(View):
    @extend_schema(parameters=schema.PAGE, responses=MessagePage)
    def get(self, request: Request, conversation_id: str) -> Response:
        """A page of the history."""
        id = services.conversation_id(conversation_id)
        conversation = services.conversation_for(request.user, id)
        if is_support(request.user):
            audit.looked(request.user, id)
        stream = events.stream_of(id)
        head = log.heads([stream]).get(
            stream, 0
        )  # before the rows: a resume from it misses nothing
        return page(request, services.messages_of(conversation), _seen_by(request.user), head)

    @extend_schema(
        request=events.SendMessage, responses={200: events.ChatMessage, 201: events.ChatMessage}
    )
    def post(self, request: Request, conversation_id: str) -> Response:
        """Send a message: 201 when stored, 200 if it was already."""
        id = services.conversation_id(conversation_id)
        command = read_body(request, events.SendMessage)
        message, duplicate = services.send_message(
            user=request.user,
            conversation_id=id,
            text=command.message,
            client_message_id=command.client_message_id,
        )
        return answer(_seen_by(request.user)(message), 200 if duplicate else 201)


class ConversationRead(View):
    @extend_schema(request=events.MarkMessagesRead, responses=events.MessagesRead)
    def post(self, request: Request, conversation_id: str) -> Response:
        """Mark all read up to `up_to_id`, with the notifications that it caused."""
        id = services.conversation_id(conversation_id)
        command = read_body(request, events.MarkMessagesRead)
        marked = services.mark_read(
            user=request.user, conversation_id=id, up_to_id=command.up_to_id
        )
        return answer(marked.frame)


class Message(View):
    @extend_schema(request=events.MessageText, responses=events.ChatMessage)
    def patch(self, request: Request, conversation_id: str, message_id: int) -> Response:
        """Edit one's own message, up to 15 minutes after it was sent."""
        id = services.conversation_id(conversation_id)
        command = read_body(request, events.MessageText)
        message, _ = services.edit_message(
            user=request.user, conversation_id=id, message_id=message_id, text=command.message
        )
        return answer(_seen_by(request.user)(message))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, conversation_id: str, message_id: int) -> Response:
        """Take back one's own message: its text goes, for everybody."""
        id = services.conversation_id(conversation_id)
        services.delete_message(user=request.user, conversation_id=id, message_id=message_id)
        return Response(status=204)


class MessageSearch(View):
    @extend_schema(parameters=schema.SEARCH, responses=FoundPage)
    def get(self, request: Request) -> Response:
        """Messages with this text in the caller's conversations."""
        text = query_text(request, "q", shortest=2, longest=200)
        seen = _seen_by(request.user)
        found = page(
            request,
            overview.search(request.user, text),
            lambda row: FoundMessage(conversation_id=row.conversation_id, message=seen(row)),
        )
        if is_support(request.user):
            audit.looked(request.user, *(one["conversation_id"] for one in found.data["results"]))
        return found


def _seen_by(user: Any) -> Callable[[Any], events.ChatMessage]:
    return lambda row: events.seen_by(user.pk, row)


class UnreadCounts(View):
    @extend_schema(responses=Unread)
    def get(self, request: Request) -> Response:
        """What the badges say: unread notifications, and unread messages by conversation."""
        assert request.user.pk is not None
        notifications.settle([request.user.pk])
        counts = overview.unread_counts(request.user)
        shown = Unread(
            notifications=notifications.unread_count(request.user),
            messages=sum(counts.values()),
            conversations=[
                UnreadMessages(conversation_id=id, unread_count=count)
                for id, count in counts.items()
            ],
        )
        return answer(shown)
