"""Erases a person (personal.py): what is left shows "Deleted user"."""

import getpass
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from holodrive.realtime import personal
from holodrive.realtime.faults import FAULTS
from holodrive.realtime.progress import Progress
from holodrive.realtime.tokens import as_typed


class Command(BaseCommand):
    help = "Erase all that is kept of a person. It cannot be undone; see the how-to on data."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--dry-run", action="store_true", help="count, and erase nothing")
        parser.add_argument("--no-input", action="store_true", help="do not ask")
        parser.add_argument(
            "--batch", type=int, default=100, help="rows in one transaction (%(default)s)"
        )

    def handle(
        self,
        *args: Any,
        username: str,
        dry_run: bool,
        no_input: bool,
        batch: int,
        **options: Any,
    ) -> None:
        if batch < 1:
            raise CommandError("--batch: 1 or more is wanted")
        user = find(username)
        if dry_run:
            for name, kind in personal.kinds(user).items():
                self.stdout.write(f"{name}: {kind.left()} {kind.what} would be erased")
            return
        if not no_input:
            self._confirm(username)
        by = f"{getpass.getuser()} (manage.py)"
        personal.erased.send(type(user), by=by, detail={"user_id": user.pk, "state": "begun"})
        done = {name: self._erase(user, name, kind, batch) for name, kind in _kinds(user)}
        # What was on its way when the account was closed has arrived by now.
        for name, kind in _kinds(user):
            if kind.left():
                done[name] += self._erase(user, name, kind, batch)
        detail = {"user_id": user.pk, "state": "done", **done}
        personal.erased.send(type(user), by=by, detail=detail)

    def _confirm(self, username: str) -> None:
        question = f"This cannot be undone. Type the name of who is to be erased ({username}): "
        try:
            typed = input(question)
        except EOFError:
            raise CommandError("nothing was erased: nobody can be asked (--no-input)") from None
        if as_typed(typed) != as_typed(username):
            raise CommandError("nothing was erased")

    def _erase(self, user: Any, name: str, kind: personal.Kind, batch: int) -> int:
        progress = Progress(name, kind.left(), self.stderr)
        try:
            for erased in kind.erase(batch):
                progress.add(erased)
        except (KeyboardInterrupt, *FAULTS) as problem:
            why = "interrupted" if isinstance(problem, KeyboardInterrupt) else str(problem).strip()
            raise CommandError(
                f"{name}: {progress.done} erased, then {why}: "
                f"`erase_user {user.get_username()}` goes on"
            ) from None
        finally:
            progress.end()
        self.stdout.write(f"{name}: {progress.done} {kind.what} erased")
        return progress.done


def _kinds(user: Any) -> list[tuple[str, personal.Kind]]:
    return list(personal.kinds(user).items())


def find(username: str) -> Any:
    """Return the user of exactly this name, or else of the one that a login reads in it: a terminal
    may write decomposed letters. Exactly comes first, for a name that was stored as it was typed.
    """
    users = get_user_model()._default_manager
    for name in dict.fromkeys((username, as_typed(username))):
        # ValueError: bytes of the command line that are no text.
        with suppress(get_user_model().DoesNotExist, ValueError):
            return users.get_by_natural_key(name)
    raise CommandError(f"there is no user {username}")
