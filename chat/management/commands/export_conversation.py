"""Writes out a conversation as JSON lines, a bounded number of rows in memory."""

import getpass
import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from chat import audit, events, note_events
from chat.models import AuditEntry, Conversation, Message, Note, Participant
from holodrive.realtime.personal import Row, in_batches
from holodrive.realtime.wire import readable, timestamp


class Command(BaseCommand):
    help = "Write a conversation to standard output, as its members see it: a JSON object a line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int)
        parser.add_argument(
            "--internal",
            action="store_true",
            help="also what members do not see: masked texts as they were sent, notes, audit log",
        )

    def handle(self, *args: Any, id: int, internal: bool, **options: Any) -> None:
        conversation = Conversation.objects.filter(pk=id).first()
        if conversation is None:
            raise CommandError(f"there is no conversation {id}")
        by, detail = f"{getpass.getuser()} (manage.py)", {"internal": internal}
        audit.record_command(by, audit.Action.EXPORTED, detail, conversation_id=id)
        for row in _rows(conversation, internal):
            self.stdout.write(json.dumps(readable(row), ensure_ascii=False))


def _rows(conversation: Conversation, internal: bool) -> Iterator[Row]:
    yield {"record": "conversation", **msgspec.to_builtins(events.conversation_state(conversation))}
    here = {"conversation": conversation}
    for members in in_batches(Participant.objects.filter(**here).select_related("user")):
        for member in members:
            yield {"record": "participant", **msgspec.to_builtins(events.participant(member))}
    for messages in in_batches(Message.objects.filter(**here).select_related("sender")):
        for message in messages:
            shown = msgspec.to_builtins(events.chat_message(message))
            as_sent = {"as_sent": message.as_sent} if internal else {}
            yield {"record": "message", **shown, **as_sent}
    if internal:
        yield from _internal(here)


def _internal(here: dict[str, Any]) -> Iterator[Row]:
    for notes in in_batches(Note.objects.filter(**here).select_related("author")):
        for note in notes:
            yield {"record": "note", **msgspec.to_builtins(note_events.note(note))}
    # Without whom each message rang for, which nobody did.
    done = AuditEntry.objects.filter(**here).exclude(action=audit.Action.RUNG)
    for entries in in_batches(done):
        for entry in entries:
            yield {
                "record": "audit",
                "actor_id": entry.actor_id,
                "actor_name": entry.actor_name,
                "action": entry.action,
                "detail": entry.detail,
                "at": timestamp(entry.at),
            }
