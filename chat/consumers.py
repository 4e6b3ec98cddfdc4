"""/ws/chat/<conversation_id>/: authorises, subscribes, delegates."""

from collections.abc import Callable
from typing import Any, ClassVar

from chat import audit, events, services
from chat.models import is_support, may_reply
from chat.openness import Openness
from chat.typing_state import TypingState
from holodrive.realtime import publish, wire
from holodrive.realtime.consumer import Handler, RealtimeConsumer
from holodrive.realtime.database import in_database
from holodrive.realtime.group_commit import GroupCommit
from holodrive.realtime.hub import Observer
from holodrive.realtime.outbox import SharedFrame

_send: GroupCommit[services.Draft, services.SentMessage] = GroupCommit(
    lambda drafts: services.send_messages(drafts), key=lambda draft: draft.conversation_id
)


class ChatConsumer(RealtimeConsumer):
    endpoint = "chat"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._looks = audit.SocketLooks()
        self._others: list[int] = []
        self._observed: set[Observer] = set()
        self._openness: Openness | None = None
        self._may_write = True
        self.typing = TypingState(self._tell_typing, services.TYPING_TIMEOUT, self.hub.loop)

    @property
    def conversation_id(self) -> int:
        return services.conversation_id(self.scope["url_route"]["kwargs"]["conversation_id"])

    def stream(self) -> str:
        return events.stream_of(self.conversation_id)

    def welcome(self) -> events.ConnectionEstablished:
        """Who of support opens this is audited, or does not get in; and again while it is open."""
        self._entrance = services.welcome(self.user, self.conversation_id)
        self._may_write = True
        if is_support(self.user):
            self._may_write = may_reply(self.user)
            self._looks.looked(self.user, self.conversation_id, self._entrance.welcome.last_seq)
        return self._entrance.welcome

    def entered(self, welcome: wire.Welcome) -> None:
        assert isinstance(welcome, events.ConnectionEstablished)
        self._others = [row.user_id for row in welcome.receipts if row.user_id != self.user.pk]
        assert self.subscription is not None
        self._openness = Openness.of(self.subscription.topic)
        _, status, closes_at = self._entrance
        self._openness.learn(welcome.last_seq, status, closes_at, self._others)
        self._openness.reopened.add(self._tell_who_is_here)
        roster = self.hub.presence.roster
        roster.watch(self._others, self._tell_presence)
        if self._openness.is_open():
            welcome.online = roster.online(self._others)

    def _tell_who_is_here(self) -> None:
        for user_id in self.hub.presence.roster.online(self._others):
            self._tell_presence(user_id, True, 0)

    def _tell_presence(self, user_id: int, is_online: bool, since: float) -> None:
        openness = self._openness
        if openness is None or user_id in openness.removed or not openness.is_open():
            return
        frame = events.presence(user_id, None if is_online else since)
        self.outbox.send(SharedFrame(wire.encode(frame)), ephemeral=True)

    async def send_message(self, command: events.SendMessage) -> None:
        message, duplicate = await _send(
            services.Draft(
                self.user,
                self.conversation_id,
                command.message,
                command.client_message_id,
                was_let_in=True,
            )
        )
        self.send(
            events.MessageAck(
                client_message_id=command.client_message_id,
                message_id=message.pk,
                seq=message.seq,
                created_at=wire.timestamp(message.created_at),
                duplicate=duplicate,
            )
        )

    async def edit_message(self, command: events.EditMessage) -> None:
        message, changed = await in_database(
            services.edit_message,
            user=self.user,
            conversation_id=self.conversation_id,
            message_id=command.message_id,
            text=command.message,
        )
        if not changed:
            self.send(events.already_edited(message))

    async def delete_message(self, command: events.DeleteMessage) -> None:
        message, changed = await in_database(
            services.delete_message,
            user=self.user,
            conversation_id=self.conversation_id,
            message_id=command.message_id,
        )
        if not changed:
            self.send(events.already_deleted(message))

    async def mark_read(self, command: events.MarkMessagesRead) -> None:
        await self._mark(services.mark_read, command.up_to_id)

    async def mark_delivered(self, command: events.MarkMessagesDelivered) -> None:
        await self._mark(services.mark_delivered, command.up_to_id)

    async def _mark(self, service: Callable[..., services.Marked], up_to_id: int) -> None:
        marked = await in_database(
            service, user=self.user, conversation_id=self.conversation_id, up_to_id=up_to_id
        )
        if not marked.moved:
            self.send(marked.frame)

    async def set_typing(self, command: events.SetTyping) -> None:
        if command.is_typing:
            self.typing.typing()
        else:
            self.typing.stopped()

    def _shows(self, is_typing: bool) -> bool:
        """Whether others may be told so. That it begins, only of who is known to belong here: not
        while that is judged. That it ends, of anybody who has not been removed.
        """
        openness, subscription = self._openness, self.subscription
        if openness is None or not openness.is_open() or not self._may_write:
            return False
        if is_typing:
            return subscription is not None and subscription.held is None
        return subscription is not None or self.user.pk not in openness.removed

    def _tell_typing(self, is_typing: bool) -> None:
        if not self._shows(is_typing):
            return
        frame = events.UserTyping(
            user_id=self.user.pk, user_name=events.name_of(self.user), is_typing=is_typing
        )
        publish.tell(self.stream(), frame, except_user=self.user.pk)
        self._observed.discard(self._end_typing)
        if is_typing and self.subscription is not None:
            self._observed = self.subscription.topic.observers
            self._observed.add(self._end_typing)

    def _end_typing(self, event: str) -> None:
        """Who has sent a message, on any device or over REST, types no more."""
        if events.is_message_of(event, self.user.pk):
            self.typing.stopped()

    async def _end(self) -> None:
        self.typing.stopped()
        self.hub.presence.roster.unwatch(self._others, self._tell_presence)
        if self._openness is not None:
            self._openness.reopened.discard(self._tell_who_is_here)
        del self.typing  # it knows this consumer's method (garbage.py)
        await super()._end()

    commands: ClassVar[dict[type[wire.Command], Handler]] = {
        events.SendMessage: send_message,
        events.EditMessage: edit_message,
        events.DeleteMessage: delete_message,
        events.MarkMessagesRead: mark_read,
        events.MarkMessagesDelivered: mark_delivered,
        events.SetTyping: set_typing,
    }
