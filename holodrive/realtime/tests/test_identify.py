"""Callers that are identified together: each gets what it would get alone."""

import time

import pytest

from holodrive.realtime import auth
from holodrive.realtime.auth import Identity
from holodrive.realtime.credentials import Credential
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.tokens import ObtainSerializer
from holodrive.realtime.wire import TokenExpired, Unauthenticated

pytestmark = pytest.mark.django_db(transaction=True)


def token(user, **claims):
    made = ObtainSerializer.get_token(user).access_token
    made.payload.update(claims)
    return made


def credential(made, user_id=None):
    return Credential(str(made), user_id)


def alone(one):
    try:
        return auth.identify(one, None)
    except (TokenExpired, Unauthenticated) as refusal:
        return refusal


def outcome(answer):
    return answer.user.pk if isinstance(answer, Identity) else type(answer)


def test_many_get_what_each_would_get_alone(make_user):
    good, same, inactive, changed, ended, other, old, gone = (make_user() for _ in range(8))
    login = token(ended)
    RevokedSession.objects.create(sid=login["sid"], expires_at="2099-01-01T00:00Z")
    credentials = [
        credential(token(good)),
        credential(token(same)),
        credential(token(same), user_id=str(same.pk)),
        credential(token(inactive)),
        credential(token(changed)),
        credential(login),
        credential(token(other), user_id=str(good.pk)),
        credential(token(old, exp=int(time.time()) - 10)),
        credential(token(gone)),
        credential("nonsense"),
    ]
    inactive.is_active = False
    inactive.save()
    changed.set_password("another")
    changed.save()
    gone.delete()
    together = [outcome(answer) for answer in auth.identify_together(credentials)]
    assert together == [
        good.pk, same.pk, same.pk, *[Unauthenticated] * 4, TokenExpired, *[Unauthenticated] * 2,
    ]  # fmt: skip
    assert [outcome(alone(one)) for one in credentials] == together


def test_a_hundred_take_two_queries(make_user, django_assert_num_queries):
    credentials = [credential(token(make_user())) for _ in range(100)]
    with django_assert_num_queries(2):
        found = auth.identify_together(credentials)
    assert len({answer.user.pk for answer in found}) == 100
    assert all(answer.sid for answer in found)


def test_whom_the_projects_manager_hides_is_refused_alone_and_among_others(make_user, monkeypatch):
    """`objects` may leave out who is banned; other managers of the model need not."""
    here, banned = make_user(), make_user()
    credentials = [credential(token(here)), credential(token(banned))]
    monkeypatch.setattr(
        type(here).objects, "get_queryset", lambda: type(here)._base_manager.exclude(pk=banned.pk)
    )
    together = auth.identify_together(credentials)
    assert [outcome(answer) for answer in together] == [here.pk, Unauthenticated]
    assert outcome(alone(credentials[1])) == Unauthenticated
