"""A Redis Cluster: a real one of two nodes, reached by its own form of URL and by a plain one of
either node, which knows half of the keys.
"""

import asyncio
import time
from contextlib import suppress

import pytest
import redis
from channels.layers import get_channel_layer

from holodrive.realtime import brokers, clusters, operations, status
from holodrive.realtime.layer import ConfirmedPubSubLayer
from holodrive.realtime.presence import Presence
from holodrive.realtime.redis_cache import Cache
from testing.client import wait_until
from testing.patience import ANSWER, PATIENCE, patience
from testing.services import Cluster, Valkey, free_port

KEY = "test:{presence}"
FORMS = ["cluster", "first node", "second node"]


@pytest.fixture(scope="module")
def shared_cluster():
    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def cluster(shared_cluster):
    yield shared_cluster
    for node in shared_cluster.nodes:
        if node.process is None:
            node.start()
    shared_cluster.wait()
    for node in shared_cluster.nodes:
        with redis.Redis(port=node.port) as client:
            client.flushall()


def url(cluster, form):
    return {
        "cluster": cluster.url,
        "first node": cluster.nodes[0].url,
        "second node": cluster.nodes[1].url,
    }[form]


class Pair:
    """Two processes' presences; what they announce is lost, so each reads what the other stored."""

    def __init__(self, address, loop):
        layer = ConfirmedPubSubLayer(hosts=[{"address": address}], prefix="test")
        self.one, self.two = (
            Presence(name, layer, lambda message: None, loop) for name in ("one", "two")
        )

    async def beats(self):
        for presence in (self.one, self.two, self.one):
            await presence.beat()

    async def close(self):
        for presence in (self.one, self.two):
            await presence.close()


@pytest.fixture
async def pair(cluster, monkeypatch, request):
    async def save(self, last_seen):
        pass

    monkeypatch.setattr(Presence, "_save", save)
    pair = Pair(url(cluster, request.param), asyncio.get_running_loop())
    yield pair
    await pair.close()


@pytest.mark.parametrize("pair", FORMS, indirect=True)
async def test_processes_know_each_others_users(pair, cluster):
    await pair.beats()
    pair.one.arrived(1)
    await pair.one._store()
    await pair.two.beat()
    assert pair.two.roster.online([1, 2]) == [1]
    assert not pair.one.is_failing
    assert not pair.two.is_failing
    with redis.Redis(port=cluster.with_key(KEY).port, decode_responses=True) as client:
        assert set(client.keys()) == {KEY, f"{KEY}:versions", f"{KEY}:one"}


@pytest.mark.parametrize("pair", FORMS, indirect=True)
async def test_a_slot_that_moves_takes_presence_with_it(pair, cluster):
    pair.one.arrived(1)
    await pair.beats()
    there = cluster.with_key(KEY)
    here = next(node for node in cluster.nodes if node is not there)
    id = cluster.command(here, "MYID")
    try:
        with redis.Redis(port=there.port) as client:
            client.delete(*client.keys())  # as moved by a tool that loses them
        cluster.command(here, "BUMPEPOCH")  # or the other's next ping takes the slot back
        for node in (here, there):
            cluster.command(node, "SETSLOT", clusters.key_slot(KEY.encode()), "NODE", id)
        pair.two.arrived(2)
        await pair.beats()  # MOVED: it is told, and looked for anew
        await pair.beats()
        await pair.beats()
        assert pair.one.roster.online([1, 2]) == pair.two.roster.online([1, 2]) == [1, 2]
    finally:
        with redis.Redis(port=here.port) as client:
            client.flushall()
        id = cluster.command(there, "MYID")
        cluster.command(there, "BUMPEPOCH")
        for node in (there, here):
            cluster.command(node, "SETSLOT", clusters.key_slot(KEY.encode()), "NODE", id)


def test_a_node_that_is_asked_before_its_cluster_is_made_is_asked_again(tmp_path):
    """As where containers start together: else no failed login would count until a restart."""
    bus = str(free_port())  # by default 10,000 above the other, which may be no port
    node = Valkey("--cluster-enabled", "yes", "--cluster-port", bus, "--dir", str(tmp_path))
    try:
        cache = Cache(node.url, {"OPTIONS": {"pool_class": "holodrive.realtime.redis_cache.Pool"}})
        with pytest.raises(redis.ConnectionError, match="slot yet"):
            cache.get("key")
        with redis.Redis(port=node.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        deadline = time.monotonic() + ANSWER
        while True:
            try:
                cache.set_many({"one": 1, "two": 2})
                break
            except redis.RedisError:  # CLUSTERDOWN, for a moment
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert cache.get_many(["one", "two"]) == {"one": 1, "two": 2}
    finally:
        node.kill()


@pytest.mark.parametrize("form", [*FORMS, "no cluster"])
def test_the_cache_has_keys_on_all_nodes(form, cluster, valkey):
    address = valkey.url if form == "no cluster" else url(cluster, form)
    options = {"pool_class": "holodrive.realtime.redis_cache.Pool"}
    cache = Cache([address], {"KEY_PREFIX": "test", "OPTIONS": options})
    names = [f"key{number}" for number in range(20)]
    assert all(cache.add(name, 1, 60) for name in names)
    assert not cache.add(names[0], 2, 60)
    assert cache.incr(names[1]) == 2
    assert cache.decr(names[1]) == 1
    assert cache.get_many([*names, "absent"]) == dict.fromkeys(names, 1)
    cache.set_many(dict.fromkeys(names, "x"), 60)
    assert cache.get(names[2]) == "x"
    cache.delete_many(names[1:])
    assert cache.get_many(names) == {names[0]: "x"}


REFUSALS = {  # commands that make a Redis refuse writes, and that end it
    "a replica": (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
    "no right to the keys": (
        ["ACL", "SETUSER", "default", "resetkeys"],
        ["ACL", "SETUSER", "default", "allkeys"],
    ),
    "no memory": (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
}


@pytest.mark.parametrize("reason", REFUSALS)
async def test_a_redis_that_only_answers_pings_is_told_apart(reason, valkey, settings):
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "holodrive.realtime.layer.ConfirmedPubSubLayer",
            "CONFIG": {"hosts": [valkey.url]},
        }
    }
    loop = asyncio.get_running_loop()
    presence = Presence("one", get_channel_layer(), lambda message: None, loop)
    with redis.Redis(port=valkey.port) as client:
        for command, is_refusing in zip(REFUSALS[reason], (True, False), strict=True):
            client.execute_command(*command)
            await presence.beat()
            assert presence.is_failing is is_refusing
            expected = "refusing" if is_refusing else "ok"
            assert await operations._probe(operations._ask_redis()) == expected
    await presence.close()


def test_a_connection_goes_to_a_node_that_answers(valkey):
    """Also after one that accepts and says nothing."""
    frozen = Valkey()
    try:
        frozen.freeze()
        nodes = f"redis+cluster://127.0.0.1:1,127.0.0.1:{frozen.port},127.0.0.1:{valkey.port}"
        (host,) = brokers.hosts(nodes)
        timeouts = {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}
        with brokers.client(redis.Redis, host, **timeouts) as client:
            with suppress(redis.RedisError):
                client.ping()
            assert client.ping()
    finally:
        frozen.kill()


@pytest.mark.django_db(transaction=True)
class TestServers:
    """One process knows the whole cluster, the other one node."""

    def start(self, start_server, *addresses):
        """Of a new installation; and the name of the keys of its presence."""
        settings = {"REALTIME_PREFIX": f"p{time.time_ns()}", "REALTIME_PRESENCE_SECONDS": "1.5"}
        servers = [start_server(REDIS_URL=address, **settings) for address in addresses]
        return servers, f"{settings['REALTIME_PREFIX']}:{{presence}}"

    def readiness(self, server):
        status, report = server.request("GET", "/readyz")
        assert status == 200
        return report["redis"], report.get("presence")

    @staticmethod
    def is_told(readiness):
        return readiness[0] in ("refusing", "unreachable") and readiness[1] == "failing"

    def test_two_servers_talk_and_know_who_is_online(self, start_server, dial, trip, cluster):
        servers, _ = self.start(start_server, cluster.url, cluster.nodes[1].url)
        assert "names one node of a Redis Cluster" in servers[1].log()
        assert "Redis Cluster" not in servers[0].log()
        rider = dial(servers[0], f"/ws/chat/{trip.pk}/", trip.rider)
        driver = dial(servers[1], f"/ws/chat/{trip.pk}/", trip.driver)
        while rider.frame("presence")["user_id"] != trip.driver.pk:
            pass
        for _ in range(20):  # a join is live a moment after its first frame
            driver.send({"type": "typing", "is_typing": True})
            with suppress(TimeoutError):
                assert rider.frame("typing", seconds=1.2)["user_id"] == trip.driver.pk
                break
        else:
            raise AssertionError(servers[1].log())
        assert [self.readiness(server) for server in servers] == [("ok", None)] * 2

    def test_a_node_that_is_away_is_told_and_loses_nothing(self, start_server, dial, trip, cluster):
        servers, key = self.start(start_server, cluster.url, cluster.url)
        lost = cluster.with_key(key)
        rider = dial(servers[0], f"/ws/chat/{trip.pk}/", trip.rider)
        lost.kill()
        wait_until(lambda: self.is_told(self.readiness(servers[0])), ANSWER)
        driver = dial(servers[1], f"/ws/chat/{trip.pk}/", trip.driver)
        for number in range(5):
            text = {"type": "chat_message", "message": "Hi", "client_message_id": str(number)}
            rider.send(text)
        seqs = [driver.frame("chat_message", seconds=patience(6))["seq"] for _ in range(5)]
        assert seqs == sorted(set(seqs))
        lost.start()
        wait_until(lambda: self.readiness(servers[0]) == ("ok", None), ANSWER)

        def online():
            return dial(servers[0], f"/ws/chat/{trip.pk}/", trip.rider).welcome["online"]

        wait_until(lambda: trip.driver.pk in online(), ANSWER, explain=servers[0].log)

    def test_every_process_answers_an_operator_on_whichever_node_it_is(
        self, start_server, cluster, settings
    ):
        servers = [start_server(REDIS_URL=node.url) for node in cluster.nodes]
        settings.CHANNEL_LAYERS = {
            "default": {
                "BACKEND": "holodrive.realtime.layer.ConfirmedPubSubLayer",
                "CONFIG": {"hosts": brokers.hosts(cluster.url), "prefix": "holodrive"},
            }
        }
        assert len(servers) == 2

        def processes():
            found = status.ask(get_channel_layer(), PATIENCE)
            return len(found.processes) if not found.silent else 0

        wait_until(lambda: processes() == 2, ANSWER)
