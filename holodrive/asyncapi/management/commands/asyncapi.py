"""Writes docs/reference/asyncapi.json from the wire structs."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from holodrive.asyncapi.document import document


class Command(BaseCommand):
    help = "Write the AsyncAPI document of both sockets (docs/reference/asyncapi.json)."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail if the file is stale"
        )
        parser.add_argument("--file", type=Path, default=reference_file(), help="another file")

    def handle(self, *args: Any, check: bool, file: Path, **options: Any) -> None:
        text = rendered()
        if not check:
            file.write_text(text, encoding="utf-8")
        elif not file.is_file() or file.read_text(encoding="utf-8") != text:
            raise CommandError(f"{file.name} is stale: run manage.py asyncapi")


def reference_file() -> Path:
    return Path(settings.BASE_DIR) / "docs" / "reference" / "asyncapi.json"


def rendered() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
