"""Whose address a request counts under: every peer, header and spelling; and what is said of it."""

import pytest
from django.test import RequestFactory

from holodrive.realtime import addresses, hub, status
from holodrive.realtime.addresses import address_of_request, address_of_scope, client_address
from holodrive.realtime.management.commands.realtime import _screen as screen

PROXY, BALANCER, CLIENT = "127.0.0.1", "10.0.0.7", "203.0.113.1"


@pytest.fixture(autouse=True)
def proxies(settings, monkeypatch):
    settings.TRUSTED_PROXIES = ["127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48"]
    monkeypatch.setattr(addresses, "_warned", {})


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        # The peer's word counts, or not
        (CLIENT, "198.51.100.9", CLIENT),  # anybody can write that header
        (PROXY, CLIENT, CLIENT),
        (BALANCER, CLIENT, CLIENT),
        ("::ffff:127.0.0.1", CLIENT, CLIENT),  # a listener for both families
        ("::ffff:198.51.100.9", CLIENT, "198.51.100.9"),
        ("2001:db8:ffff::1", CLIENT, CLIENT),
        (None, CLIENT, CLIENT),  # a unix socket
        ("", CLIENT, CLIENT),
        ("testclient", CLIENT, "testclient"),
        (PROXY, None, PROXY),
        (PROXY, "", PROXY),
        (None, None, ""),
        # From the right, past what is ours
        (PROXY, f"198.51.100.9, {CLIENT}", CLIENT),  # the client wrote the first
        (PROXY, f"198.51.100.9, {CLIENT}, {BALANCER}", CLIENT),
        (PROXY, f"{CLIENT},{BALANCER},10.9.9.9,2001:db8:ffff::2", CLIENT),
        (PROXY, f"10.1.1.1, {BALANCER}", "10.1.1.1"),  # a client in our own network
        (PROXY, f"127.0.0.1, {CLIENT}", CLIENT),
        (PROXY, f"{CLIENT}, ::ffff:10.0.0.7", CLIENT),
        (PROXY, "198.51.100.9, " * 4000 + CLIENT, CLIENT),
        # One address, however it is written
        (PROXY, f"  {CLIENT}\t", CLIENT),
        (PROXY, f"{CLIENT}:5678", CLIENT),
        (PROXY, f"[::ffff:{CLIENT}]:5678", CLIENT),
        (PROXY, "[2001:db8:1:2::5]:443", "2001:db8:1:2::/64"),
        (PROXY, "[2001:db8:1:2::5]", "2001:db8:1:2::/64"),
        (PROXY, "2001:DB8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (PROXY, "fe80::1%eth0", "fe80::/64"),
        (PROXY, "64:ff9b::203.0.113.1", CLIENT),  # NAT64: else all of IPv4 is one /64
        ("64:ff9b::cb00:7101", None, CLIENT),
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("fe80::1%eth0", None, "fe80::/64"),
        (f"::ffff:{CLIENT}", None, CLIENT),
        # What is no address
        (PROXY, "unknown", PROXY),
        (PROXY, "Unknown:80", PROXY),
        (PROXY, f"{CLIENT}, unknown, {BALANCER}", BALANCER),
        (PROXY, f"{CLIENT}, ", PROXY),
        (PROXY, ",,,", PROXY),
        (PROXY, "_hidden", "_hidden"),  # RFC 7239: a proxy's name for one client
        (PROXY, "_hidden:_x", "_hidden"),
        (PROXY, "nonsense", "nonsense"),
        (PROXY, "<script>", PROXY),
        (PROXY, "1.2.3.4 5.6.7.8", PROXY),
        (PROXY, "x" * 65, PROXY),
        (PROXY, "\u00e9\u00ff", PROXY),
        (PROXY, "203.0.113.1\n", CLIENT),
    ],
)
def test_whose_address_it_is(peer, forwarded, address):
    assert client_address(peer, forwarded) == address


def test_a_list_of_proxies_is_read_to_twenty_hops():
    """16 KB of header have room for thousands; nobody has so many proxies."""
    assert client_address(PROXY, f"{CLIENT}, " + ", ".join([BALANCER] * 19)) == CLIENT
    assert client_address(PROXY, f"{CLIENT}, " + ", ".join([BALANCER] * 20)) == BALANCER
    assert client_address(PROXY, f"{CLIENT}, " + ", ".join([BALANCER] * 4000)) == BALANCER


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (f"for={CLIENT}", CLIENT),
        (f"For={CLIENT};proto=https;by=10.0.0.7", CLIENT),
        (f"proto=https; for = {CLIENT}", CLIENT),
        ('for="[2001:db8:1:2::5]:443"', "2001:db8:1:2::/64"),
        (f'for=198.51.100.9, for="{CLIENT}:80", for=10.0.0.7', CLIENT),
        (f'for=198.51.100.9;host=", for={CLIENT}', CLIENT),  # the client left a quote open
        (f'for={CLIENT};host="a, for=198.51.100.9"', PROXY),
        ("for=unknown", PROXY),
        ("for=_hidden;proto=http", "_hidden"),
        ("proto=https", PROXY),
        ("xfor=198.51.100.9", PROXY),
        (CLIENT, PROXY),
    ],
)
def test_the_standard_header_is_read_too(settings, forwarded, address):
    settings.CLIENT_ADDRESS_HEADER = "Forwarded"
    assert client_address(PROXY, forwarded) == address


def in_scope(peer, *headers):
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return address_of_scope({"client": (peer, 1) if peer else None, "headers": raw})


def in_request(peer, *headers):
    joined = {}
    for name, value in headers:  # as Django's handlers join them
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return address_of_request(RequestFactory(REMOTE_ADDR=peer or "").get("/", headers=joined))


@pytest.mark.parametrize("read", [in_scope, in_request])
@pytest.mark.parametrize(
    ("header", "headers", "address"),
    [
        ("X-Real-IP", [("X-Real-IP", CLIENT), ("X-Forwarded-For", "198.51.100.9")], CLIENT),
        ("X-Forwarded-For", [("X-Real-IP", "198.51.100.9"), ("X-Forwarded-For", CLIENT)], CLIENT),
        ("x-forwarded-for", [("X-Forwarded-For", CLIENT)], CLIENT),
        ("CF-Connecting-IP", [("CF-Connecting-IP", CLIENT)], CLIENT),
        (
            "X-Forwarded-For",  # a balancer that adds a header of its own
            [("X-Forwarded-For", "198.51.100.9"), ("X-Forwarded-For", f"{CLIENT}, {BALANCER}")],
            CLIENT,
        ),
        ("X-Forwarded-For", [], PROXY),
    ],
)
def test_the_operator_names_the_header(settings, read, header, headers, address):
    settings.CLIENT_ADDRESS_HEADER = header
    assert read(PROXY, *headers) == address


@pytest.mark.parametrize("read", [in_scope, in_request])
@pytest.mark.parametrize(
    ("peer", "headers", "said"),
    [
        (CLIENT, [("X-Forwarded-For", "198.51.100.9")], "203.0.113.1 sent X-Forwarded-For"),
        (CLIENT, [("X-Real-IP", "198.51.100.9")], "203.0.113.1 sent X-Real-IP"),
        (CLIENT, [("Forwarded", "for=198.51.100.9")], "203.0.113.1 sent Forwarded"),
        (PROXY, [("X-Forwarded-For", CLIENT)], "sent X-Forwarded-For but no X-Real-IP"),
        (PROXY, [("X-Forwarded-For", CLIENT), ("X-Real-IP", CLIENT)], None),
        (PROXY, [], None),
        (CLIENT, [], None),
    ],
)
def test_a_proxy_whose_word_is_not_read_is_named_once(caplog, read, peer, headers, said):
    for _ in range(3):
        read(peer, *headers)
    assert [record.message for record in caplog.records] == addresses.notices()
    assert len(addresses.notices()) == (said is not None)
    assert said is None or said in addresses.notices()[0]


async def test_an_operator_sees_it_on_the_screen(connect):
    in_scope(CLIENT, ("X-Forwarded-For", "198.51.100.9"))
    process = status.of(hub.here()) | {"answered_after": 0.0}
    lines = screen(status.Answers([process, process], 0), None, 0)
    assert [line for line in lines if line.startswith("notice")] == [
        f"notice  {addresses.notices()[0]}"
    ]
