"""Users and conversations for the proofs."""

from typing import Any

from django.contrib.auth import get_user_model
from django.utils.crypto import get_random_string

from chat.models import Conversation, Participant


def person(role: str = "rider", **fields: Any) -> Any:
    """A new user; `admin` is a superuser."""
    if role == "admin":
        fields = {"is_staff": True, "is_superuser": True, **fields}
    name = f"{role}-{get_random_string(12).lower()}"
    return get_user_model()._default_manager.create(
        username=name, role=role, first_name=role.title(), last_name=name[-4:], **fields
    )


def conversation_of(*users: Any, **membership: Any) -> Conversation:
    """A trip that all of these take part in."""
    conversation = Conversation.objects.create(kind=Conversation.Kind.TRIP)
    for user in users:
        Participant.objects.create(
            conversation=conversation, user=user, role=user.role, **membership
        )
    return conversation
