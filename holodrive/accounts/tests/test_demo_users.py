"""The demo users are for development: without DEBUG they are an error, until their password is."""

import pytest
from django.contrib.auth import get_user_model
from django.db import DEFAULT_DB_ALIAS

from holodrive.accounts.checks import check_demo_users
from holodrive.accounts.management.commands.demo import PASSWORD, PEOPLE

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # of no matter
    users = get_user_model().objects
    return {name: users.create_user(name, password=PASSWORD) for name in PEOPLE}


def found():
    return [message.msg for message in check_demo_users(databases=[DEFAULT_DB_ALIAS])]


def test_demo_users_with_their_password_are_an_error(people):
    (message,) = found()
    assert "admin, driver, rider" in message
    assert check_demo_users() == []  # nobody named a database


def test_one_is_enough_and_names_alone_are_none(people):
    for name in ("rider", "driver"):
        people[name].set_password("another one")
        people[name].save()
    assert "driver" not in found()[0]
    assert " admin " in found()[0]
    people["admin"].is_active = False
    people["admin"].save()
    assert found() == []
