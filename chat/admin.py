from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from chat import audit, overview, queue_events, workflow
from chat.models import (
    ASSIGN,
    AuditEntry,
    CannedReply,
    Conversation,
    Message,
    Note,
    Participant,
)


def _named(path: str) -> list[str]:
    """To search by: what the console finds a person by."""
    return [f"{path}__{field}" for field in overview.name_fields()]


class Watched(admin.ModelAdmin):
    """Who sees here what was said has looked at the conversation, as in the console."""

    def render_change_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("obj") is not None:
            audit.looked(request.user, _conversation_of(kwargs["obj"]))
        return super().render_change_form(request, *args, **kwargs)


class WatchedTexts(Watched):
    """The list shows texts, too."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        answer = super().changelist_view(request, extra_context)
        if shown := getattr(answer, "context_data", {}).get("cl"):
            audit.looked(request.user, *map(_conversation_of, shown.result_list))
        return answer


def _conversation_of(row: Any) -> int:
    id: int = row.pk if isinstance(row, Conversation) else row.conversation_id
    return id


class ParticipantForm(forms.ModelForm):
    """Of somebody who takes part already it takes no other user or role, whatever is posted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            for name in self.fields.keys() & Participant.FIXED:
                self.fields[name].disabled = True


class ParticipantInline(admin.TabularInline):
    model = Participant
    form = ParticipantForm
    extra = 0
    fields = ("user", "role", "muted_until")
    autocomplete_fields = ("user",)


class ConversationForm(forms.ModelForm):
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
            return
        # The rest of the form is as old as the page: it must not undo what came since.
        obj.save(update_fields=form.changed_data)
        _record(request.user, obj, form)


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


@admin.register(Participant)
class ParticipantAdmin(admin.ModelAdmin):
    """Who takes part stays who it is; deleting one is an event, and closes their sockets."""

    list_display = ("id", "conversation", "user", "role", "last_read_id", "muted_until")
    list_filter = ("role", "conversation__kind")
    list_select_related = ("conversation", "user")
    search_fields = ("=conversation__id", "conversation__subject", *_named("user"))
    search_help_text = _("A conversation's id or subject, or a name or login.")
    autocomplete_fields = ("conversation", "user")
    readonly_fields = ("last_read_id", "last_delivered_id")
    ordering = ("-id",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Participant | None = None) -> Any:
        fixed = ("conversation", "user", "role")
        return self.readonly_fields if obj is None else (*fixed, *self.readonly_fields)


@admin.register(Message)
class MessageAdmin(WatchedTexts):
    """Saving here sends. Deleting is off: no frame tells the apps of it."""

    list_display = ("id", "conversation", "sender", "text", "is_from_support", "created_at")
    list_filter = ("is_from_support", "conversation__kind", "created_at")
    list_select_related = ("conversation", "sender")
    search_fields = ("=conversation__id", "text", *_named("sender"))
    search_help_text = _("A conversation's id, a part of the text, or the sender's name or login.")
    autocomplete_fields = ("conversation", "sender")
    readonly_fields = ("client_message_id", "is_from_support", "seq", "created_at", "edited_at")
    ordering = ("-id",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Message | None = None) -> Any:
        """What was said, by whom and where, stays; its text may be edited."""
        fixed = ("conversation", "sender")
        return self.readonly_fields if obj is None else (*fixed, *self.readonly_fields)

    def has_delete_permission(self, request: HttpRequest, obj: Message | None = None) -> bool:
        return False


@admin.register(CannedReply)
class CannedReplyAdmin(admin.ModelAdmin):
    list_display = ("code", "text")
    search_fields = ("code", "text")


class ReadOnlyAdmin(admin.ModelAdmin):
    ordering = ("-id",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Note)
class NoteAdmin(WatchedTexts, ReadOnlyAdmin):
    list_display = ("id", "conversation", "author", "text", "created_at")
    list_filter = ("created_at",)
    list_select_related = ("conversation", "author")
    search_fields = ("=conversation__id", "text", *_named("author"))


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
        if search_term.isascii() and search_term.isdigit() and len(search_term) < 19:
            found |= queryset.filter(conversation=int(search_term))
        return found, may_have_duplicates
