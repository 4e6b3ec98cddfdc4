"""What is kept of a person. Each app registers its kinds: `manage.py export_user` writes them out,
`erase_user` takes them away, in batches that are transactions of their own.

What is erased is found by ids, never by a name: namesakes are other people, and a run that was
interrupted goes on when the name is gone already.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import models, transaction
from django.dispatch import Signal
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from holodrive.realtime import retention
from holodrive.realtime.models import LastSeen, Ticket
from holodrive.realtime.wire import timestamp_if

ERASED = "Deleted user"  # in place of the name, wherever others see it
_EXPORTED_AT_ONCE = 500
# Told with by (the user who did it, or the name that the operating system knows them by) and
# detail, inside a transaction where there is one.
exported, erased = Signal(), Signal()

Row = dict[str, Any]
M = TypeVar("M", bound=models.Model)


class Kind(NamedTuple):
    """`left` counts the rows that are still to be erased; `erase` takes how many at once, and
    yields how many it has done after each transaction (0: other traces of the user). Run again, it
    does what is left. `leads_to_names`: only by its rows an erasure finds what else names the user,
    so as long as there are some, the admin does not delete the account.
    """

    what: str
    rows: Callable[[], Iterator[Row]]
    left: Callable[[], int]
    erase: Callable[[int], Iterator[int]]
    leads_to_names: bool = False


_kinds: dict[str, Callable[[Any], Kind]] = {}


def register(name: str, of: Callable[[Any], Kind]) -> None:
    """`of` says what there is of a user. The same name again replaces it."""
    _kinds[name] = of


def kinds(user: Any) -> dict[str, Kind]:
    """The account comes first: whoever is erased is out, and what follows shows no name."""
    return {name: of(user) for name, of in _kinds.items()}


def erase(user: Any, *, by: Any, at_once: int, until: float) -> bool:
    """Erase a user's rows, `at_once` in each transaction, until that time (`time.monotonic`), but
    for what no count says is left: that is done whole, behind the rest. Return whether nothing is
    left; called again, it goes on.
    """
    erased.send(type(user), by=by, detail={"user_id": user.pk, "state": "begun"})
    done: dict[str, int] = {}
    for is_again in (False, True):  # what was on its way when the account was closed has arrived
        for name, kind in kinds(user).items():
            # First of all kinds: names are also where no row of the user is left to be counted.
            for count in kind.erase(at_once) if kind.left() or not is_again else ():
                done[name] = done.get(name, 0) + count
                # A call that stopped where nothing was new would stop there again.
                if count and monotonic() >= until:
                    return False
    erased.send(type(user), by=by, detail={"user_id": user.pk, "state": "done", **done})
    return True


def in_batches(rows: models.QuerySet[M], at_once: int = _EXPORTED_AT_ONCE) -> Iterator[list[M]]:
    """Rows by ascending id, a bounded number in memory. (`iterator()` would hold them all: it needs
    server-side cursors, which PgBouncer forbids.)
    """
    last = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk")[:at_once]):
        yield batch
        last = batch[-1].pk


def removed(name: str, find: Callable[[Any], models.QuerySet[Any]], *shown: str) -> None:
    """Register rows that are exported with these fields, and simply deleted."""

    def of(user: Any) -> Kind:
        rows = find(user)
        return Kind(
            name,
            lambda: (
                {field: _plain(getattr(row, field)) for field in shown}
                for batch in in_batches(rows)
                for row in batch
            ),
            rows.count,
            lambda at_once: _delete(rows, at_once),
        )

    register(name, of)


def _delete(rows: models.QuerySet[Any], at_once: int) -> Iterator[int]:
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:at_once]):
        with transaction.atomic():
            retention.with_everything_below(rows.model, ids)
        forget_in_admin(rows.model, ids)
        yield len(ids)


def _plain(value: Any) -> Any:
    return timestamp_if(value) if isinstance(value, datetime) else value


def forget_in_admin(model: type[models.Model], ids: Collection[int]) -> None:
    """The admin's log shows rows by what they said of themselves at the time: a name, a text."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import LogEntry
    from django.contrib.contenttypes.models import ContentType

    LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(model), object_id__in=[*map(str, ids)]
    ).update(object_repr=ERASED, change_message="")


# The user's own row


def _account(user: Any) -> Kind:
    shown = [field for field in user._meta.concrete_fields if field.name != "password"]
    return Kind(
        "account",
        lambda: iter([{field.name: _plain(field.value_from_object(user)) for field in shown}]),
        lambda: int(user.get_username() != _erased_name(user)),
        lambda at_once: _erase_account(user),
    )


def _erased_name(user: Any) -> str:
    return f"erased-{user.pk}"


def _erase_account(user: Any) -> Iterator[int]:
    """The row stays, as who has sent what others still have; nothing in it says who that was."""
    left = int(user.get_username() != _erased_name(user))
    with transaction.atomic():
        _empty(user)
    yield left


def _empty(user: Any) -> None:
    for field in user._meta.concrete_fields:
        if not isinstance(field, models.CharField | models.TextField) or field.choices:
            continue
        empty = None if field.null else ""
        setattr(user, field.name, _erased_name(user) if field.unique else empty)
    if hasattr(user, "first_name"):
        user.first_name = ERASED
    user.last_login = None
    for right in ("is_active", "is_staff", "is_superuser"):
        if hasattr(user, right):
            setattr(user, right, False)
    user.set_unusable_password()
    user.save()
    for relation in ("groups", "user_permissions"):
        if hasattr(user, relation):
            getattr(user, relation).clear()
    forget_in_admin(get_user_model(), [user.pk])


def _sessions(user: Any) -> Kind:
    """Of the admin. Whose they are stands inside of them, so all are looked at."""

    def own() -> Iterator[str]:
        if not apps.is_installed("django.contrib.sessions"):
            return
        from django.contrib.sessions.models import Session

        last = ""
        while batch := list(Session.objects.filter(pk__gt=last).order_by("pk")[:_EXPORTED_AT_ONCE]):
            for session in batch:
                if session.get_decoded().get("_auth_user_id") == str(user.pk):
                    yield session.pk
            last = batch[-1].pk

    def erase(at_once: int) -> Iterator[int]:
        from django.contrib.sessions.models import Session

        for key in own():
            Session.objects.filter(pk=key).delete()
            yield 1

    return Kind("sessions", lambda: iter(()), lambda: sum(1 for _ in own()), erase)


register("account", _account)
register("sessions", _sessions)
removed(
    "logins", lambda user: OutstandingToken.objects.filter(user=user), "created_at", "expires_at"
)
removed("tickets", lambda user: Ticket.objects.filter(user=user), "expires_at")
removed("last_seen", lambda user: LastSeen.objects.filter(user=user), "at")
