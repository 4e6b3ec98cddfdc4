"""Where REDIS_URL may lead: Sentinel, several hosts, TLS, one that is shared."""

import socket
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack, closing, suppress

import pytest
import redis
import trustme

from holodrive.realtime import brokers, embedded
from testing.client import wait_until
from testing.services import Valkey, free_port

SENTINELS = "redis+sentinel://one:26379,two:26380"


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("redis://h:6379/0", [{"address": "redis://h:6379/0"}]),
        ("unix:///tmp/x", [{"address": "unix:///tmp/x"}]),
        (
            "rediss://h/0,redis://u:p@i/1",
            [{"address": "rediss://h/0"}, {"address": "redis://u:p@i/1"}],
        ),
        (
            f"{SENTINELS}/rides",
            [{"sentinels": [("one", 26379), ("two", 26380)], "master_name": "rides", "db": 0}],
        ),
        (
            "rediss+sentinel://me:p%40ss@one,[::1]:5/rides/2?sentinel_password=s",
            [
                {
                    "sentinels": [("one", 26379), ("::1", 5)],
                    "master_name": "rides",
                    "db": 2,
                    "username": "me",
                    "password": "p@ss",
                    "ssl": True,
                    "sentinel_kwargs": {"password": "s"},
                }
            ],
        ),
        ("redis+cluster://one", [{"nodes": [("one", 6379)]}]),
        ("redis+cluster://one:1,[::1]:2/0", [{"nodes": [("one", 1), ("::1", 2)]}]),
        (
            "rediss+cluster://me:p%40ss@one:1,two?ssl_ca_certs=/ca.pem",
            [
                {
                    "nodes": [("one", 1), ("two", 6379)],
                    "username": "me",
                    "password": "p@ss",
                    "ssl": True,
                    "ssl_ca_certs": "/ca.pem",
                }
            ],
        ),
    ],
)
def test_what_a_url_means(url, hosts):
    assert brokers.hosts(url) == hosts


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "redis://h,http://secret@i",
        SENTINELS,
        f"{SENTINELS}/rides/first",
        "redis+sentinel:///rides",
        "redis+sentinel://one:x/rides",
        f"{SENTINELS}/rides?password=secret",
        "redis+cluster://",
        "redis+cluster:///0",
        "redis+cluster://one:x",
        "redis+cluster://one:65536",
        "redis+cluster://one:1/1",
        "redis+cluster://me:secret@one?colour=red",
        "redis+cluster://me:secret@one?socket_timeout=soon",
    ],
)
def test_a_wrong_url_is_refused_and_not_repeated(url):
    with pytest.raises(ValueError, match="is wanted") as problem:
        brokers.hosts(url)
    assert "secret" not in str(problem.value)


class Talk:
    """A rider on one server and a driver on another: what passes between them goes by Redis."""

    def __init__(self, start_server, dial, trip, **settings):
        self.servers = [start_server(**settings), start_server(**settings)]
        self.path = f"/ws/chat/{trip.pk}/"
        self.rider = dial(self.servers[0], self.path, trip.rider)
        self.driver = dial(self.servers[1], self.path, trip.driver)
        self.sent = 0

    def says(self):
        self.sent += 1
        self.rider.send(
            {"type": "chat_message", "message": "Hi", "client_message_id": str(self.sent)}
        )

    def hears(self, seconds):
        """Wait until what is in no log arrives: only Redis brings it."""
        deadline = time.monotonic() + seconds
        while True:
            assert time.monotonic() < deadline, self.servers[1].log()
            self.rider.send({"type": "typing", "is_typing": True})
            with suppress(TimeoutError):
                while not self.driver.frame("typing", seconds=1.2)["is_typing"]:
                    pass
                return

    def seqs(self):
        return [self.driver.frame("chat_message")["seq"] for _ in range(self.sent)]


class Sentinels:
    """A master, its replica, and three sentinels that watch them."""

    def __init__(self, stack, home):
        self.master = Valkey()
        stack.callback(self.master.kill)
        self.replica = Valkey("--replicaof", "127.0.0.1", str(self.master.port))
        stack.callback(self.replica.kill)
        self.ports = [free_port() for _ in range(3)]
        for port in self.ports:
            file = home / f"sentinel-{port}.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\nsentinel monitor rides 127.0.0.1 "
                f"{self.master.port} 2\nsentinel down-after-milliseconds rides 1000\n"
                "sentinel failover-timeout rides 5000\n"
            )
            process = subprocess.Popen(
                [embedded.program(), str(file), "--sentinel"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
        for port in self.ports:
            wait_until(lambda port=port: self._knows_all(port), 20)
        places = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.url = f"redis+sentinel://{places}/rides/0"

    @staticmethod
    def _knows_all(port):
        """Without its two peers and the replica it could not fail over."""
        try:
            with redis.Redis(port=port) as client:
                known = client.sentinel_master("rides")
        except redis.RedisError:
            return False
        return (known["num-other-sentinels"], known["num-slaves"]) == (2, 1)


@pytest.mark.django_db(transaction=True)
def test_a_failover_loses_nothing_and_is_over_within_10_seconds(start_server, dial, trip, tmp_path):
    with ExitStack() as stack:
        sentinels = Sentinels(stack, tmp_path)
        talk = Talk(start_server, dial, trip, REDIS_URL=sentinels.url)
        talk.hears(5)
        talk.says()
        sentinels.master.kill()
        killed = time.monotonic()
        for _ in range(20):
            talk.says()
            time.sleep(0.1)  # some before the failover, some while it goes on, some after it
        assert talk.seqs() == list(range(1, 22))
        talk.hears(killed + 10 - time.monotonic())
        talk.sent = 0
        talk.rider.send({"type": "chat_message", "message": "Hi", "client_message_id": "last"})
        assert talk.driver.frame("chat_message")["seq"] == 22


@pytest.mark.django_db(transaction=True)
def test_several_hosts_share_the_load_and_each_may_fail(start_server, dial, trip, make_user):
    with ExitStack() as stack:
        shards = [Valkey(), Valkey()]
        for shard in shards:
            stack.callback(shard.kill)
        url = ",".join(shard.url for shard in shards)
        talk = Talk(start_server, dial, trip, REDIS_URL=url)
        talk.hears(5)
        users, bells = [], []

        def channels(shard):
            with redis.Redis(port=shard.port) as client:
                return len(client.pubsub_channels("*user.*"))

        # A channel's host is a hash of its name, and consecutive ids may well share one.
        while not bells or min(map(channels, shards)) == 0:
            assert len(bells) < 64, "64 users on one host of two"
            users.append(make_user())
            bells.append(dial(talk.servers[0], "/ws/notifications/", users[-1]))
            wait_until(lambda: sum(map(channels, shards)) == len(bells))
        shards[0].kill()
        code = "from notifications.models import Notification as N\n" + "\n".join(
            f"N.objects.create(recipient_id={user.pk}, title='Hi')" for user in users
        )
        talk.servers[1].shell(code)
        for bell in bells:
            assert bell.frame("notification")["notification"]["title"] == "Hi"


class Tls:
    """A TLS port in front of a Valkey."""

    def __init__(self, valkey, home):
        authority = trustme.CA()
        self.ca = home / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._behind = valkey.port
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[plain], daemon=True).start()

    def _serve(self, plain):
        with (
            suppress(OSError),
            closing(self._context.wrap_socket(plain, server_side=True)) as outside,
            closing(socket.create_connection(("127.0.0.1", self._behind))) as inside,
        ):
            back = threading.Thread(target=self._copy, args=[inside, outside], daemon=True)
            back.start()
            self._copy(outside, inside)
            back.join()

    @staticmethod
    def _copy(source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._listener.close()


@pytest.mark.django_db(transaction=True)
def test_tls_with_a_user_and_a_password_on_a_redis_that_others_use(
    start_server, dial, trip, valkey, tmp_path
):
    with redis.Redis(port=valkey.port) as client:
        client.acl_setuser(
            "rides",
            enabled=True,
            passwords=["+p@ss"],
            categories=["+@all"],
            keys=["rides*"],
            channels=["rides*"],
        )
        client.acl_setuser("default", enabled=False)
    tls = Tls(valkey, tmp_path)
    try:
        url = f"rediss://rides:p%40ss@127.0.0.1:{tls.port}/0?ssl_ca_certs={tls.ca}"
        talk = Talk(start_server, dial, trip, REDIS_URL=url, REALTIME_PREFIX="rides")
        talk.hears(5)
        assert talk.servers[0].request("GET", "/readyz")[1]["redis"] == "ok"
        assert "permission" not in talk.servers[0].log()
    finally:
        tls.close()
