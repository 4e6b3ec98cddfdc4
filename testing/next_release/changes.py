"""What the next release does otherwise, put into the process that runs this."""

from typing import Any

from django.db import models
from django.db.models.signals import post_save

from chat import events
from chat.models import Message
from holodrive.realtime import log, publish, wire


class MessageMood(wire.Event, tag="message_mood"):
    """A frame that this release's clients have never heard of."""

    message_id: int
    mood: str


def make() -> None:
    models.CharField(max_length=10, db_default="happy").contribute_to_class(Message, "mood")
    post_save.connect(_tell_mood, sender=Message)
    publish.VERSION += 1
    encode_as_now = wire.encode_logged

    def encode_logged(event: wire.Frame) -> str:
        return encode_as_now(event)[:-1] + ',"release":{"next":true}}'

    wire.encode_logged = encode_logged


def _tell_mood(instance: Any, created: bool, **kwargs: Any) -> None:
    if created:
        mood = MessageMood(message_id=instance.pk, mood=instance.mood)
        log.append(events.stream_of(instance.conversation_id), mood)
