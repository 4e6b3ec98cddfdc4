"""Deletes what nobody can ask for any more: old events, ended logins whose tokens expired,
tickets that nobody came with.
"""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from holodrive.realtime import log
from holodrive.realtime.models import RevokedSession, Ticket


class Command(BaseCommand):
    help = "Delete old events, expired ended logins and expired tickets. Run it daily."

    def handle(self, *args: Any, **options: Any) -> None:
        days = settings.REALTIME_LOG_DAYS
        events = log.prune(days) if days else 0
        now = timezone.now()
        logins, _ = RevokedSession.objects.filter(expires_at__lt=now).delete()
        tickets, _ = Ticket.objects.filter(expires_at__lt=now).delete()
        self.stdout.write(
            f"Deleted {events} events older than {days} days, {logins} ended logins, "
            f"{tickets} tickets."
        )
