"""Whose address a request is counted under: the one place that reads forwarding headers.

A header counts only from a proxy of ours (TRUSTED_PROXIES), for clients can write it. It is read as
nginx's `real_ip_recursive` reads it: from the right, up to the first address that is not ours.
"""

import functools
import logging
import re
from collections.abc import Callable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from django.conf import settings
from django.http import HttpRequest

from holodrive.realtime.credentials import Scope

logger = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network

_FORWARDING = ("X-Forwarded-For", "X-Real-IP", "Forwarded")
_MOST_HOPS = 20  # a header of 16 KB has room for thousands
_LONGEST = 64
# IPv4 addresses as a dual-stack socket and a translator (RFC 6052) write them: one /64 each.
_OF_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
_WITH_PORT = re.compile(r"\[([^\[\]]*)\](?::\w+)?|([^:]*):\w+")
_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]+")  # RFC 7239, 6.3
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^\s;"]*))', re.IGNORECASE)
_warned: dict[str, str] = {}


def address_of_scope(scope: Scope) -> str:
    """The client's address for an ASGI scope."""
    peer = (scope.get("client") or (None,))[0]
    headers = scope.get("headers", ())

    def read(name: str) -> str:
        wanted = name.lower().encode()
        values = (value for key, value in headers if key.lower() == wanted)
        return b",".join(values).decode("latin1")

    return _address(peer, read)


def address_of_request(request: HttpRequest) -> str:
    """The client's address for a Django request, under ASGI and WSGI."""

    def read(name: str) -> str:
        value: str = request.META.get(f"HTTP_{name.upper().replace('-', '_')}", "")
        return value

    return _address(request.META.get("REMOTE_ADDR"), read)


def client_address(peer: str | None, forwarded: str | None) -> str:
    """The address of the client; of IPv6 its /64, which one household has to itself. `forwarded`:
    all values of CLIENT_ADDRESS_HEADER, joined by commas. Without a `peer` it is a unix socket,
    which only a proxy of ours can reach.
    """
    found = peer or ""
    entries = _from_the_right(forwarded or "")
    while _is_ours(found) and (entry := _entry(next(entries, ""))):
        found = entry
    return _grouped(found)


def notices() -> list[str]:
    """What this process has seen that makes many clients count as one."""
    return list(_warned.values())


def trusted_networks() -> tuple[Network, ...]:
    """TRUSTED_PROXIES; what cannot be read is left out, and named by `manage.py check`."""
    return _networks(tuple(settings.TRUSTED_PROXIES))


def network(text: str) -> Network:
    """An address or a network; one of IPv4-mapped addresses is IPv4's. Raises ValueError."""
    found = ip_network(text, strict=False)
    if isinstance(found, IPv6Network) and any(found.subnet_of(each) for each in _OF_IPV4):
        return IPv4Network((int(found.network_address) & 0xFFFFFFFF, found.prefixlen - 96))
    return found


@functools.lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    def read() -> Iterator[Network]:
        for text in texts:
            try:
                yield network(text)
            except ValueError:
                continue

    return tuple(read())


def _address(peer: str | None, read: Callable[[str], str]) -> str:
    forwarded = read(settings.CLIENT_ADDRESS_HEADER)
    if not (forwarded and _is_ours(peer or "")):
        _warn(peer, read)
    return client_address(peer, forwarded)


def _warn(peer: str | None, read: Callable[[str], str]) -> None:
    """Say once that all clients of a proxy may be counting as one: nobody would see it before the
    first lock-out.
    """
    if len(_warned) == 2:
        return
    wanted = settings.CLIENT_ADDRESS_HEADER
    brought = next((name for name in (wanted, *_FORWARDING) if read(name)), None)
    if brought is None:
        return
    if _is_ours(peer or ""):
        kind = "header"
        text = f"A proxy of ours sent {brought} but no {wanted}: set CLIENT_ADDRESS_HEADER."
    else:
        kind = "proxy"
        text = (
            f"{_grouped(peer or '')} sent {brought} and is not in TRUSTED_PROXIES: add it, if that "
            "is a proxy of yours. Until then all its clients count as one address."
        )
    if kind not in _warned:
        _warned[kind] = text
        logger.warning(text)


def _is_ours(text: str) -> bool:
    """Whether it is a proxy of ours; "" is the other end of a unix socket."""
    if not text:
        return True
    address = _parsed(text)
    return address is not None and any(address in ours for ours in trusted_networks())


def _from_the_right(forwarded: str) -> Iterator[str]:
    for _ in range(_MOST_HOPS):
        forwarded, comma, entry = forwarded.rpartition(",")
        yield entry
        if not comma:
            return


def _entry(text: str) -> str:
    """One hop's address without its port, or the name that a proxy gave it (RFC 7239); "" if it
    says nothing: then whoever sent it is the client.
    """
    text = text.strip()
    if settings.CLIENT_ADDRESS_HEADER.lower() == "forwarded":
        text = _forwarded_for(text)
    if not text or len(text) > _LONGEST or text.lower() == "unknown":
        return ""
    if _parsed(text) is not None:
        return text
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
        if _parsed(text) is not None:
            return text
    return text if _IDENTIFIER.fullmatch(text) and text.lower() != "unknown" else ""


def _forwarded_for(element: str) -> str:
    """`for=` of a Forwarded element. A comma inside quotes has cut it wrongly: it says nothing."""
    match = _FOR.search(element) if element.count('"') % 2 == 0 else None
    return (match[1] or match[2] or "") if match else ""


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """The address without its zone; the IPv4 one inside an IPv6 one that stands for it."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if any(address in each for each in _OF_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _grouped(text: str) -> str:
    address = _parsed(text)
    if address is None:
        return text[:_LONGEST]
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)
