"""Notifications quote messages: in the admin they are for support, and each is a look."""

from chat import audit
from chat.models import is_support
from notifications import oversight

oversight.register(
    oversight.Source(
        object_type="conversation",
        notification_types=frozenset({"chat_message", "conversation_assigned"}),
        may_read=is_support,
        looked=audit.previewed,
    )
)
