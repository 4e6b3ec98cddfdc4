"""One account, however its name is spelled: how failures count it."""

import unicodedata

from django.contrib.auth import get_user_model
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist

from holodrive.realtime.characters import is_blank
from holodrive.realtime.tokens import as_typed

_LONGEST = 254  # of the user names that Django's own models and forms know


def account(text: str) -> str:
    """The name that failures count under: of the account that a login with it would find, in one
    spelling. Names of no account have one as well: else a refusal would tell which is which.
    """
    name = as_typed(text)
    if "\x00" not in name and len(name) <= _LONGEST:
        try:
            user = get_user_model()._default_manager.get_by_natural_key(name)
        except (ObjectDoesNotExist, MultipleObjectsReturned, ValueError):
            pass
        else:
            name = user.get_username()
    return _one_spelling(name[:_LONGEST])


def _one_spelling(name: str) -> str:
    """For backends and collations that find more than the exact name: no case, nothing unseen."""
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(sign for sign in name if not is_blank(sign))
