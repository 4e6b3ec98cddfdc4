"""Deletes what nobody can ask for any more: old events, ended logins whose tokens expired."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from holodrive.realtime import log
from holodrive.realtime.models import RevokedSession


class Command(BaseCommand):
    help = "Delete events older than REALTIME_LOG_DAYS and expired ended logins. Run it daily."

    def handle(self, *args: Any, **options: Any) -> None:
        days = settings.REALTIME_LOG_DAYS
        events = log.prune(days) if days else 0
        logins, _ = RevokedSession.objects.filter(expires_at__lt=timezone.now()).delete()
        self.stdout.write(f"Deleted {events} events older than {days} days, {logins} ended logins.")
