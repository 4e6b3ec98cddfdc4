"""One account, however its name is spelled: how both doors read it, and how failures count it."""

import re
import unicodedata

from django.contrib.auth import get_user_model
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist

_LONGEST = 254  # of the user names that Django's own models and forms know
# Categories that leave no mark: controls, zero-width and other format characters, lone surrogates,
# every kind of space; and what Unicode calls ignorable in others.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"}
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)


def as_typed(text: str) -> str:
    """The name that a login looks up: trimmed and NFKC, as Django's UsernameField reads it."""
    name = text.strip()
    return name if len(name) > _LONGEST else unicodedata.normalize("NFKC", name)


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
    seen = (sign for sign in name if unicodedata.category(sign) not in _UNSEEN)
    return _IGNORABLE.sub("", "".join(seen))
