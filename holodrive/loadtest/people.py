"""The riders, drivers and agents of a load test: made in the configured database, with tokens, kept
in a file if they are to be used on another machine, and removed again.
"""

import json
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import transaction

from chat import events, note_events, services
from chat.models import Conversation, Participant
from holodrive.realtime import retention
from holodrive.realtime.models import Stream
from holodrive.realtime.tokens import ObtainSerializer
from notifications.events import stream_of as stream_of_user

PREFIX = "loadtest-"  # of their user names: nobody else may be called so
_AT_ONCE = 200
_PERMISSIONS = ("view_conversation", "reply_conversation")


class Person(NamedTuple):
    """One user: which conversations to join, and with what token."""

    role: str
    token: str
    conversations: list[int]


def new_run() -> str:
    """A name that the people of one test share."""
    return os.urandom(6).hex()


def make(run: str, riders: int, drivers: int, agents: int, lifetime: timedelta) -> list[Person]:
    """Each rider has a trip with a driver, each agent a support conversation with a rider: assigned
    to that agent, so that nobody of the real support is told.
    """
    made = [
        [_user(run, role, number) for number in range(count)]
        for role, count in (("rider", riders), ("driver", drivers), ("admin", agents))
    ]
    rooms: dict[int, list[int]] = {user.pk: [] for group in made for user in group}
    for number, rider in enumerate(made[0]):
        driver = made[1][number % drivers]
        trip = services.open_trip(rider=rider, driver=driver).pk
        rooms[rider.pk].append(trip)
        rooms[driver.pk].append(trip)
    for number, agent in enumerate(made[2]):
        rider = made[0][number % riders]
        support = _support(rider, agent)
        rooms[rider.pk].append(support)
        rooms[agent.pk].append(support)
    return [
        Person(user.role, _token(user, lifetime), rooms[user.pk])
        for group in made
        for user in group
    ]


def _user(run: str, role: str, number: int) -> Any:
    user: Any = get_user_model()(
        username=f"{PREFIX}{run}-{role}-{number}",
        role=role,
        first_name="Load",
        last_name=f"Test {number}",
        is_staff=role == "admin",
    )
    user.set_unusable_password()
    user.save()
    if user.is_staff:
        of_chat = Permission.objects.filter(content_type__app_label="chat")
        user.user_permissions.set(of_chat.filter(codename__in=_PERMISSIONS))
    return user


@transaction.atomic
def _support(rider: Any, agent: Any) -> int:
    support = Conversation.objects.create(
        kind=Conversation.Kind.SUPPORT, subject="Load test", assignee=agent
    )
    for user, role in ((rider, Participant.Role.RIDER), (agent, Participant.Role.SUPPORT)):
        Participant.objects.create(conversation=support, user=user, role=role)
    return int(support.pk)


def _token(user: Any, lifetime: timedelta) -> str:
    token: Any = ObtainSerializer.get_token(user).access_token  # type: ignore[attr-defined]
    token.set_exp(lifetime=lifetime)
    return str(token)


def forget(run: str = "") -> int:
    """Remove the people of that test, or of all, and what they wrote; how many they were."""
    users = get_user_model()._default_manager.filter(username__startswith=PREFIX + run)
    count = 0
    while ids := list(users.values_list("pk", flat=True)[:_AT_ONCE]):
        taken = Participant.objects.filter(user__in=ids).values_list("conversation", flat=True)
        with transaction.atomic():
            _forget(sorted(set(taken)), ids)
        count += len(ids)
    return count


def _forget(conversations: Sequence[int], users: Sequence[int]) -> None:
    streams = [stream_of_user(id) for id in users]
    for id in conversations:
        streams += [events.stream_of(id), note_events.stream_of(id)]
    retention.with_everything_below(Conversation, conversations)
    retention.with_everything_below(get_user_model(), users)
    Stream.objects.filter(name__in=streams).delete()


def write(people: Sequence[Person], file: Path) -> None:
    """For its owner only: tokens are in it. Raises OSError; never writes over a file."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump([person._asdict() for person in people], out)


def read(file: Path) -> list[Person]:
    """Raises OSError, ValueError."""
    people = [Person(**one) for one in json.loads(file.read_text())]
    if not people or not all(isinstance(person.conversations, list) for person in people):
        raise ValueError("nobody is in it")
    return people
