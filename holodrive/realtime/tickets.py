"""Tickets: a right to open one socket within 30 s, so that no token need stand in a URL.

Knows nothing of who holds one: `auth.py` judges the login that a ticket stands for.
"""

import base64
import hashlib
import secrets
from datetime import timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.utils import timezone

from holodrive.realtime.models import Ticket

SECONDS = 30


def issue(*, user: Any, claims: dict[str, Any] | None = None, session_key: str = "") -> str:
    """A new ticket for the login of these token claims, or of this session."""
    now = timezone.now()
    Ticket.objects.filter(expires_at__lt=now).delete()
    ticket = secrets.token_urlsafe(32)
    Ticket.objects.create(
        digest=_digest(ticket),
        user=user,
        claims=claims,
        session_key=_seal(ticket).encrypt(session_key.encode()).decode() if session_key else "",
        expires_at=now + timedelta(seconds=SECONDS),
    )
    return ticket


def redeem(ticket: str) -> Ticket | None:
    """What the ticket stands for, once; None if it is unknown, used or too old. Of two at the same
    moment one gets it: both find the row, but only one deletes it.
    """
    row = Ticket.objects.filter(digest=_digest(ticket), expires_at__gt=timezone.now()).first()
    if row is None:
        return None
    deleted, _ = Ticket.objects.filter(pk=row.pk).delete()
    return row if deleted else None


def session_of(ticket: str, row: Ticket) -> str | None:
    """The session that the ticket was got with; None if it was another ticket's, or stored by a
    release that did not seal it.
    """
    try:
        return _seal(ticket).decrypt(row.session_key).decode()
    except InvalidToken:
        return None


def _seal(ticket: str) -> Fernet:
    """A session's key opens the admin: in the table it needs the ticket to be read."""
    key = hashlib.sha256(b"session of " + ticket.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def _digest(ticket: str) -> str:
    """32 random bytes need no salt; the table alone must not open sockets."""
    return hashlib.sha256(ticket.encode("utf-8", "replace")).hexdigest()
