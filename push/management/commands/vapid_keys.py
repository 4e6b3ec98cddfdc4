"""Makes the key by which browsers know this installation."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Print a new key for Web Push, as lines for the environment."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            from cryptography.hazmat.primitives.asymmetric import ec
        except ImportError:
            raise CommandError("pip install -r requirements-push.txt") from None
        from base64 import urlsafe_b64encode

        number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
        key = urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")
        self.stdout.write(f"PUSH_VAPID_PRIVATE_KEY={key}")
        self.stdout.write("PUSH_VAPID_SUBJECT=mailto:you@example.com")
        self.stderr.write("Keep it: with another key every browser has to subscribe anew.")
