"""The proofs of `make soak` in their short forms; and each of them can fail."""

import importlib
import random

import pytest

from testing.parts import missing
from testing.soak import Verdict, delivery, doors, rolling
from testing.soak.__main__ import PROOFS
from testing.soak.client import Arrival, Client

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("name", sorted({*PROOFS} - {"histories"}))
def test_a_proof_holds_in_its_short_form(name, monkeypatch):
    proof = importlib.import_module(f"testing.soak.{name}")
    seed = random.randrange(10**6)  # noqa: S311 - the failure names it
    try:
        verdict = proof.prove(proof.SHORT, seed, lambda text: None)
    except FileNotFoundError as problem:
        missing(f"The proof {name}", str(problem))
    assert verdict.holds, f"seed {seed}: {verdict}\n" + "\n".join(verdict.details)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(checked=9, wanted=10, faults={"lost": 0}),
        Verdict(checked=10, wanted=10, faults={"lost": 0, "doubled": 1}),
        Verdict(checked=10, wanted=10, faults={}, measured={"rss_growth_mb": (20.0, 20.0)}),
    ],
)
def test_too_few_too_many_or_too_large_does_not_hold(verdict):
    assert not verdict.holds


ROWS = [Arrival(1, 11, "message-0-0"), Arrival(2, 12, "message-0-1"), Arrival(3, 13, "message-0-2")]


def client_with(arrivals):
    client = Client(1, "", [], iter(()), random.Random(0))  # noqa: S311
    client.sent = len(ROWS)
    client.arrivals = arrivals
    return client


@pytest.mark.parametrize(
    ("arrivals", "rows", "expected"),
    [
        (ROWS, ROWS, (0, 0, 0)),
        (ROWS[:2], ROWS, (1, 0, 0)),
        ([*ROWS, ROWS[2]], ROWS, (0, 1, 1)),
        ([ROWS[1], ROWS[0], ROWS[2]], ROWS, (0, 0, 1)),
        (ROWS[:2], ROWS[:2], (1, 0, 0)),  # sent and never stored
        (
            [*ROWS[:2], Arrival(3, 13, "message-0-1")],
            [*ROWS[:2], Arrival(3, 13, "message-0-1")],
            (1, 1, 0),
        ),
    ],
)
def test_a_message_that_is_lost_doubled_or_out_of_order_is_counted(arrivals, rows, expected):
    verdict = delivery.judge(delivery.Scale(messages=3, clients=1), [client_with(arrivals)], rows)
    assert tuple(verdict.faults.values()) == expected
    assert verdict.checked == len({row.text for row in rows})


@pytest.mark.parametrize(
    ("moments", "most"),
    [([], 0), ([3.0], 1), ([0, 1, 2, 3], 1), ([0, 0.5, 0.99, 1.2, 5], 3), ([1.0] * 7, 7)],
)
def test_the_busiest_second_is_found_wherever_it_begins(moments, most):
    assert rolling.most_in_a_second(moments) == most


def test_the_matrix_has_every_outcome_and_counts_a_wrong_one():
    outcomes = {}
    for case in doors.cases():
        outcomes.setdefault(case.expected(), case)
    wanted = {doors.CONNECTED, doors.FOREIGN, doors.REFUSED, doors.EXPIRED, doors.NO_ORIGIN}
    assert outcomes.keys() == wanted
    for outcome, case in outcomes.items():
        other = doors.REFUSED if outcome != doors.REFUSED else doors.CONNECTED
        assert doors.wrong(case, outcome) == []
        assert len(doors.wrong(case, other)) == 1
