"""/ws/support/ and /ws/support/notes/<conversation_id>/: authorise and subscribe. Nothing is
written here but the audit log: the work of support is done over REST.
"""

from typing import Any, ClassVar

from chat import audit, note_events, notes, queue_events, workflow
from chat.queue_audit import AuditedOutbox
from chat.services import conversation_id
from holodrive.realtime.consumer import Handler, RealtimeConsumer
from holodrive.realtime.wire import Command, LoggedEvent, Welcome


class SupportConsumer(RealtimeConsumer):
    endpoint = "support"
    commands: ClassVar[dict[type[Command], Handler]] = {}

    def stream(self) -> str:
        return queue_events.STREAM

    def welcome(self) -> queue_events.ConnectionEstablished:
        return workflow.welcome(self.user)

    async def _enter(self) -> None:
        self.outbox: Any = AuditedOutbox(self.outbox, self.user)  # now it is known whose it is
        await super()._enter()

    def _look(self, last_seq: int | None) -> tuple[Welcome, list[LoggedEvent] | None]:
        """What a resume brings is recorded at once: frame by frame it would take a query each."""
        welcome, missed = super()._look(last_seq)
        self.outbox.record([event.text for event in missed or ()])
        return welcome, missed


class NotesConsumer(RealtimeConsumer):
    endpoint = "notes"
    commands: ClassVar[dict[type[Command], Handler]] = {}

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._looks = audit.SocketLooks()

    @property
    def conversation_id(self) -> int:
        return conversation_id(self.scope["url_route"]["kwargs"]["conversation_id"])

    def stream(self) -> str:
        return note_events.stream_of(self.conversation_id)

    def welcome(self) -> note_events.ConnectionEstablished:
        welcome = notes.welcome(self.user, self.conversation_id)
        self._looks.looked(self.user, self.conversation_id, welcome.last_seq)
        return welcome
