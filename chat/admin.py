from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest

from chat.models import Conversation, Message, Participant

LOGIN = get_user_model().USERNAME_FIELD


class ParticipantInline(admin.TabularInline):
    model = Participant
    extra = 0
    fields = ("user", "role", "muted_until")
    autocomplete_fields = ("user",)


@admin.register(Conversation)
class ConversationAdmin(admin.ModelAdmin):
    list_display = ("id", "kind", "subject", "status", "assignee", "priority", "last_message_at")
    list_filter = ("kind", "status", "priority")
    list_select_related = ("assignee",)
    search_fields = ("subject", f"participants__user__{LOGIN}")
    autocomplete_fields = ("assignee",)
    readonly_fields = ("last_message_at", "created_at")
    inlines = (ParticipantInline,)
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(Message)
class MessageAdmin(admin.ModelAdmin):
    """Saving here sends. Deleting is off: no frame tells the apps of it."""

    list_display = ("id", "conversation", "sender", "text", "is_from_support", "created_at")
    list_filter = ("is_from_support",)
    list_select_related = ("conversation", "sender")
    search_fields = ("text", f"sender__{LOGIN}")
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
