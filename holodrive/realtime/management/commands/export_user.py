"""Writes out all that is kept of a person (personal.py), as JSON lines."""

import getpass
import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.core.serializers.json import DjangoJSONEncoder

from holodrive.realtime import personal
from holodrive.realtime.management.commands.erase_user import find
from holodrive.realtime.wire import readable


class Command(BaseCommand):
    help = "Write all that is kept of a person to standard output, one JSON object a line."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = find(username)
        by = f"{getpass.getuser()} (manage.py)"
        personal.exported.send(type(user), by=by, detail={"user_id": user.pk})
        for name, kind in personal.kinds(user).items():
            for row in kind.rows():
                line = readable({"record": name, **row})
                self.stdout.write(json.dumps(line, ensure_ascii=False, cls=DjangoJSONEncoder))
