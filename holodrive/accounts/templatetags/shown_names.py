"""Names in the sentences of the admin's own templates."""

from typing import Any

from django import template

from holodrive.realtime.characters import is_blank, isolated

register = template.Library()


@register.filter
def in_a_sentence(user: Any) -> dict[str, str]:
    """Return what the welcome line asks of a user, so that no name turns the links beside it."""
    short = str(getattr(user, "get_short_name", str)())
    return {
        "get_short_name": "" if is_blank(short) else isolated(short),
        "get_username": isolated(str(user.get_username())),
    }
