"""What a browser would post of the admin's forms."""

from typing import Any


def participants(conversation: Any) -> dict[str, Any]:
    """The inline form of a conversation's participants, unchanged."""
    rows = list(conversation.participants.order_by("id"))
    form = {"participants-TOTAL_FORMS": len(rows), "participants-INITIAL_FORMS": len(rows)}
    for number, row in enumerate(rows):
        form |= {
            f"participants-{number}-id": row.pk,
            f"participants-{number}-conversation": conversation.pk,
            f"participants-{number}-user": row.user_id,
            f"participants-{number}-role": row.role,
        }
    return form
