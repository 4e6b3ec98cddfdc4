"""What is read where beside a router that reads from a replica, and which routers are refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.core.cache.backends.db import DatabaseCache
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS as HOME
from django.db import connections, models, router
from django.db.migrations.loader import MigrationLoader
from django.test.utils import isolate_apps
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from chat.models import Conversation, Message, Note, Participant, is_support
from holodrive.accounts.models import User
from holodrive.realtime import log, rest, routing
from holodrive.realtime.database import in_database
from holodrive.realtime.models import Event, RevokedSession, Stream, Ticket
from holodrive.realtime.routing import WrongDatabaseError
from holodrive.realtime.routing_checks import check_routers
from notifications import services as notifications
from notifications.models import Notification
from push.models import Device
from testing.replica import REPLICA, PrimaryReplicaRouter

with isolate_apps("holodrive.realtime"):

    class Order(models.Model):
        """A model of the project that has the router."""

        user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")

        class Meta:
            app_label = "shop"

        def __str__(self):
            return f"{self.pk}"

    class View(models.Model):
        """Of a database that the project does not write to."""

        class Meta:
            app_label = "shop"
            managed = False

        def __str__(self):
            return f"{self.pk}"

    class Courier(User):
        user_ptr: Any = models.OneToOneField(
            User, on_delete=models.CASCADE, parent_link=True, related_name="+", primary_key=True
        )

        class Meta:
            app_label = "shop"

    class BrowserSession(AbstractBaseSession):
        class Meta:
            app_label = "shop"

    class Manager(User):
        class Meta:
            app_label = "shop"
            proxy = True


needs_database = pytest.mark.django_db(transaction=True)


# Where what is read


@pytest.mark.parametrize(
    "model",
    [
        *(Message, Note, Conversation, Participant, Notification, Device),
        *(Stream, Event, RevokedSession, Ticket),
        *(User, Courier, Manager, User.groups.through, User.user_permissions.through),
        *(Group, Permission, Group.permissions.through),
        *(OutstandingToken, BlacklistedToken, Session, BrowserSession),
        DatabaseCache("throttles", {}).cache_model_class,
    ],
    ids=lambda model: f"{model._meta.app_label}.{model._meta.object_name}",
)
def test_what_we_store_and_what_rights_come_from_is_read_where_it_is_written(model):
    assert router.db_for_read(model) == HOME
    assert router.db_for_write(model) == HOME


def test_no_app_of_ours_is_forgotten():
    paths = {config.label: Path(config.path) for config in apps.get_app_configs()}
    ours = [name for name, path in paths.items() if "site-packages" not in path.parts]
    assert {"chat", "realtime"} <= {*ours}
    models = [model for model in apps.get_models() if model._meta.app_label in ours]
    assert [model for model in models if not routing.reads_where_it_writes(model)] == []


def test_an_app_of_the_project_may_say_that_rights_come_from_it(monkeypatch):
    monkeypatch.setitem(apps.app_configs, "shop", SimpleNamespace(reads_where_it_writes=True))
    assert router.db_for_read(Order) == HOME


def test_a_data_migration_reads_where_it_writes():
    known = MigrationLoader(None).project_state().apps
    for name in ("accounts.User", "accounts.User_groups", "chat.Participant", "auth.Group"):
        assert router.db_for_read(known.get_model(name)) == HOME


def test_the_projects_own_models_are_still_read_from_the_replica():
    assert router.db_for_read(Order) == REPLICA
    with pytest.raises(ImproperlyConfigured):
        Order.objects.first()


def test_without_a_router_nothing_is_changed(settings):
    settings.DATABASE_ROUTERS = []
    row = Message()
    row._state.db = "archive"  # which the project asked for
    assert router.db_for_read(Conversation, instance=row) == "archive"
    assert router.db_for_read(Order) == HOME


def answering(**answers):
    """A router with these answers."""
    return SimpleNamespace(
        **{name: (lambda *_, _answer=answer, **__: _answer) for name, answer in answers.items()}
    )


class OwnAppsOnly:
    """A router that knows nothing of our apps."""

    def db_for_read(self, model, **hints):
        return REPLICA if model._meta.app_label == "shop" else None


@pytest.fixture(params=[OwnAppsOnly, PrimaryReplicaRouter])
def order(request, settings, make_user):
    """One that was read from the replica."""
    settings.DATABASE_ROUTERS = [request.param()]
    row = Order(user_id=make_user("rider").pk)
    row._state.db = REPLICA
    return row


@needs_database
def test_what_hangs_on_a_row_of_the_replica_is_not_read_there(order):
    assert order.user._state.db == HOME
    assert not order.user.notifications.exists()


@needs_database
@pytest.mark.parametrize(
    "notify",
    [
        lambda user: Notification(recipient=user, title="Hi").save(),
        lambda user: Notification.objects.create(recipient=user, title="Hi"),
        lambda user: user.notifications.create(title="Hi"),
        lambda user: Notification.objects.notify([user], title="Hi"),
    ],
)
def test_who_was_read_with_a_row_of_the_replica_is_notified(notify, order):
    user = order.user
    user._state.db = REPLICA  # as select_related does
    notify(user)
    assert notifications.unread_count(user) == 1
    assert user.notifications.get()._state.db == HOME


@needs_database
def test_a_row_of_the_replica_may_be_given_a_user(order, make_user):
    order.user = make_user("driver")
    assert order.user._state.db == HOME


@needs_database
def test_what_a_router_forbids_stays_forbidden(settings, make_user):
    settings.DATABASE_ROUTERS = [answering(allow_relation=False)]
    with pytest.raises(ValueError, match="prevents this relation"):
        Order(user=make_user("rider"))


# What decides a change, and who may


def in_a_transaction():
    with log.writing():
        return router.db_for_read(Order), router.db_for_read(View)


def in_a_view():
    class Door(rest.NeverStored):
        authentication_classes = permission_classes = throttle_classes = ()

        def get(self, request):
            return rest.answer([router.db_for_read(Order), router.db_for_read(View)])

    from rest_framework.test import APIRequestFactory

    return tuple(Door.as_view()(APIRequestFactory().get("/")).data)


async def in_a_database_thread():
    return await in_database(lambda: (router.db_for_read(Order), router.db_for_read(View)))


@needs_database
@pytest.mark.parametrize("read", [in_a_transaction, in_a_view])
def test_inside_of_ours_other_models_are_read_where_they_are_written(read):
    assert read() == (HOME, REPLICA)
    assert router.db_for_read(Order) == REPLICA


@needs_database
async def test_in_a_database_thread_as_well():
    assert await in_a_database_thread() == (HOME, REPLICA)


class ByOrders(BaseBackend):
    """Permissions by a table of the project's own."""

    asked: ClassVar[list[str]] = []

    def has_perm(self, user_obj, perm, obj=None):
        self.asked.append(router.db_for_read(Order))
        return True


@needs_database
def test_a_backend_of_the_projects_own_says_who_is_of_support_by_what_is_written(
    settings, make_user
):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.ByOrders"]
    ByOrders.asked.clear()
    assert is_support(make_user("rider", is_staff=True))
    assert ByOrders.asked == [HOME]


@needs_database
def test_so_does_every_page_of_our_admin(settings, make_user, rf):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.ByOrders"]
    request = rf.get("/")
    request.user = make_user("rider", is_staff=True)
    ours = ("chat", "notifications", "push", "holodrive")
    pages = [page for page in admin.site._registry.values() if page.__module__.startswith(ours)]
    for page in pages:
        ByOrders.asked.clear()
        page.has_module_permission(request)
        page.get_model_perms(request)  # view, add, change, delete
        page.get_inline_instances(request)
        assert {*ByOrders.asked} == {HOME}, page
    assert len(pages) > 10


# What cannot work is refused at the start


def writes_users_elsewhere():
    def db_for_write(model, **hints):
        return "users" if model._meta.app_label == User._meta.app_label else None

    return SimpleNamespace(db_for_write=db_for_write)


@pytest.mark.parametrize(
    ("routers", "ids"),
    [
        ([], []),
        ([PrimaryReplicaRouter()], []),
        (["testing.replica.PrimaryReplicaRouter"], []),
        ([OwnAppsOnly()], []),
        ([answering(db_for_read=REPLICA, db_for_write=HOME)], []),
        ([answering(db_for_write="primary")], ["realtime.E031"]),
        ([writes_users_elsewhere()], ["realtime.E031"]),
        ([answering(allow_migrate=False)], ["realtime.E032"]),
        ([answering(allow_relation=False)], ["realtime.E033"]),
    ],
)
def test_the_check_refuses_what_cannot_work(routers, ids, settings):
    settings.DATABASE_ROUTERS = routers
    assert [found.id for found in check_routers()] == ids


def test_the_check_warns_of_a_transaction_on_the_replica(monkeypatch):
    monkeypatch.setitem(connections.settings[REPLICA], "ATOMIC_REQUESTS", True)
    assert [found.id for found in check_routers()] == ["realtime.W030"]


def test_the_check_names_a_router_that_cannot_be_imported(monkeypatch):
    monkeypatch.delitem(vars(router), "routers")
    monkeypatch.setattr(router, "_routers", ["testing.replica.NoSuchRouter"])
    assert [found.id for found in check_routers()] == ["realtime.E030"]


@needs_database
def test_where_a_router_writes_elsewhere_a_save_says_so(settings, make_user):
    user = make_user("rider")
    settings.DATABASE_ROUTERS = [answering(db_for_write="primary")]
    with pytest.raises(WrongDatabaseError, match="not to 'primary'"):
        Notification(recipient=user, title="Hi").save()


def test_fresh_reads_end_with_their_block():
    with pytest.raises(KeyError), routing.fresh_reads(), routing.fresh_reads():
        raise KeyError
    assert router.db_for_read(Order) == REPLICA
    assert not routing.has_perm(AnonymousUser(), "chat.view_conversation")
