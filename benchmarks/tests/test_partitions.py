"""Both forms of the log go through the same, and end with the same events."""

import psycopg
import pytest

from benchmarks import partitions
from testing.parts import missing
from testing.services import PostgreSQL


def test_both_forms_are_measured_by_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "WRITES_SECONDS", 0.2)
    try:
        cluster = PostgreSQL()
    except FileNotFoundError as problem:
        missing("The partitions' benchmark", str(problem))
    found, days = [], []
    try:
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            for form in (partitions.ONE, partitions.PARTITIONED):
                found.append(partitions.measure(connection, form, 7_000))
                sql = "SELECT created_at::date, count(*) FROM event GROUP BY 1 ORDER BY 1"
                days.append(connection.execute(sql).fetchall())
    finally:
        cluster.stop()
    assert found[0].keys() == found[1].keys()
    for by_day in days:
        assert [count for _, count in by_day[:-1]] == [1000] * (partitions.DAYS - 1)
        assert by_day[-1][1] > 1000  # the next day, and what was appended
