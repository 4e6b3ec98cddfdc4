"""Canned replies, with the names of a conversation in them."""

from typing import Any

from chat import canned_text, events, queue_events
from chat.models import CannedReply, Participant, is_support
from chat.services import conversation_for
from holodrive.realtime.characters import isolated
from holodrive.realtime.wire import Forbidden

_MOST = 500


def replies(user: Any, conversation_id: int | None) -> list[queue_events.CannedReplyItem]:
    """All of them by code; expanded for a conversation, if one is given. Raises Forbidden,
    NotFound.
    """
    if not is_support(user):
        raise Forbidden("Canned replies are for support.")
    names = None if conversation_id is None else _names(user, conversation_id)
    return [
        queue_events.CannedReplyItem(
            code=reply.code,
            text=reply.text,
            expanded=None if names is None else canned_text.expand(reply.text, names),
        )
        for reply in CannedReply.objects.order_by("code")[:_MOST]
    ]


def _names(user: Any, conversation_id: int) -> dict[str, str]:
    conversation = conversation_for(user, conversation_id)
    members = Participant.objects.filter(conversation=conversation).select_related("user")
    names = {"agent_name": isolated(events.name_of(user))}
    for member in members.order_by("id"):
        names.setdefault(f"{member.role}_name", isolated(events.name_of(member.user)))
    return names
