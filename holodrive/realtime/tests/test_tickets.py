"""Tickets: got over REST, good for one socket."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from holodrive.realtime import tickets
from holodrive.realtime.auth import identify
from holodrive.realtime.credentials import Credential, lift
from holodrive.realtime.models import RevokedSession, Ticket
from holodrive.realtime.tokens import ObtainSerializer
from holodrive.realtime.wire import TokenExpired, Unauthenticated

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def login(make_user):
    """A client with a real token; `client.user`, `client.token`."""
    client = APIClient()
    client.user = make_user()
    client.token = ObtainSerializer.get_token(client.user).access_token
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {client.token}")
    return client


def got(client):
    answer = client.post("/api/realtime/ticket/")
    assert (answer.status_code, answer.json()["expires_in"]) == (201, 30)
    assert answer["Cache-Control"] == "no-store"
    return answer.json()["ticket"]


def redeemed(ticket):
    return identify(Credential(ticket, kind="ticket"), None)


async def refusal(connect, path):
    socket = await connect(path)
    return (await socket.frame("error"))["code"], await socket.closed()


async def test_a_ticket_opens_one_socket_and_no_second(connect, login):
    ticket = await sync_to_async(got)(login)
    socket = await connect(f"/ws/notifications/?ticket={ticket}")
    assert (await socket.frame("connection_established"))["user_id"] == str(login.user.pk)
    path = f"/ws/notifications/?ticket={ticket}"
    assert await refusal(connect, path) == ("unauthenticated", 4401)


async def test_a_ticket_opens_the_users_own_chat_only(connect, trip):
    def ticket():
        client = APIClient()
        token = ObtainSerializer.get_token(trip.rider).access_token
        return got_with(client, token)

    def got_with(client, token):
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        return got(client)

    ticket = sync_to_async(ticket)
    socket = await connect(f"/ws/chat/{trip.pk}/?ticket={await ticket()}")
    welcome = await socket.frame("connection_established")
    assert welcome["conversation_id"] == trip.pk
    assert welcome["expires_at"]  # of the token that the ticket was got with
    path = f"/ws/chat/999999/?ticket={await ticket()}"
    assert await refusal(connect, path) == ("not_found", 4404)


@pytest.mark.parametrize("ticket", ["", "unknown", "%00", "%ff"])
async def test_a_wrong_ticket_is_refused_even_beside_a_good_token(connect, login, ticket):
    path = f"/ws/notifications/?ticket={ticket}&token={login.token}"
    assert await refusal(connect, path) == ("unauthenticated", 4401)


async def test_a_foreign_page_opens_nothing_with_a_ticket(connect, login):
    ticket = await sync_to_async(got)(login)
    headers = {"Origin": "https://evil.example"}
    socket = await connect(f"/ws/notifications/?ticket={ticket}", headers=headers)
    assert (socket.accepted, socket.close_code) == (None, 403)


def test_of_many_at_the_same_moment_one_gets_it(login):
    def attempt(ticket):
        try:
            return tickets.redeem(ticket)
        finally:
            connection.close()

    for ticket in [got(login) for _ in range(10)]:
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(attempt, [ticket] * 8))
        assert sum(row is not None for row in found) == 1


def test_only_a_digest_is_stored(login):
    ticket = got(login)
    row = Ticket.objects.get()
    assert ticket not in str(vars(row))
    assert str(login.token) not in str(vars(row))


def test_a_ticket_is_good_for_thirty_seconds(login):
    late, early = got(login), got(login)
    Ticket.objects.filter(digest=tickets._digest(late)).update(expires_at=timezone.now())
    with pytest.raises(Unauthenticated):
        redeemed(late)
    assert redeemed(early).user == login.user


def test_a_ticket_left_over_goes_with_the_next(login):
    got(login)
    Ticket.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    got(login)
    assert Ticket.objects.count() == 1


def test_the_socket_is_that_logins(login):
    identity = redeemed(got(login))
    assert identity.sid == login.token["sid"]
    assert identity.expires_at.timestamp() == login.token["exp"]


def test_a_ticket_of_a_login_that_was_ended_is_refused(login):
    ticket = got(login)
    RevokedSession.objects.create(sid=login.token["sid"], expires_at=timezone.now())
    with pytest.raises(Unauthenticated):
        redeemed(ticket)


def test_a_ticket_does_not_outlive_its_token(login):
    ticket = got(login)
    row = Ticket.objects.get()
    row.claims["exp"] = int(timezone.now().timestamp()) - 1
    row.save()
    with pytest.raises(TokenExpired):
        redeemed(ticket)


@pytest.mark.parametrize("change", ["deactivated", "password"])
def test_a_ticket_of_a_user_who_changed_is_refused(login, change):
    ticket = got(login)
    if change == "password":
        login.user.set_password("another-one")
    else:
        login.user.is_active = False
    login.user.save()
    with pytest.raises(Unauthenticated):
        redeemed(ticket)


def test_a_session_gets_a_ticket_that_ends_with_it(make_user):
    user = make_user("admin")
    browser = Client()
    browser.force_login(user)
    first, second = got(browser), got(browser)
    identity = redeemed(first)
    assert (identity.user, identity.session_key) == (user, browser.session.session_key)
    browser.logout()
    with pytest.raises(Unauthenticated):
        redeemed(second)


def test_a_wrong_ticket_is_refused_even_beside_a_good_session(make_user):
    browser = Client()
    browser.force_login(make_user("admin"))
    with pytest.raises(Unauthenticated):
        identify(Credential("unknown", kind="ticket"), browser.session.session_key)
    assert identify(None, browser.session.session_key).session_key == browser.session.session_key


def test_a_session_needs_a_csrf_token(make_user):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(make_user("admin"))
    answer = browser.post("/api/realtime/ticket/")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_nobody_gets_a_ticket_without_credentials():
    answer = APIClient().post("/api/realtime/ticket/")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_a_ticket_ranks_between_subprotocol_and_token():
    def credential(query, subprotocols=()):
        scope = {"path": "/ws/notifications/in-path", "query_string": query}
        lifted = lift(scope | {"subprotocols": list(subprotocols)})
        assert lifted["query_string"] == b"last_seq=4"
        return lifted["credential"]

    query = b"token=b&ticket=a&ticket=x&last_seq=4"
    assert credential(query, ["jwt", "c"]) == Credential("c")
    assert credential(query) == Credential("a", kind="ticket")
    assert credential(b"token=b&last_seq=4") == Credential("b")
    assert credential(b"last_seq=4") == Credential("in-path")


def test_a_server_process_takes_a_ticket(server, dial, login):
    path = f"/ws/notifications/?ticket={got(login)}"
    assert dial(server, path).frame("connection_established")["user_id"] == str(login.user.pk)
    assert dial(server, path).frame("error")["code"] == "unauthenticated"
