"""Apart from the other proofs: it is the one that each database answers in its own way."""

import random

import pytest

from testing.soak import histories


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_and_its_events_are_a_fresh_snapshot():
    seed = random.randrange(10**6)  # noqa: S311 - the failure names it
    verdict = histories.prove(histories.SHORT, seed, lambda text: None)
    assert verdict.holds, f"seed {seed}: {verdict}\n" + "\n".join(verdict.details)
