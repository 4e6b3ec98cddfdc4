"""What a migration may not do while the release before it serves: lock a large table for as long as
it is read or written anew, or take away what that release uses.

Most of it is known by django-migration-linter, from the SQL that PostgreSQL would be given.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db import connection
from django.db.migrations import Migration, RunPython, RunSQL
from django.db.migrations.state import ProjectState
from django_migration_linter.sql_analyser import PostgresqlAnalyser, analyse_sql_statements

# The number of each app's last migration that no release came before: there was nothing to lock.
BASELINE = {"accounts": 2, "chat": 4, "notifications": 3, "push": 2, "realtime": 3}

# What was looked at and may be done all the same: the migration, the codes, and why.
ALLOWED: dict[str, dict[str, str]] = {}

_INSTEAD = {
    "CREATE_INDEX": "AddIndexConcurrently, in a migration with atomic = False",
    "CREATE_INDEX_EXCLUSIVE": "a migration of its own for the index",
    "DROP_INDEX": "RemoveIndexConcurrently, in a migration with atomic = False",
    "NOT_NULL": "null=True or db_default; NOT NULL by a validated CHECK, a release later",
    "DROP_COLUMN": "null=True or db_default now; the column goes a release later",
    "DROP_TABLE": "the table goes a release after the code that uses it",
    "RENAME_COLUMN": "db_column, or a new column and three releases",
    "RENAME_TABLE": "db_table",
    "ALTER_COLUMN": "a new column, filled in batches",
    "ADD_UNIQUE": "a unique index made CONCURRENTLY, and the constraint USING it",
    "ADD_CONSTRAINT": "AddConstraintNotValid, then ValidateConstraint in another migration",
    "VOLATILE_DEFAULT": "a column without the default, filled in batches",
    "DATA_IN_TRANSACTION": "atomic = False, and batches that are transactions of their own",
}
_NEW_CONSTRAINT = re.compile(r'ALTER TABLE (".*?").* ADD CONSTRAINT .* (CHECK|FOREIGN KEY) ')
_NEW_COLUMN_DEFAULT = re.compile(r"ADD COLUMN .* DEFAULT (.*)")


class Finding(NamedTuple):
    migration: str
    code: str
    what: str

    def __str__(self) -> str:
        instead = _INSTEAD.get(self.code)
        return f"{self.migration}: {self.code}: {self.what}" + (
            f". Instead: {instead}" if instead else ""
        )


def is_judged(migration: Migration) -> bool:
    baseline = BASELINE.get(migration.app_label)
    return baseline is not None and int(migration.name[:4]) > baseline


def findings(migration: Migration, before: ProjectState) -> list[Finding]:
    """What is wrong with a migration of the state `before`, of which the open database has the
    tables.
    """
    name = f"{migration.app_label}.{migration.name}"
    allowed = ALLOWED.get(name, {})
    found = [Finding(name, code, what) for code, what in _found(migration, before)]
    return [finding for finding in found if finding.code not in allowed]


def _found(migration: Migration, before: ProjectState) -> Iterator[tuple[str, str]]:
    statements = _sql(migration, before)
    errors, _, warnings = analyse_sql_statements(PostgresqlAnalyser, statements)
    for issue in [*errors, *warnings]:
        table = f" of {issue.table}" if issue.table else ""
        yield issue.code, f"{issue.message}{table}"
    yield from _constraints(statements)
    yield from _volatile_defaults(statements)
    if migration.atomic and any(map(_touches_rows, migration.operations)):
        yield "DATA_IN_TRANSACTION", "rows stay locked until all of them are done"


def _sql(migration: Migration, before: ProjectState) -> list[str]:
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        migration.apply(before.clone(), editor, collect_sql=True)
    statements = _on_old_tables(editor.collected_sql or ())
    return ["BEGIN;", *statements] if migration.atomic else statements


def _on_old_tables(statements: Sequence[str]) -> list[str]:
    """A table that the migration itself makes is empty, and nobody's yet."""
    new = re.findall(r'^CREATE TABLE (".*?")', "\n".join(statements), re.MULTILINE)
    theirs = [re.compile(rf"^(ALTER TABLE|CREATE (UNIQUE )?INDEX .* ON) {table}") for table in new]
    return [
        statement
        for statement in statements
        if not statement.startswith("--") and not any(one.search(statement) for one in theirs)
    ]


def _touches_rows(operation: Any) -> bool:
    return isinstance(operation, RunPython | RunSQL)


def _constraints(statements: Sequence[str]) -> Iterator[tuple[str, str]]:
    for statement in statements:
        new = _NEW_CONSTRAINT.search(statement)
        if new and "NOT VALID" not in statement:
            yield "ADD_CONSTRAINT", f"{new[2]} reads all rows of {new[1]}, and locks them out"
        if re.search(r"ADD COLUMN .* UNIQUE", statement):
            yield "ADD_UNIQUE", "its index is made under the lock of the table"


def _volatile_defaults(statements: Sequence[str]) -> Iterator[tuple[str, str]]:
    """PostgreSQL stores a constant default beside the table; any other is written into each row."""
    for statement in statements:
        default = _NEW_COLUMN_DEFAULT.search(statement)
        for function in re.findall(r"(\w+)\(", default[1]) if default else ():
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT 1 FROM pg_proc WHERE proname = lower(%s) AND provolatile = 'v'",
                    [function],
                )
                if cursor.fetchone():
                    yield "VOLATILE_DEFAULT", f"{function}() is called for, and written to, each row"
