"""Serves admin, API and sockets from one process."""

import errno
import ipaddress
import socket
from argparse import ArgumentParser
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis
from channels.layers import get_channel_layer
from django.conf import settings
from django.core.checks import CheckMessage, run_checks
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.module_loading import import_string
from prometheus_client import start_http_server

from holodrive.environment.places import host_and_port
from holodrive.realtime import background, checks, clusters, embedded, private
from holodrive.realtime.layer import ConfirmedPubSubLayer

_BACKLOG = 4096  # a reconnect storm arrives at once
_PORT_IN_USE = (errno.EADDRINUSE, errno.EACCES)


class Command(BaseCommand):
    help = "Serve admin, API and sockets (Daphne)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default="", help="HOST:PORT to listen on (REALTIME_BIND)")
        parser.add_argument(
            "--reuse-port",
            action="store_true",
            help="share the port with other processes (SO_REUSEPORT)",
        )

        parser.add_argument(
            "--fd",
            type=int,
            help="the number of a listening socket that a supervisor hands over (systemd: 3)",
        )

        parser.add_argument(
            "--metrics",
            default="",
            metavar="HOST:PORT",
            help="answer /metrics there as well: of several processes on one port, each its own",
        )

    def handle(
        self,
        *args: Any,
        bind: str,
        reuse_port: bool,
        fd: int | None,
        metrics: str,
        **options: Any,
    ) -> None:
        if settings.DEBUG:
            private.tighten(*getattr(settings, "PRIVATE_FILES", []))
        else:
            _refuse(checks.check_secrets())
        listener = self._listen(bind, reuse_port) if fd is None else _handed_over(fd)
        if settings.DEBUG:
            self._check_reach(listener, asked=bool(bind))
        if metrics:
            answer_metrics(metrics)
        self._check_what_is_served()
        self._check_migrations()
        self._check_streams()
        connection.close()
        if reuse_port and connection.vendor == "sqlite":
            self.stderr.write(
                "warning: on SQLite only one of all processes writes at a time: several of them "
                "are for PostgreSQL"
            )
        with ExitStack() as stack:
            stack.callback(listener.close)
            base = Path(getattr(settings, "BASE_DIR", "."))
            if embedded.url(base) == settings.REDIS_URL:
                try:
                    stack.enter_context(embedded.running(base))
                except embedded.ValkeyUnavailableError as problem:
                    raise CommandError(str(problem)) from problem
            else:
                self._check_redis()
            self._serve(listener, outlived_by_port=fd is not None)

    def _listen(self, bind: str, reuse_port: bool) -> socket.socket:
        """A listening socket, made here: so a port in use is one line and not a log of the
        server's.
        """
        host, port = _host_and_port(bind) if bind else self._place()
        try:
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as problem:
            hint = "stop the other server, or set WEBSOCKET_PORT or --bind"
            if problem.errno not in _PORT_IN_USE:
                hint = "is it an address of this machine?"
            raise CommandError(
                f"cannot listen on {host}:{port}: {problem.strerror}: {hint}"
            ) from None
        except UnicodeError:
            raise CommandError(f"cannot listen on {host}:{port}: that is no host name") from None
        return listener

    def _place(self) -> tuple[str, int]:
        """Where to listen without --bind. With DEBUG on that is this machine alone: what clients
        dial, or a copied file says, must not put the demo superuser on a network.
        """
        bind = settings.REALTIME_BIND
        host, port = settings.WEBSOCKET_HOST.strip("[]"), settings.WEBSOCKET_PORT
        if bind:
            host, port = _host_and_port(bind)
        if settings.DEBUG:
            if _is_loopback(host) and _is_ours(host):
                return host, port
            self.stdout.write(
                f"DEBUG is on: listening on 127.0.0.1:{port} alone, and not for {host!r}, which "
                f"takes --bind HOST:{port}"
            )
            return "127.0.0.1", port
        if bind or _is_ours(host):
            return host, port
        self.stdout.write(f"{host} is no address of this machine: listening on 0.0.0.0:{port}")
        return "0.0.0.0", port  # noqa: S104 - a public name leads here through a proxy

    def _check_reach(self, listener: socket.socket, *, asked: bool) -> None:
        """With DEBUG on, by the address that was bound in the end, also by a supervisor."""
        host, port = listener.getsockname()[:2]
        if _is_loopback(host):
            return
        if not asked:
            listener.close()
            raise CommandError(
                f"DEBUG is on, and {host}:{port} is not of this machine alone: set DEBUG=off, or "
                "ask for that address by --bind"
            )
        self.stderr.write(
            f"warning: DEBUG is on: whoever reaches {host}:{port} can log in as the demo users, "
            "whose password is published, and sees error pages with settings"
        )

    def _check_streams(self) -> None:
        """A number that is given twice is a message that somebody never gets."""
        if found := checks.check_streams([DEFAULT_DB_ALIAS]):
            raise CommandError(f"{found[0].msg} {found[0].hint}")

    def _check_what_is_served(self) -> None:
        try:
            connection.ensure_connection()  # else each check would wait for it in vain
            found = run_checks(
                tags=[checks.SERVING],
                include_deployment_checks=not settings.DEBUG,
                databases=[DEFAULT_DB_ALIAS],
            )
        except DatabaseError as problem:
            raise _no_answer(problem) from None
        _refuse(found)
        for warning in found:
            if not warning.is_silenced():
                self.stderr.write(f"warning: {warning.msg} {warning.hint}")

    def _check_migrations(self) -> None:
        try:
            executor = MigrationExecutor(connection)
            missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError as problem:
            raise _no_answer(problem) from None
        finally:
            connection.close()
        if missing:
            raise CommandError(
                f"{len(missing)} migrations are missing: run manage.py migrate first"
            )

    def _check_redis(self) -> None:
        """Redis may be away (events then arrive by reconcile), but a wrong address should be seen
        at once.
        """
        layer = get_channel_layer()
        if not isinstance(layer, ConfirmedPubSubLayer):
            return
        try:
            for client in layer.clients(redis.Redis, socket_connect_timeout=2, socket_timeout=2):
                with client:
                    client.ping()
                    self._warn_of_one_node(layer, client)
        except (redis.RedisError, OSError, ValueError) as problem:
            self.stderr.write(
                f"warning: REDIS_URL does not answer ({problem}): events between processes "
                f"take up to {settings.REALTIME_RECONCILE_SECONDS:g} s until it does"
            )

    def _warn_of_one_node(self, layer: ConfirmedPubSubLayer, client: redis.Redis) -> None:
        if not layer.counts_all or len(clusters.nodes(client)) < 2:  # it names several
            return
        self.stderr.write(
            "warning: REDIS_URL names one node of a Redis Cluster: name several, "
            "redis+cluster://HOST:PORT,HOST:PORT, or events between processes wait while it is away"
        )

    def _serve(self, listener: socket.socket, outlived_by_port: bool) -> None:
        # Importing Daphne's server installs Twisted's reactor: only now, and only here.
        from holodrive.realtime.server import RealtimeServer

        application = import_string(settings.ASGI_APPLICATION)
        host, port = listener.getsockname()[:2]
        server = RealtimeServer(
            application,
            outlived_by_port=outlived_by_port,
            # Twisted closes this number itself; a second close might hit what has it by then.
            endpoints=[f"fd:fileno={listener.detach()}"],
            ping_interval=settings.REALTIME_HEARTBEAT_SECONDS,
            ping_timeout=settings.REALTIME_HEARTBEAT_SECONDS,
            websocket_timeout=-1,
        )
        host = f"[{host}]" if ":" in host else host
        shown = f"127.0.0.1:{port}" if host == "0.0.0.0" else f"{host}:{port}"  # noqa: S104
        self.stdout.write(
            f"Admin    http://{shown}/admin/\n"
            f"API      http://{shown}/api/token/\n"
            f"Sockets  ws://{shown}/ws/notifications/  ws://{shown}/ws/chat/<conversation_id>/\n"
            f"Listening on {host}:{port} (Ctrl-C stops)"
        )
        self.stdout.flush()
        with background.running():
            server.run()


def _no_answer(problem: DatabaseError) -> CommandError:
    return CommandError(f"the database does not answer: {problem}".strip())


def _refuse(found: Iterable[CheckMessage]) -> None:
    """Raises CommandError for the first error."""
    for message in found:
        if message.is_serious() and not message.is_silenced():
            raise CommandError(f"{message.msg} {message.hint}")


def answer_metrics(bind: str) -> None:
    """Answer /metrics of this process on HOST:PORT, in a thread. Raises CommandError."""
    host, port = _host_and_port(bind)
    try:
        start_http_server(port, host)
    except OSError as problem:
        raise CommandError(f"cannot listen on {bind}: {problem.strerror}") from None


def _handed_over(fd: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=fd)
        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and (
            listener.family in (socket.AF_INET, socket.AF_INET6)
        ):
            return listener
    except OSError:
        pass
    raise CommandError(f"--fd {fd} is no listening TCP socket")


def _host_and_port(bind: str) -> tuple[str, int]:
    try:
        return host_and_port(bind)
    except ValueError as problem:
        why = f"{problem}; " if str(problem) else ""
        raise CommandError(
            f"{bind!r}: {why}HOST:PORT is wanted, such as 127.0.0.1:9000 or [::1]:9000"
        ) from None


def _is_loopback(host: str) -> bool:
    """Whether no other machine reaches that host, whichever of its addresses is taken."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM) if host else []
    except (OSError, UnicodeError):
        return False
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    mapped = [getattr(address, "ipv4_mapped", None) or address for address in addresses]
    return bool(mapped) and all(address.is_loopback for address in mapped)


def _is_ours(host: str) -> bool:
    """Whether this machine has that address: binding to it is the only sure way to know."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except (OSError, UnicodeError):
        return False
    return True
