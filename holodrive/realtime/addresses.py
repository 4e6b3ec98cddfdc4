"""Whose address a request is counted under. X-Forwarded-For is not read: clients can write it."""

from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings


def client_address(peer: str | None, real_ip: str | None) -> str:
    """The address of the client; of IPv6 its /64, which one household has to itself. `real_ip` (the
    X-Real-IP header) counts only from a proxy of ours (TRUSTED_PROXIES, or a unix socket, which has
    no `peer`).
    """
    if real_ip and _is_ours(peer):
        return _grouped(real_ip.strip()[:64])
    return _grouped(peer or "")


def _is_ours(peer: str | None) -> bool:
    if not peer:
        return True
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in ip_network(ours, strict=False) for ours in settings.TRUSTED_PROXIES)


def _grouped(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return text
    if not isinstance(address, IPv6Address):
        return text
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))
