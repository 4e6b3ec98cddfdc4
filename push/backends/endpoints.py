"""Where a browser's push service may be. Whoever registers a device says where this server posts
to: only to hosts of PUSH_WEB_HOSTS, by TLS, on their port, at public addresses.

Two parsers disagree about `https://127.0.0.1\\.notify.windows.com/`. So only what leaves nothing to
disagree about is taken, the parser of the client that connects has to agree, and what is posted to
is written anew from what was judged.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from holodrive.environment.places import push_host

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_PORT = "(?::(?P<port>[0-9]{1,5}))?"
_ENDPOINT = re.compile(
    rf"https://(?P<host>{_NAME}){_PORT}(?:[/?][!-\[\]-~]*)?",
    re.IGNORECASE | re.ASCII,  # with Unicode's cases the Kelvin sign is a k
)
_TLS_PORT = 443
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215
_ASSIGNED = IPv6Network("2000::/3")  # all that the internet has of IPv6


class Place(NamedTuple):
    """An entry of PUSH_WEB_HOSTS: a host, or with a dot ahead those below; and their port."""

    host: str
    port: int = _TLS_PORT

    @classmethod
    def read(cls, entry: str) -> "Place":
        """Raises ValueError."""
        try:
            return cls(*push_host(entry))
        except ValueError:
            raise ValueError(
                f"{entry!r} is no host: write push.example.com, .example.com for all below it, "
                "or push.example.com:8443"
            ) from None

    def has(self, host: str, port: int) -> bool:
        is_below = self.host.startswith(".") and host.endswith(self.host)
        return port == self.port and (host == self.host or is_below)


def judged(endpoint: str, places: Iterable[Place]) -> tuple[str, str]:
    """The host, and the URL to post to. Raises ValueError if it is of none of these places."""
    refusal = ValueError("The endpoint is of no push service that this server knows.")
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None or "#" in endpoint:
        raise refusal
    try:
        parts = parse_url(endpoint)
    except LocationParseError:
        raise refusal from None
    host, port = found["host"].lower(), int(found["port"] or _TLS_PORT)
    is_agreed = (parts.host, parts.port or _TLS_PORT) == (host, port)
    if not is_agreed or not any(place.has(host, port) for place in places):
        raise refusal
    where = host if port == _TLS_PORT else f"{host}:{port}"
    return host, f"https://{where}{parts.request_uri}"


def is_named_by_address(host: str) -> bool:
    """Whether an entry means an address of one's own: a stand-in for tests."""
    return host == "localhost" or re.fullmatch(r"[0-9.]+", host) is not None


def is_public(address: str) -> bool:
    """Whether the internet has it; of an IPv6 address that carries another, whether both are."""
    ip = ip_address(address.partition("%")[0])
    carried = _carried(ip) if isinstance(ip, IPv6Address) else None
    if carried is not None:
        return is_public(str(carried))
    if isinstance(ip, IPv6Address) and ip not in _ASSIGNED:
        return False
    return ip.is_global and not ip.is_multicast


def _carried(ip: IPv6Address) -> IPv4Address | None:
    if any(ip in network for network in _NAT64):
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour
