"""Turns a saved Message into its event and the notifications it causes, inside the transaction that
saves it.
"""

from typing import Any

from django.db.models.signals import post_save, pre_delete, pre_save
from django.dispatch import receiver
from django.utils import timezone

from chat import events, services
from chat.models import Message, Participant, is_support
from holodrive.realtime import log
from holodrive.realtime.wire import timestamp


@receiver(pre_save, sender=Message)
def complete(
    instance: Message, raw: bool = False, update_fields: Any = None, **kwargs: Any
) -> None:
    """The stream is locked here, so its next number is this message's, and the stored text is what
    clients know.
    """
    if raw:  # loaddata brings rows, not news
        return
    if instance._state.adding:
        instance.seq = log.next_seq(events.stream_of(instance.conversation_id))
        instance.is_from_support = is_support(instance.sender)
        instance._edited = False  # type: ignore[attr-defined]
        return
    stored = Message.objects.filter(pk=instance.pk).only("text", "deleted_at").first()
    if stored and stored.deleted_at:  # in the admin, say: what was taken back stays so
        instance.text, instance.deleted_at = "", stored.deleted_at
    stores_text = update_fields is None or "text" in update_fields
    changed = not stored or stored.text != instance.text
    instance._edited = stores_text and changed  # type: ignore[attr-defined]
    if instance._edited:  # type: ignore[attr-defined]
        instance.edited_at = timezone.now()


@receiver(post_save, sender=Message)
def publish(instance: Message, created: bool, raw: bool = False, **kwargs: Any) -> None:
    if raw:
        return
    stream = events.stream_of(instance.conversation_id)
    if created:
        log.append(stream, events.chat_message(instance))
        services.follow_up(instance)
    elif instance._edited and instance.edited_at:  # type: ignore[attr-defined]
        edited = events.MessageEdited(
            message_id=instance.pk, message=instance.text, edited_at=timestamp(instance.edited_at)
        )
        log.append(stream, edited)


@receiver(pre_delete, sender=Participant)
def remove(instance: Participant, **kwargs: Any) -> None:
    """However the row goes (admin, queryset, with its conversation or user); before it does, since
    every writer takes the stream first and the row then.
    """
    stream = events.stream_of(instance.conversation_id)
    with log.writing(stream):
        log.append(stream, events.ParticipantRemoved(user_id=instance.user_id))
