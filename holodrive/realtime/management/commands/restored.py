"""To be run once after an older state of the database was restored (restoration.py)."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand

from holodrive.realtime import restoration
from holodrive.realtime.models import Stream
from holodrive.realtime.progress import Progress


class Command(BaseCommand):
    help = (
        "Run this after an older state of the database was restored, before serving: clients that "
        "know what came later reload, and no id is given away twice."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        tables = restoration.advance_ids()
        self.stdout.write(f"ids: counted on behind a gap in {tables} tables")
        self._show("create", restoration.create_missing_streams(), restoration.owners())
        advanced = self._show("advance", restoration.advance_streams(), Stream.objects.count())
        self.stdout.write(f"streams: {advanced} go on behind a gap; every client reloads")

    def _show(self, name: str, steps: Iterator[int], total: int) -> int:
        progress = Progress(name, total, self.stderr)
        for done in steps:
            progress.add(done)
        progress.end()
        return progress.done
