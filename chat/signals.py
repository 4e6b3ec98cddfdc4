"""Turns a saved Message into its event and the notifications it causes, inside the transaction that
saves it.
"""

from typing import Any

from django.db.models.signals import post_save, pre_save
from django.dispatch import receiver
from django.utils import timezone

from chat import events, services
from chat.models import Message, is_support
from holodrive.realtime import log
from holodrive.realtime.wire import timestamp


@receiver(pre_save, sender=Message)
def complete(instance: Message, **kwargs: Any) -> None:
    """The stream is locked here, so its next number is this message's, and the stored text is what
    clients know.
    """
    if instance._state.adding:
        instance.seq = log.next_seq(events.stream_of(instance.conversation_id))
        instance.is_from_support = is_support(instance.sender)
        instance._edited = False  # type: ignore[attr-defined]
        return
    stored = Message.objects.filter(pk=instance.pk).values_list("text", flat=True).first()
    instance._edited = stored != instance.text  # type: ignore[attr-defined]
    if instance._edited:  # type: ignore[attr-defined]
        instance.edited_at = timezone.now()


@receiver(post_save, sender=Message)
def publish(instance: Message, created: bool, **kwargs: Any) -> None:
    stream = events.stream_of(instance.conversation_id)
    if created:
        log.append(stream, events.chat_message(instance))
        services.follow_up(instance)
    elif instance._edited and instance.edited_at:  # type: ignore[attr-defined]
        edited = events.MessageEdited(
            message_id=instance.pk, message=instance.text, edited_at=timestamp(instance.edited_at)
        )
        log.append(stream, edited)
