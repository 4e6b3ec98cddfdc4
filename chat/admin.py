"""Conversations in the admin: the services' rules hold here as well. Whoever is not of support sees
nothing, whatever permission of a model they have; to see a text is a look in the audit log.
"""

from typing import Any, ClassVar

import msgspec
from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chat import audit, events, membership, queue_events, services, workflow
from chat.admin_access import ForSupport, ReadOnlyAdmin, Watched
from chat.models import (
    ASSIGN,
    AuditEntry,
    CannedReply,
    Conversation,
    Message,
    Note,
    Participant,
    may_reply,
)
from holodrive.realtime import log, names
from holodrive.realtime.admin_lookups import FreshRights
from holodrive.realtime.form_fields import SeenField
from holodrive.realtime.wire import whole_number


def _named(path: str) -> list[str]:
    """To search by: what the console finds a person by."""
    return [f"{path}__{field}" for field in names.fields()]


class ParticipantForm(forms.ModelForm):
    """Of somebody who takes part already it takes no other user or role, whatever is posted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            for name in self.fields.keys() & Participant.FIXED:
                self.fields[name].disabled = True


class ParticipantInline(FreshRights, admin.TabularInline):
    model = Participant
    form = ParticipantForm
    extra = 0
    fields = ("user", "role", "muted_until")
    autocomplete_fields = ("user",)


class ConversationForm(forms.ModelForm):
    class Meta:
        field_classes: ClassVar = {"subject": SeenField}

    def clean_assignee(self) -> Any:
        """As in the console: somebody of support. Who has it already may have left since."""
        assignee = self.cleaned_data["assignee"]
        known = assignee is None or assignee.pk == self.initial.get("assignee")
        if not known and not workflow.agents().filter(pk=assignee.pk).exists():
            raise forms.ValidationError(_("Choose somebody of support."))
        return assignee


@admin.register(Conversation)
class ConversationAdmin(Watched):
    """Saving here is a change of the queue, as in the console: told to all, and in the audit
    log.
    """

    look_at_list = staticmethod(audit.previewed)  # its subjects
    form = ConversationForm
    list_display = (
        "id", "kind", "subject", "status", "assignee", "priority", "waiting_since",
        "last_message_at",
    )  # fmt: skip
    list_filter = (
        "kind",
        "status",
        "priority",
        ("assignee", admin.RelatedOnlyFieldListFilter),
        ("waiting_since", admin.EmptyFieldListFilter),
    )
    list_select_related = ("assignee",)
    search_fields = ("=id", "subject", *_named("participants__user"))
    completed_by = ("=id", *_named("participants__user"))
    search_help_text = _("An id, a part of the subject, or the name or login of a participant.")
    autocomplete_fields = ("assignee",)
    readonly_fields = ("waiting_since", "last_message_at", "created_at")
    inlines = (ParticipantInline,)
    ordering = ("-id",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Conversation | None = None) -> Any:
        """What was a trip stays one: what it hides depends on it. To assign takes what it takes in
        the console.
        """
        kind = () if obj is None else ("kind",)
        assignee = () if workflow.may(request.user, ASSIGN) else ("assignee",)
        return (*kind, *assignee, *self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: Conversation, form: Any, change: bool) -> None:
        obj.changed_by = request.user
        if not change:
            super().save_model(request, obj, form, change)
            audit.record(request.user, audit.Action.OPENED, obj.pk, kind=obj.kind)
            return
        # The rest of the form is as old as the page: it must not undo what came since.
        obj.save(update_fields=form.changed_data)
        _record(request.user, obj, form)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Of the participants."""
        rows = formset.save(commit=False)
        for row in formset.deleted_objects:
            membership.remove(by=request.user, participant=row)
        for row in rows:
            _save_participant(request.user, row)
        formset.save_m2m()

    def delete_model(self, request: HttpRequest, obj: Conversation) -> None:
        audit.record(request.user, audit.Action.DELETED, obj.pk, kind=obj.kind)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        with log.writing(*map(events.stream_of, queryset.values_list("pk", flat=True))):
            for row in queryset:
                self.delete_model(request, row)


def _save_participant(by: Any, row: Participant) -> None:
    if row._state.adding:
        membership.add(by=by, participant=row)
    else:
        row.save()


def _record(user: Any, conversation: Conversation, form: Any) -> None:
    before, changed = form.initial, set(form.changed_data)
    if "assignee" in changed:
        audit.record(
            user,
            audit.Action.ASSIGNED,
            conversation.pk,
            **{"from": before["assignee"], "to": conversation.assignee_id},
        )
    if "priority" in changed:
        known = Conversation.Priority(before["priority"]).name.lower()
        audit.record(
            user,
            audit.Action.PRIORITY,
            conversation.pk,
            **{"from": known, "to": queue_events.priority_of(conversation)},
        )
    if "status" in changed:
        audit.record(
            user,
            audit.Action.STATUS,
            conversation.pk,
            **{"from": before["status"], "to": conversation.status},
        )
    if others := sorted(changed & {"closes_at", "snoozed_until", "subject"}):
        audit.record(user, audit.Action.CHANGED, conversation.pk, fields=others)


@admin.register(Participant)
class ParticipantAdmin(ForSupport):
    """Who takes part stays who it is; deleting one is an event, and closes their sockets."""

    list_display = ("id", "conversation", "user", "role", "last_read_id", "muted_until")
    list_filter = ("role", "conversation__kind")
    list_select_related = ("conversation", "user")
    search_fields = ("=conversation__id", *_named("user"))
    search_help_text = _("A conversation's id, or a name or login.")
    autocomplete_fields = ("conversation", "user")
    readonly_fields = ("last_read_id", "last_delivered_id")
    ordering = ("-id",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Participant | None = None) -> Any:
        fixed = ("conversation", "user", "role")
        return self.readonly_fields if obj is None else (*fixed, *self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: Participant, form: Any, change: bool) -> None:
        _save_participant(request.user, obj)

    def delete_model(self, request: HttpRequest, obj: Participant) -> None:
        membership.remove(by=request.user, participant=obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        ids = queryset.values_list("conversation", flat=True)
        with log.writing(*map(events.stream_of, ids)):
            for row in queryset:
                membership.remove(by=request.user, participant=row)


class MessageForm(forms.ModelForm):
    def clean_text(self) -> str:
        """The limits of the socket and of REST."""
        text: str = self.cleaned_data["text"]
        try:
            msgspec.convert({"message": text}, events.MessageText)
        except msgspec.ValidationError as problem:
            raise forms.ValidationError(str(problem)) from None
        return text

    def clean(self) -> Any:
        """Said here, where the text that was written stays."""
        cleaned = super().clean() or self.cleaned_data
        conversation = cleaned.get("conversation")
        if conversation is not None and conversation.is_closed():
            raise forms.ValidationError("This conversation is closed.")
        return cleaned


@admin.register(Message)
class MessageAdmin(Watched):
    """Saving here sends, in one's own name. Deleting is off: no frame tells the apps of it."""

    form = MessageForm
    list_display = ("id", "conversation", "sender", "text", "is_from_support", "created_at")
    list_filter = ("is_from_support", "conversation__kind", "created_at")
    list_select_related = ("conversation", "sender")
    search_fields = ("=conversation__id", "text", *_named("sender"))
    completed_by = ("=conversation__id", *_named("sender"))
    search_help_text = _("A conversation's id, a part of the text, or the sender's name or login.")
    autocomplete_fields = ("conversation",)
    readonly_fields = ("client_message_id", "is_from_support", "seq", "created_at", "edited_at")
    ordering = ("-id",)
    show_full_result_count = False

    def get_exclude(self, request: HttpRequest, obj: Message | None = None) -> Any:
        return ("sender",) if obj is None else None

    def get_readonly_fields(self, request: HttpRequest, obj: Message | None = None) -> Any:
        """What was said, by whom and where, stays; one's own text may be edited for a while."""
        fixed = ("conversation", "sender")
        return self.readonly_fields if obj is None else (*fixed, *self.readonly_fields)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and may_reply(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Message | None = None) -> bool:
        is_own = obj is None or (obj.sender_id == request.user.pk and may_reply(request.user))
        return is_own and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Message | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Message, form: Any, change: bool) -> None:
        said: dict[str, Any] = {"conversation_id": obj.conversation_id, "text": obj.text}
        if change:
            services.edit_message(user=request.user, message_id=obj.pk, **said)
        else:
            obj.pk = services.send_message(user=request.user, **said).message.pk


class CannedReplyForm(forms.ModelForm):
    class Meta:
        field_classes: ClassVar = {"text": SeenField}


@admin.register(CannedReply)
class CannedReplyAdmin(ForSupport):
    form = CannedReplyForm
    list_display = ("code", "text")
    search_fields = ("code", "text")


@admin.register(Note)
class NoteAdmin(ReadOnlyAdmin, Watched):
    list_display = ("id", "conversation", "author", "text", "created_at")
    list_filter = ("created_at",)
    list_select_related = ("conversation", "author")
    search_fields = ("=conversation__id", "text", *_named("author"))
    completed_by = ("=conversation__id", *_named("author"))


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Ids and the name of then: what it tells of may be gone."""

    list_display = ("at", "actor_name", "action", "conversation_id", "detail")
    fields = ("at", "actor_id", "actor_name", "action", "conversation_id", "detail")
    list_filter = ("action", "at")
    search_fields = ("actor_name",)
    search_help_text = _("The id of a conversation, which may be gone, or a name.")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        found, may_have_duplicates = super().get_search_results(request, queryset, search_term)
        number = whole_number(search_term)
        if number is not None:
            found |= queryset.filter(conversation=number)
        return found, may_have_duplicates
