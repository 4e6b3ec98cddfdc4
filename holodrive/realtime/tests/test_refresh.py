"""A refresh gives no token that is refused at the next request; and CHECK_REVOKE_TOKEN can be
turned on in a running project.
"""

from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken

from holodrive.realtime import auth, tickets
from holodrive.realtime.claims import SID
from holodrive.realtime.credentials import Credential
from holodrive.realtime.models import RevokedSession
from holodrive.realtime.tokens import AccessToken, ObtainSerializer, RefreshToken
from testing.client import bearer

pytestmark = pytest.mark.django_db(transaction=True)

CLAIM = api_settings.REVOKE_TOKEN_CLAIM


@pytest.fixture
def user(make_user):
    return make_user(password="holodrive-demo")


def refreshed(token):
    return APIClient().post("/api/token/refresh/", {"refresh": str(token)}, format="json")


def reads(access):
    return APIClient(headers=bearer(access)).get("/api/me/").status_code == 200


def change_password(user, token=None):
    user.set_password("another-one")
    user.save()


def lock_password(user, token):
    user.set_unusable_password()
    user.save(update_fields=["password"])


def change_it_past_save(user, token):
    get_user_model().objects.filter(pk=user.pk).update(password="!another")


def deactivate(user, token):
    user.is_active = False
    user.save()


def end_login(user, token):
    RevokedSession.objects.create(sid=token[SID], expires_at=timezone.now() + timedelta(days=1))


def delete(user, token):
    user.delete()


ENDS = (
    change_password, lock_password, change_it_past_save, deactivate, end_login, delete,
)  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_what_ends_a_login_ends_its_refreshes(user, end):
    token = ObtainSerializer.get_token(user)
    end(user, token)
    answer = refreshed(token)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert not reads(token.access_token)


def test_a_refused_refresh_uses_nothing_up(user):
    token = ObtainSerializer.get_token(user)
    deactivate(user, token)
    assert refreshed(token).status_code == 401
    user.is_active = True
    user.save()
    assert reads(refreshed(token).json()["access"])


def test_whoever_logs_in_after_a_change_of_password_refreshes_as_ever(user):
    before = ObtainSerializer.get_token(user)
    change_password(user)
    after = ObtainSerializer.get_token(user)
    assert [refreshed(before).status_code, refreshed(after).status_code] == [401, 200]


# CHECK_REVOKE_TOKEN, turned on


@contextmanager
def not_checked():
    with patch.object(api_settings, "CHECK_REVOKE_TOKEN", False):
        yield


@pytest.fixture
def unmarked(user):
    """A login of before it was on."""
    with not_checked():
        token = ObtainSerializer.get_token(user)
        assert CLAIM not in token
    return token


def test_tokens_without_the_claim_are_good_until_they_expire(user, unmarked):
    access = unmarked.access_token
    credential = Credential(str(access))
    assert reads(access)
    assert auth.identify(credential, None).user == user
    assert [one.user for one in auth.identify_together([credential] * 2)] == [user] * 2
    ticket = APIClient(headers=bearer(access)).post("/api/realtime/ticket/").json()["ticket"]
    assert auth.identify(Credential(ticket, kind="ticket"), None).user == user
    access.set_exp(lifetime=-timedelta(seconds=1))
    assert not reads(access)


def test_they_get_it_at_their_next_refresh(user, unmarked):
    answer = refreshed(unmarked).json()
    assert CLAIM in AccessToken(answer["access"]).payload
    assert CLAIM in RefreshToken(answer["refresh"]).payload
    assert reads(answer["access"])
    again = refreshed(answer["refresh"])
    assert again.status_code == 200
    change_it_past_save(user, None)
    assert not reads(again.json()["access"])
    assert refreshed(again.json()["refresh"]).status_code == 401


@pytest.mark.parametrize("end", [end for end in ENDS if end is not change_it_past_save])
def test_a_refresh_token_without_it_ends_as_others_do(user, unmarked, end):
    end(user, unmarked)
    answer = refreshed(unmarked)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("value", [None, "", "0" * 32])
def test_a_claim_that_is_there_and_wrong_is_not_a_missing_one(unmarked, value):
    unmarked[CLAIM] = value
    assert not reads(unmarked.access_token)
    assert refreshed(unmarked).status_code == 401


def test_a_user_who_is_saved_for_another_reason_keeps_the_login(user, unmarked):
    user.first_name = "Aziza"
    user.save()
    user.set_password("not-stored")
    user.last_name = "Karimova"
    user.save(update_fields=["last_name"])
    get_user_model().objects.defer("password").get(pk=user.pk).save()
    assert not BlacklistedToken.objects.exists()
    assert refreshed(unmarked).status_code == 200


def test_where_it_is_off_a_change_of_password_ends_no_login(user, unmarked):
    with not_checked():
        change_password(user)
        answer = refreshed(unmarked)
        assert answer.status_code == 200
        assert CLAIM not in RefreshToken(answer.json()["refresh"]).payload


def test_a_ticket_of_a_token_without_it_ends_with_its_login(user, unmarked):
    ticket = tickets.issue(user=user, claims=dict(unmarked.access_token.payload))
    end_login(user, unmarked)
    with pytest.raises(auth.Unauthenticated):
        auth.identify(Credential(ticket, kind="ticket"), None)
