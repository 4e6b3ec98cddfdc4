#!/usr/bin/env python
"""Django's command line for the HoloDrive project."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "holodrive.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        _ = settings.INSTALLED_APPS  # reads the environment now: one line if it is wrong
    except ImproperlyConfigured as wrong:
        sys.exit(f"error: {wrong}")
    from django.db.migrations.exceptions import MigrationSchemaMissing

    from holodrive.realtime.faults import FAULTS

    try:
        execute_from_command_line(sys.argv)
    except (*FAULTS, MigrationSchemaMissing) as problem:  # such as read-only
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"error: the database did not do it: {' '.join(str(problem).split())}")


if __name__ == "__main__":
    main()
