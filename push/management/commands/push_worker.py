"""Pushes to devices, in a process of its own: beside servers that are not `manage.py serve`."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from holodrive.realtime.management.commands.serve import answer_metrics
from push import backends
from push.worker import Worker


class Command(BaseCommand):
    help = "Push to devices. (Each `manage.py serve` does so as well; any number may run.)"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--metrics", default="", metavar="HOST:PORT", help="answer /metrics there"
        )

    def handle(self, *args: Any, metrics: str, **options: Any) -> None:
        if not settings.PUSH_BACKENDS:
            raise CommandError(
                "no way to push is configured: see PUSH_FCM_CREDENTIALS and PUSH_VAPID_PRIVATE_KEY"
            )
        if metrics:
            answer_metrics(metrics)
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        self.stdout.write(f"Pushing by {', '.join(backends.configured())} (Ctrl-C stops)")
        self.stdout.flush()
        Worker().run(stop)
