"""Deletes what nobody can ask for any more (retention.py)."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from holodrive.realtime import retention
from holodrive.realtime.faults import FAULTS
from holodrive.realtime.progress import Progress


class Command(BaseCommand):
    help = "Delete old events, and what else is kept for a time only. Run it daily."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kinds", nargs="*", metavar="kind", help=", ".join(retention.names()))
        parser.add_argument("--dry-run", action="store_true", help="count, and delete nothing")
        parser.add_argument(
            "--batch", type=int, default=1000, help="rows in one transaction (%(default)s)"
        )

    def handle(
        self, *args: Any, kinds: list[str], dry_run: bool, batch: int, **options: Any
    ) -> None:
        if unknown := sorted({*kinds} - {*retention.names()}):
            known = ", ".join(retention.names())
            raise CommandError(f"no kind is called {', '.join(unknown)}: there are {known}")
        if batch < 1:
            raise CommandError("--batch: 1 or more is wanted")
        for name in kinds or retention.names():
            old = retention.old(name)
            if old is None:
                self.stdout.write(f"{name}: kept for ever")
            elif dry_run:
                self.stdout.write(f"{name}: {old.rows.count()} {old.what} would be deleted")
            else:
                self._delete(name, old, batch)

    def _delete(self, name: str, old: retention.Old, batch: int) -> None:
        total = old.rows.count()
        progress = Progress(name, total, self.stderr)
        try:
            for deleted in retention.delete(old, batch):
                progress.add(deleted)
        except (KeyboardInterrupt, *FAULTS) as problem:
            why = "interrupted" if isinstance(problem, KeyboardInterrupt) else str(problem).strip()
            raise CommandError(
                f"{name}: {progress.done} of {total} deleted, then {why}: run it again to go on"
            ) from None
        finally:
            progress.end()
        self.stdout.write(f"{name}: {progress.done} {old.what} deleted")
