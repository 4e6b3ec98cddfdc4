"""Clients that cost as much as they can, with and without a login, straight and through nginx: a
rider beside them hardly notices, and the server's CPU and memory stay where they were.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from django.db import connection, transaction
from websockets.exceptions import ConnectionClosed

from chat.models import Conversation, Message
from testing.client import access_token
from testing.nginx import HOST, Nginx
from testing.server import ServerProcess
from testing.soak import Progress, Verdict
from testing.soak.attackers import KINDS
from testing.soak.people import conversation_of, person
from testing.soak.victim import Sample, Victim, attacked

# The limits as they are by default: whoever started this may have switched them off.
_LIMITS = {
    "REALTIME_SOCKETS_PER_USER": "10",
    "REALTIME_CONNECTS_PER_USER": "60",
    "REALTIME_FAILED_CONNECTS_PER_ADDRESS": "60",
    "REALTIME_FRAMES_PER_SECOND": "10",
}
_SOCKETS_OF_ONE = 10  # as many as one account may have
_WARM_UP = 1.0  # seconds in which bursts pass, and pools fill
_EVENTS = 500  # of a full window
_RSS_MB = 20.0  # of one attack
_RSS_TOTAL_MB = 40.0  # of all of them, one after another on the same server


class Scale(NamedTuple):
    seconds: float = 6
    sockets: int = 20
    kinds: tuple[str, ...] = tuple(sorted({*KINDS} - {"resumes"}))
    doors: tuple[str, ...] = ("straight", "nginx")
    ack_ratio: float = 2
    cpu_share: float = 0.2


FULL = Scale()
# On a busy machine an ack waits for its turn: without the budgets the ratio was 60 to 500.
SHORT = Scale(seconds=2, kinds=("pings",), ack_ratio=20, cpu_share=0.4)


class Attack(NamedTuple):
    """A kind of clients, and where they connect; a window brought back takes memory of its own."""

    kind: str
    name: str
    paths: list[str]
    sockets: int

    def __str__(self) -> str:
        return f"{self.sockets} {self.name} {self.kind}"


def prove(scale: Scale, seed: int, progress: Progress) -> Verdict:
    worst = {"ack_ratio": 0.0, "cpu_share": 0.0, "rss_growth_mb": 0.0, "rss_total_mb": 0.0}
    details: list[str] = []
    checked = unanswered = 0
    for door in scale.doors:
        with ExitStack() as stack:
            for attack, sample in _samples(stack, scale, door):
                if sample is None:
                    unanswered += 1
                    details.append(f"{door}, {attack}: no ack")
                    break  # nor can this rider say more
                figures, acks = sample
                if attack.kind == "resumes":
                    del figures["rss_growth_mb"], figures["rss_total_mb"]
                for name, value in figures.items():
                    worst[name] = max(worst[name], value)
                checked += acks
                shown = " ".join(f"{name} {value:.2f}" for name, value in figures.items())
                details.append(f"{door}, {attack}: {shown}")
                progress(details[-1])
    bounds = {
        "ack_ratio": scale.ack_ratio,
        "cpu_share": scale.cpu_share,
        "rss_growth_mb": _RSS_MB,
        "rss_total_mb": _RSS_TOTAL_MB,
    }
    return Verdict(
        checked=checked,
        wanted=len(scale.doors) * (2 * len(scale.kinds) + 1),  # at least one ack beside each
        faults={"unanswered": unanswered},
        measured={name: (value, bounds[name]) for name, value in worst.items()},
        where=f"{connection.vendor}, {', '.join(scale.doors)}",
        details=sorted(details),
    )


def _samples(
    stack: ExitStack, scale: Scale, door: str
) -> Iterator[tuple[Attack, tuple[dict[str, float], int] | None]]:
    server = ServerProcess(ALLOWED_HOSTS=f"{HOST},127.0.0.1", **_LIMITS)
    stack.callback(server.discard)
    dial, address, options = _door(stack, server, door)
    victim = stack.enter_context(Victim(server, dial))
    victim.write(_WARM_UP)
    first = victim.write(scale.seconds)
    for attack in _attacks(scale):
        # Right before each attack: over minutes a calm server's latency drifts by a factor of two.
        calm = victim.write(scale.seconds / 2)
        beside = _beside(victim, calm, scale.seconds, attack, [address, *options])
        if beside is not None:
            beside[0]["rss_total_mb"] = beside[0]["rss_growth_mb"] + calm.resident - first.resident
        yield attack, beside


def _beside(
    victim: Victim, calm: Sample, seconds: float, attack: Attack, address: list[str]
) -> tuple[dict[str, float], int] | None:
    arguments = [attack.kind, *address[:1], *attack.paths, "--sockets", str(attack.sockets)]
    with attacked("testing.soak.attackers", *arguments, *address[1:]):
        try:
            victim.write(_WARM_UP)
            sample = victim.write(seconds)
        except (TimeoutError, ConnectionClosed):
            return None
    return sample.beside(calm), len(sample.acks)


def _door(
    stack: ExitStack, server: ServerProcess, door: str
) -> tuple[Callable[..., Any] | None, str, list[str]]:
    if door == "straight":
        return None, server.address, []
    front = Nginx(server.address)
    stack.callback(front.stop)
    return front.connect, f"127.0.0.1:{front.port}", ["--tls", HOST]


def _attacks(scale: Scale) -> Iterator[Attack]:
    """Each user attacks once: what is left of its budget would spoil the next."""
    for kind in scale.kinds:
        yield Attack(kind, "unknown", ["/ws/x"], scale.sockets)
        users = [person() for _ in range(max(1, scale.sockets // _SOCKETS_OF_ONE))]
        paths = [f"/ws/notifications/?token={access_token(user)}" for user in users]
        yield Attack(kind, "logged in", paths, scale.sockets)
    rider = person()
    path = f"/ws/chat/{_long_conversation(rider).pk}/?token={access_token(rider)}"
    yield Attack("resumes", "logged in", [path], _SOCKETS_OF_ONE - 1)


def _long_conversation(rider: Any) -> Conversation:
    conversation = conversation_of(rider, person("driver"))
    with transaction.atomic():
        for _ in range(_EVENTS):
            Message(conversation=conversation, sender=rider, text="x" * 4_000).save()
    return conversation
