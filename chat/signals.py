"""Turns saved rows into their events, and a message into the notifications it causes, inside the
transaction that saves them.
"""

from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.utils import timezone

from chat import events, note_events, queue_events, rights, sending, services
from chat.models import (
    Conversation,
    FormerParticipant,
    Message,
    Note,
    Participant,
    is_support,
)
from holodrive.realtime import log
from holodrive.realtime.models import Stream
from holodrive.realtime.published import completes, publishes, receiver_of
from holodrive.realtime.routing import only_home, require_home
from holodrive.realtime.wire import timestamp


@completes(Message)
def complete(instance: Message, update_fields: Collection[str] | None) -> None:
    """The stream is locked here, so its next number is this message's, and the stored text is what
    clients know.
    """
    if instance._state.adding:
        instance.seq = log.next_seq(events.stream_of(instance.conversation_id))
        instance.is_from_support = is_support(instance.sender)
        instance._edited = False  # type: ignore[attr-defined]
        _mask(instance)
        return
    stored = Message.objects.filter(pk=instance.pk).only("text", "original", "deleted_at").first()
    if stored and stored.deleted_at:  # in the admin, say: what was taken back stays so
        instance.text, instance.original, instance.deleted_at = "", "", stored.deleted_at
    elif stored and stored.text == instance.text:
        instance.original = stored.original
    else:
        _mask(instance)
    stores_text = update_fields is None or "text" in update_fields
    changed = not stored or stored.as_sent != instance.as_sent
    instance._edited = stores_text and changed  # type: ignore[attr-defined]
    if instance._edited:  # type: ignore[attr-defined]
        instance.edited_at = timezone.now()


def _mask(message: Message) -> None:
    """Rider and driver do not get each other's contact details. The text itself is masked, so that
    whatever shows, logs, finds or quotes a message cannot forget to.
    """
    message.original = ""
    if message.is_from_support or message.conversation.kind != Conversation.Kind.TRIP:
        return
    hidden = message.without_contacts()
    if hidden != message.text:
        message.original, message.text = message.text, hidden


@publishes(Message)
def publish(
    instance: Message, created: bool, raw: bool = False, together: bool = False, **kwargs: Any
) -> None:
    if raw:  # loaddata brings rows, not news
        return
    stream = events.stream_of(instance.conversation_id)
    if created:
        own = events.own_part(instance)
        if log.append(stream, events.chat_message(instance), own) != instance.seq:
            # A receiver of one of several sent it: each is saved by itself then.
            raise RuntimeError(f"{stream} has moved on before its new message was published")
        if not together:
            sending.follow_up([instance], getattr(instance, "_rooms", None))
    elif instance._edited and instance.edited_at:  # type: ignore[attr-defined]
        log.append(stream, events.message_edited(instance, instance.edited_at))


@receiver_of(pre_delete, Participant)
def remove(instance: Participant, using: str, origin: Any = None, **kwargs: Any) -> None:
    """However the row goes (admin, queryset, with its conversation or user); before it does, since
    every writer takes the stream first and the row then.
    """
    require_home(Participant, using)
    stream = events.stream_of(instance.conversation_id)
    with log.writing(stream):
        log.append(stream, events.ParticipantRemoved(user_id=instance.user_id))
        kind = getattr(origin, "model", type(origin))  # of a queryset, or of the row
        if issubclass(kind, Participant):
            FormerParticipant.objects.get_or_create(
                pk=instance.pk,
                defaults={
                    "conversation_id": instance.conversation_id,
                    "user_id": instance.user_id,
                    "role": instance.role,
                },
            )


@receiver_of(post_delete, Conversation)
def forget_streams(instance: Conversation, using: str, **kwargs: Any) -> None:
    """What was said there goes with it, out of the log too; once its last events are out."""
    require_home(Conversation, using)
    streams = [events.stream_of(instance.pk), note_events.stream_of(instance.pk)]
    transaction.on_commit(lambda: Stream.objects.filter(name__in=streams).delete(), robust=True)


@completes(Note)
def complete_note(instance: Note, update_fields: Collection[str] | None) -> None:
    instance._edited = False  # type: ignore[attr-defined]
    if instance._state.adding:
        instance.seq = log.next_seq(note_events.stream_of(instance.conversation_id))
        return
    stored = Note.objects.filter(pk=instance.pk).only("text", "deleted_at").first()
    if stored and stored.deleted_at:  # what was taken back stays so
        instance.text, instance.deleted_at = "", stored.deleted_at
    elif stored and stored.text != instance.text and "text" in (update_fields or ("text",)):
        instance._edited, instance.edited_at = True, timezone.now()  # type: ignore[attr-defined]


@publishes(Note)
def publish_note(instance: Note, created: bool, raw: bool = False, **kwargs: Any) -> None:
    if raw:
        return
    stream = note_events.stream_of(instance.conversation_id)
    if created:
        log.append(stream, note_events.note(instance))
    elif instance._edited and instance.edited_at:  # type: ignore[attr-defined]
        edited = note_events.NoteEdited(
            note_id=instance.pk, text=instance.text, edited_at=timestamp(instance.edited_at)
        )
        log.append(stream, edited)


@receiver_of(pre_save, Conversation)
def remember_what_is_known(instance: Conversation, raw: bool = False, **kwargs: Any) -> None:
    """The stream is locked here, so what is read now is what the last event said."""
    instance._known = (  # type: ignore[attr-defined]
        None if raw or instance._state.adding else _stored(instance.pk)
    )


@receiver_of(post_save, Conversation)
def publish_conversation(
    instance: Conversation, created: bool, raw: bool = False, **kwargs: Any
) -> None:
    if raw:
        return
    if created:
        if instance.assignee_id is not None:
            rights.remember([instance.assignee_id])
        if instance.kind == Conversation.Kind.SUPPORT:
            publish_to_queue(instance.pk)
        return
    # The row is asked: of a save with `update_fields` the instance knows only part.
    known, row = instance._known, _stored(instance.pk)  # type: ignore[attr-defined]
    if known is None or row is None:
        return
    state = events.conversation_state(row)
    if state != events.conversation_state(known):
        log.append(events.stream_of(row.pk), events.ConversationUpdated(conversation=state))
    if queue_events.queued(row, ()) != queue_events.queued(known, ()):
        publish_to_queue(row.pk)
    if row.assignee_id != known.assignee_id:  # behind the queue, whose lock comes first
        services.tell_assignee(row, instance.changed_by)


@receiver_of(post_save, Participant)
def join(instance: Participant, created: bool, raw: bool = False, **kwargs: Any) -> None:
    """The queue shows who it is that asks."""
    if created and not raw and instance.conversation.kind == Conversation.Kind.SUPPORT:
        publish_to_queue(instance.conversation_id)


@receiver_of(pre_delete, get_user_model())
@only_home
def give_back(instance: Any, **kwargs: Any) -> None:
    """What is assigned to whom is deleted. SET_NULL would do it by an UPDATE that tells nobody. A
    deletion is one transaction, so all locks come first: in the order of names, and before that of
    the queue.
    """
    mine = Conversation.objects.filter(assignee=instance).values_list("pk", flat=True)
    with log.writing(*map(events.stream_of, mine)):
        for _ in services.unassign(instance):
            pass


def publish_to_queue(id: int) -> None:
    """Under the queue's lock, which comes after that of the conversation."""
    with log.writing(queue_events.STREAM):
        row = _stored(id)
        members = Participant.objects.filter(conversation=id).select_related("user").order_by("id")
        if row is not None:
            shown = queue_events.queued(row, members)
            log.append(queue_events.STREAM, queue_events.QueueUpdated(conversation=shown))


def _stored(id: int) -> Conversation | None:
    return Conversation.objects.select_related("assignee").filter(pk=id).first()
