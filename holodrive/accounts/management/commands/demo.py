"""Demo users and conversations for development."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from chat import services
from chat.models import Conversation, Message, Participant

PASSWORD = "holodrive-demo"  # noqa: S105 - printed on purpose; refused when DEBUG is off
PEOPLE = {
    "admin": ("Aziza", "Karimova", {"is_staff": True, "is_superuser": True}),
    "rider": ("Sobirjon", "Bobojonov", {}),
    "driver": ("Dilshod", "Rahimov", {}),
}


class Command(BaseCommand):
    help = "Create the demo users admin, rider and driver, and two conversations; DEBUG only."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--if-empty",
            action="store_true",
            help="only in a database without users, else no error",
        )

    def handle(self, *args: Any, if_empty: bool, **options: Any) -> None:
        users = get_user_model()._default_manager
        if not settings.DEBUG:
            if if_empty:
                return
            raise CommandError("the demo users have a known password: refused while DEBUG is off")
        if not (if_empty and users.exists()):
            taken = users.filter(username__in=PEOPLE).values_list("username", flat=True)
            if taken:
                raise CommandError(f"these users are here already: {', '.join(taken)}")
            _create_all()
        if users.filter(username__in=PEOPLE).count() == len(PEOPLE):
            talk = (
                f'{sys.executable} {settings.BASE_DIR / "manage.py"} talk "Hello, I am the rider"'
            )
            self.stdout.write(
                f"Demo users: {', '.join(PEOPLE)} (password {PASSWORD}).\n"
                f"Paste into a second terminal:\n  {talk}\n"
            )


@transaction.atomic
def _create_all() -> None:
    """Conversation 1: support, rider. Conversation 2: trip, rider and driver."""
    admin, rider, driver = (_create(name) for name in PEOPLE)
    support = Conversation.objects.create(kind=Conversation.Kind.SUPPORT, subject="Lost phone")
    for user, role in ((rider, Participant.Role.RIDER), (admin, Participant.Role.SUPPORT)):
        Participant.objects.create(conversation=support, user=user, role=role)
    trip = services.open_trip(rider=rider, driver=driver)
    Message(conversation=support, sender=rider, text="I left my phone in the car.").save()
    Message(conversation=trip, sender=driver, text="I am at the main entrance.").save()


def _create(name: str) -> Any:
    first, last, flags = PEOPLE[name]
    user: Any = get_user_model()(
        username=name, first_name=first, last_name=last, role=name, **flags
    )
    user.set_password(PASSWORD)
    user.save()
    return user
