"""`make check`: judges the migrations since the baseline, one after another, on an empty database of
a PostgreSQL that lives as long as this does.
"""

import os
import sys

from testing import services


def main() -> int:
    try:
        services.program("initdb")
    except FileNotFoundError as problem:
        print(f"migrations were not judged: no {problem}")
        return int(os.environ.get("CI") == "true")
    os.environ["TEST_DATABASE"] = "postgresql"
    services.prepare()
    os.environ["DJANGO_SETTINGS_MODULE"] = "holodrive.settings"
    import django

    django.setup()
    return _judge()


def _judge() -> int:
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    from testing.migrations import findings, is_judged

    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    judged = [migration for migration, _ in plan if is_judged(migration)]
    wrong = []
    for migration in judged:
        parents = executor.loader.graph.node_map[migration.app_label, migration.name].parents
        for parent in parents:
            call_command("migrate", *parent.key, verbosity=0)
        before = executor.loader.project_state((migration.app_label, migration.name), at_end=False)
        wrong += findings(migration, before)
    for finding in wrong:
        print(finding)
    print(f"migrations judged {len(judged)} refused {len(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
