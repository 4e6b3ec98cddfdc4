"""What a message keeps in PostgreSQL: `python -m benchmarks.storage`.

Stores messages of trips between two, by the service that sockets use, and prints the bytes that
each adds to a table with its indexes and TOAST (pg_total_relation_size), after VACUUM.
"""

import os
import signal
import sys

_PAIRS, _EACH = 20, 50
_TEXT = "I am at the main entrance, next to the taxi stand. See you in a minute!"
_TABLES = ("chat_message", "realtime_event", "notifications_notification")


def main() -> int:
    from testing.services import PostgreSQL, Valkey

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stops what it has started
    valkey, database = Valkey(), PostgreSQL()
    try:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "holodrive.settings",
            "ENV_FILE": "",
            "SECRET_KEY": "for-benchmarks-only-0123456789abcdef0123456789abcdef",
            "DATABASE_URL": database.url,
            "REDIS_URL": valkey.url,
        }
        _measure()
    finally:
        database.stop()
        valkey.kill()
    return 0


def _measure() -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    before, events_before = _sizes()
    _store()
    after, events_after = _sizes()
    messages = _PAIRS * _EACH
    for table in _TABLES:
        print(f"{table:30} {(after[table] - before[table]) / messages:8,.0f} bytes/message")
    print(f"{'total':30} {sum(after.values()) - sum(before.values()):8,} bytes")
    events = events_after - events_before
    each = (after["realtime_event"] - before["realtime_event"]) / events
    print(
        f"{events / messages:.1f} events a message, {each:,.0f} bytes each; texts of {len(_TEXT)}"
    )
    connection.close_pool()  # type: ignore[attr-defined]


def _store() -> None:
    from django.contrib.auth import get_user_model

    from chat import services

    for pair in range(_PAIRS):
        rider, driver = (
            get_user_model().objects.create(username=f"{role}{pair}", role=role, first_name="Aziza")
            for role in ("rider", "driver")
        )
        trip = services.open_trip(rider=rider, driver=driver)
        for number in range(_EACH):
            sender = (rider, driver)[number % 2]
            id = f"{pair:08}-{number:027}"  # as long as a UUID
            services.send_message(
                user=sender, conversation_id=trip.pk, text=_TEXT, client_message_id=id
            )


def _sizes() -> tuple[dict[str, int], int]:
    from django.db import connection

    from holodrive.realtime.models import Event

    with connection.cursor() as cursor:
        cursor.execute("VACUUM")
        sizes = {}
        for table in _TABLES:
            cursor.execute("SELECT pg_total_relation_size(%s)", [table])
            sizes[table] = cursor.fetchone()[0]
    return sizes, Event.objects.count()


if __name__ == "__main__":
    sys.exit(main())
