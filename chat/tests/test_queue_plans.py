"""How PostgreSQL finds the queue among many conversations: by an index, never by reading all."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat import overview
from chat.models import Conversation, Participant
from testing.services import ROOT

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        "connection.vendor != 'postgresql'", reason="plans are PostgreSQL's; the other run has it"
    ),
]

CONVERSATIONS, MESSAGES_EACH = 20_000, 5
ONE_IN = 40  # is active; the others were resolved
READS_ALL = re.compile("Seq Scan on chat_(conversation|message|participant)")


@pytest.fixture
def busy(make_user):
    """An agent, and 20,000 conversations with 100,000 messages; 500 are active, of those 250 trips
    and 250 of support, and the agent has read half.
    """
    agent, rider = make_user("admin"), make_user("rider")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chat_conversation (kind, subject, status, priority, created_at,"
            " last_message_at) SELECT CASE WHEN i %% 2 = 0 THEN 'trip' ELSE 'support' END,"
            " 'Number ' || i, CASE WHEN (i / 2) %% %s = 0 THEN 'open' ELSE 'resolved' END, 1,"
            " now(), now() - make_interval(secs => i) FROM generate_series(1, %s) AS i",
            [ONE_IN, CONVERSATIONS],
        )
        cursor.execute(
            "INSERT INTO chat_message (conversation_id, sender_id, text, folded, original,"
            " is_from_support, seq, created_at) SELECT c.id, %s, c.subject || '-' || n,"
            " lower(c.subject) || '-' || n, '', false, n, now() FROM chat_conversation c,"
            " generate_series(1, %s) AS n",
            [rider.pk, MESSAGES_EACH],
        )
        cursor.execute(
            "INSERT INTO chat_participant (conversation_id, user_id, role, last_read_id,"
            " last_delivered_id) SELECT c.id, u.id, u.role, CASE WHEN u.role = 'support' AND"
            " c.id %% 2 = 0 THEN 1000000 ELSE 0 END, 0 FROM chat_conversation c,"
            " (VALUES (%s, 'support'), (%s, 'rider')) AS u(id, role)",
            [agent.pk, rider.pk],
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return agent


def ask(user, **choice):
    """The page, and the plans of the statements that it took."""
    with CaptureQueriesContext(connection) as captured:
        page = overview.conversations_of(
            user, cursor=None, limit=30, choice=overview.Choice(**choice)
        )
    plans = []
    with connection.cursor() as cursor:
        for query in captured.captured_queries:
            if query["sql"].startswith("SELECT"):
                cursor.execute("EXPLAIN " + query["sql"])
                plans.append("\n".join(row[0] for row in cursor.fetchall()))
    return page.items, plans


def test_no_list_reads_all_conversations(busy):
    some = Participant.objects.order_by("conversation").values("conversation")[:20]
    Conversation.objects.filter(pk__in=some).update(assignee=busy, status="open")
    for filter in ("mine", "unassigned", "all", "closed", None):
        items, plans = ask(busy, filter=filter)
        assert items
        for plan in plans:
            assert READS_ALL.search(plan) is None, f"{filter}: {plan}"


def test_the_index_of_run_it_is_used_by_searches(busy):
    """And without it a search reads all messages: else this would say nothing."""
    text = (ROOT / "docs" / "how-to" / "run-it.md").read_text()
    said = re.findall(r"(?:CREATE|DROP) INDEX CONCURRENTLY .*?;", text, re.DOTALL)
    assert len(said) == 3
    found = ask(busy, filter="closed", q="Number 19999-3")
    assert any("Seq Scan on chat_message" in plan for plan in found[1])
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION pg_trgm")
        for statement in said:
            cursor.execute(statement)
        try:
            again = ask(busy, filter="closed", q="Number 19999-3")
        finally:
            cursor.execute("DROP EXTENSION pg_trgm CASCADE")
            cursor.execute("DROP INDEX message_unfolded")
    assert [one.id for one in again[0]] == [one.id for one in found[0]] != []
    assert any("Index Scan on message_folded" in plan for plan in again[1]), again[1]
    assert not any("Seq Scan on chat_message" in plan for plan in again[1])
