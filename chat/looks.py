"""Conversations as REST shows them: to support each is a look in the audit log. What cannot be
audited is not shown.
"""

from typing import Any

from chat import audit, events, overview
from chat.models import is_support


def conversation_of(user: Any, id: int) -> events.ConversationItem:
    """One, with its newest message. Raises NotFound."""
    item = overview.conversation_of(user, id)
    if is_support(user):
        audit.previewed(user, id)
    return item


def conversations_of(user: Any, **asked: Any) -> overview.Conversations:
    """A page of the list, or of what a search finds."""
    found = overview.conversations_of(user, **asked)
    if is_support(user):
        audit.previewed(user, *(item.id for item in found.items))
    return found
