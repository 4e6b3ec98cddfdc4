"""Callers that are identified together: each gets what it would get alone."""

import time

import pytest

from holodrive.realtime import auth
from holodrive.realtime.auth import Caller, Identity
from holodrive.realtime.credentials import Credential
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.tokens import ObtainSerializer
from holodrive.realtime.wire import TokenExpired, Unauthenticated

pytestmark = pytest.mark.django_db(transaction=True)


def token(user, **claims):
    made = ObtainSerializer.get_token(user).access_token
    made.payload.update(claims)
    return made


def caller(made, user_id=None):
    return Caller(Credential(str(made), user_id), None)


def outcome(answer):
    return answer.user.pk if isinstance(answer, Identity) else type(answer)


def test_many_get_what_each_would_get_alone(make_user):
    good, same, inactive, changed, ended, other, old, gone = (make_user() for _ in range(8))
    login = token(ended)
    RevokedSession.objects.create(sid=login["sid"], expires_at="2099-01-01T00:00Z")
    callers = [
        caller(token(good)),
        caller(token(same)),
        caller(token(same), user_id=str(same.pk)),
        caller(token(inactive)),
        caller(token(changed)),
        caller(login),
        caller(token(other), user_id=str(good.pk)),
        caller(token(old, exp=int(time.time()) - 10)),
        caller(token(gone)),
        caller("nonsense"),
        Caller(None, None),
        Caller(None, "no-such-session"),
        Caller(Credential("no-such-ticket", kind="ticket"), None),
    ]
    inactive.is_active = False
    inactive.save()
    changed.set_password("another")
    changed.save()
    gone.delete()
    together = [outcome(answer) for answer in auth.identify_together(callers)]
    assert together == [
        good.pk, same.pk, same.pk, *[Unauthenticated] * 4, TokenExpired, *[Unauthenticated] * 5,
    ]  # fmt: skip
    alone = [outcome(auth.identify_together([one])[0]) for one in callers]
    assert alone == together


def test_a_hundred_take_two_queries(make_user, django_assert_num_queries):
    callers = [caller(token(make_user())) for _ in range(100)]
    with django_assert_num_queries(2):
        found = auth.identify_together(callers)
    assert len({answer.user.pk for answer in found}) == 100
    assert all(answer.sid for answer in found)
