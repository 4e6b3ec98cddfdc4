"""Fixtures that every test may use; each makes what it needs and nothing else."""

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.db import connection
from django.test import TransactionTestCase

from holodrive.realtime import log
from testing import replica, services
from testing.browser import Site, context_of, running_chromium, session_of
from testing.client import RemoteSocket, Socket, access_token
from testing.patience import PATIENCE
from testing.server import ServerProcess
from testing.services import Valkey

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


# Files that take a minute or more: begun last, one of them would run alone at the end.
_LONG = {
    "test_alerts.py",
    "test_backpressure.py",
    "test_bell.py",
    "test_bell_for_all.py",
    "test_commands.py",
    "test_console.py",
    "test_deploy.py",
    "test_failures.py",
    "test_javascript_client.py",
    "test_loadtest.py",
    "test_server.py",
    "test_service_worker.py",
    "test_soak.py",
    "test_status.py",
    "test_stop.py",
    "test_tracing.py",
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, in whatever order pytest-randomly has put them."""
    items.sort(key=lambda item: item.path.name not in _LONG)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Behind the fixtures; and not only at exit, where xdist kills a worker that takes its time."""
    services.stop()


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """The databases are throw-away ones (testing/services.py): dropping them here would only wait
    for threads.
    """
    return True


@pytest.fixture(scope="session", autouse=True)
def replica_that_refuses() -> Iterator[None]:
    """All tests run beside a read replica that refuses every query: no door may ask it."""
    with replica.beside_a_replica():
        yield


# A test's row with a host's large id raises all ids after it on SQLite, and frames of other tests
# would have them as text: from 2^50 back to 2^40.
_LOWER_IDS = "UPDATE sqlite_sequence SET seq = 1099511627776 WHERE seq > 1125899906842624"


@log.retrying
def _empty(statements: list[str]) -> None:
    """A server of the test may still be writing: who loses the deadlock starts over."""
    connection.ops.execute_sql_flush(statements)


@pytest.fixture(scope="session", autouse=True)
def keep_permissions() -> None:
    """Between two tests Django empties every table, then makes all content types and permissions
    anew, which takes longer than most tests: here these stay.
    """
    kept = {ContentType._meta.db_table, Permission._meta.db_table}

    def empty_tables(self: TransactionTestCase) -> None:
        tables = connection.introspection.django_table_names(
            only_existing=True, include_views=False
        )
        statements = connection.ops.sql_flush(no_style(), [t for t in tables if t not in kept])
        _empty([*statements, *([_LOWER_IDS] if connection.vendor == "sqlite" else [])])

    TransactionTestCase._fixture_teardown = empty_tables  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def shared_server(django_db_setup: None, django_db_blocker: Any) -> Iterator[ServerProcess]:
    with django_db_blocker.unblock():
        process = ServerProcess(DJANGO_SETTINGS_MODULE="testing.replica_settings")
    yield process
    process.discard()


@pytest.fixture
def server(shared_server: ServerProcess, transactional_db: None) -> ServerProcess:
    """A running `manage.py serve`, shared by the tests that neither stop it nor harm its Redis."""
    return shared_server


@pytest.fixture(scope="session")
def another_shared_server(shared_server: ServerProcess) -> Iterator[ServerProcess]:
    process = ServerProcess()
    yield process
    process.discard()


@pytest.fixture
def servers(server: ServerProcess, another_shared_server: ServerProcess) -> list[ServerProcess]:
    """Two processes on the same database and Valkey, shared as `server` is."""
    return [server, another_shared_server]


@pytest.fixture
def start_server(transactional_db: None) -> Iterator[Callable[..., ServerProcess]]:
    """Factory of server processes of a test's own: `start_server("uvicorn", REDIS_URL=...)`."""
    processes: list[ServerProcess] = []

    def start(kind: str = "serve", **settings: str) -> ServerProcess:
        processes.append(ServerProcess(kind, **settings))
        return processes[-1]

    yield start
    for process in processes:
        process.discard()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A Valkey that the test may kill and freeze."""
    own = Valkey()
    yield own
    own.kill()


@pytest.fixture(scope="session")
def shared_site(django_db_setup: None, django_db_blocker: Any) -> Iterator[Site]:
    with django_db_blocker.unblock():
        site = Site()
    yield site
    site.discard()


@pytest.fixture
def site(shared_site: Site, transactional_db: None) -> Site:
    """A running server with static files, shared by the tests of browsers; a test that kills it
    starts it again.
    """
    if shared_site.process is None:  # that test failed before it did
        shared_site.start()
    return shared_site


@pytest.fixture
def start_site(transactional_db: None) -> Iterator[Callable[..., Site]]:
    """Factory of sites of a test's own: `start_site(REDIS_URL=...)`."""
    sites: list[Site] = []

    def start(**settings: str) -> Site:
        sites.append(Site(**settings))
        return sites[-1]

    yield start
    for site in sites:
        site.discard()


@pytest.fixture(scope="module")
def shared_chromium() -> Iterator["Browser"]:
    """For a module, not for the run: Playwright keeps a loop in this thread, in which no test that
    is async could run, and where Django would refuse the ORM. Nothing awaits it.
    """
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with running_chromium("What is seen in a browser") as browser:
        yield browser
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def chromium(shared_chromium: "Browser", transactional_db: None) -> Iterator["Browser"]:
    """A running Chromium, shared by a module; the profiles that a test makes end with it."""
    yield shared_chromium
    for context in shared_chromium.contexts:
        context.close()


@pytest.fixture
def log_in(site: Site, chromium: "Browser") -> Callable[..., "BrowserContext"]:
    """Factory of profiles in which that user is logged in: `log_in(user, locale="ru")`."""

    def make(user: Any, at: Site = site, **options: Any) -> "BrowserContext":
        return context_of(chromium, at, session_of(user), **options)

    return make


@pytest.fixture
def make_user(transactional_db: None) -> Callable[..., Any]:
    """Factory of users by role: `make_user("rider")`, `make_user("admin")` is a superuser."""
    count = 0

    def make(role: str = "rider", **fields: Any) -> Any:
        nonlocal count
        count += 1
        fields.setdefault("username", f"{role}{count}")
        fields.setdefault("first_name", role.title())
        fields.setdefault("last_name", f"No{count}")
        if role == "admin":
            fields = {"is_staff": True, "is_superuser": True, **fields}
        user = get_user_model()(role=role, **fields)
        user.set_unusable_password() if "password" not in fields else user.set_password(
            fields["password"]
        )
        user.save()
        return user

    return make


@pytest.fixture
def trip(make_user: Callable[..., Any]) -> Any:
    """A trip conversation, with its two members in `trip.rider` and `trip.driver`."""
    from chat.services import open_trip

    rider, driver = make_user("rider"), make_user("driver")
    trip: Any = open_trip(rider=rider, driver=driver)
    trip.rider, trip.driver = rider, driver
    return trip


@pytest.fixture
def held_until_a_retry(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractContextManager[list[float]]]:
    """`with held_until_a_retry("conversation.7") as pauses:` another connection has that stream,
    and lets go of it when a service that waited in vain, 2 s, is about to try again.
    """
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one lock for all and waits longer; the other run has this")

    @contextmanager
    def hold(*names: str) -> Iterator[list[float]]:
        locked, let_go = threading.Event(), threading.Event()
        pauses: list[float] = []

        def lock() -> None:
            with log.writing(*names):
                locked.set()
                let_go.wait(60)
            connection.close()

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            let_go.set()
            holder.join()

        monkeypatch.setattr(log, "time", SimpleNamespace(sleep=pause))
        holder = threading.Thread(target=lock)
        holder.start()
        try:
            assert locked.wait(PATIENCE)
            yield pauses
        finally:
            let_go.set()
            holder.join()

    return hold


@pytest.fixture
def dial(transactional_db: None) -> Iterator[Callable[..., RemoteSocket]]:
    """Opens sockets to a server process: `dial(server, path, user)`; closed at the end."""
    sockets: list[RemoteSocket] = []

    def open_socket(
        server: ServerProcess, path: str, user: Any = None, **options: Any
    ) -> RemoteSocket:
        sockets.append(RemoteSocket(server.address, path, user, **options))
        return sockets[-1]

    yield open_socket
    for socket in sockets:
        socket.close()


@pytest_asyncio.fixture
async def connect(transactional_db: None) -> AsyncIterator[Callable[..., Any]]:
    """Opens sockets through the ASGI application: `await connect(path, user)`, or with headers of
    one's own. All are closed at the end, and the loop's hub with them.
    """
    from asgiref.sync import sync_to_async

    from holodrive.realtime import hub

    sockets: list[Socket] = []

    async def open_socket(
        path: str,
        user: Any = None,
        *,
        headers: dict[str, str] | None = None,
        subprotocols: list[str] | None = None,
        first_frame: bool = True,
    ) -> Socket:
        headers = {"Host": "testserver", **(headers or {})}
        if user is not None:
            token = await sync_to_async(access_token)(user)
            headers["Authorization"] = f"Bearer {token}"
        socket = Socket(path, headers, subprotocols or [])
        sockets.append(socket)
        await socket.open()
        if first_frame and user is not None:
            socket.welcome = await socket.frame("connection_established")  # type: ignore[attr-defined]
        return socket

    yield open_socket
    for socket in sockets:
        await socket.leave()
    await hub.here().close()
