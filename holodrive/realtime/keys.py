"""Keys that sign sessions and tokens: which of them anybody can read in a repository."""

from django.conf import settings
from rest_framework_simplejwt.settings import api_settings

# .env.example, and what Django writes into a new project.
_BEGINNINGS = ("development-only", "django-insecure-")
# The Makefile's, the image's build, and the places to fill in of our documents.
_WHOLE = frozenset({"check", "messages", "build", "...", "the-new-key", "the-old-key"})


def published() -> list[str]:
    """The settings whose key is public: whoever reads it can log in as anybody."""
    secret, signing = settings.SECRET_KEY, api_settings.SIGNING_KEY
    keys = {
        "SECRET_KEY": [secret],
        "JWT_SIGNING_KEY": [] if signing == secret else [signing],
        # What these have signed is accepted too.
        "SECRET_KEY_FALLBACKS": settings.SECRET_KEY_FALLBACKS,
        "JWT_SIGNING_KEY_FALLBACKS": settings.JWT_SIGNING_KEY_FALLBACKS,
    }
    return [name for name, values in keys.items() if any(map(_is_published, values))]


def _is_published(key: str | bytes | None) -> bool:
    text = key.decode(errors="replace") if isinstance(key, bytes) else str(key or "")
    text = text.strip(" \t\r\n\"'").lower()  # `docker --env-file` keeps the quotes
    return text in _WHOLE or text.startswith(_BEGINNINGS)
