"""Which Origin may come with which credential, by which scheme: every combination, against a table
written from the rule.
"""

from itertools import product
from typing import Any

import pytest
from django.test import RequestFactory

from holodrive.realtime.credentials import OriginRule, judge_origin

ALLOWED, MISSING, FOREIGN = OriginRule.ALLOWED, OriginRule.MISSING, OriginRule.FOREIGN
PROXY = ("HTTP_X_FORWARDED_PROTO", "https")

# How the request came: the scope's scheme, what a proxy says, whether that proxy was named (by
# SECURE_PROXY_SSL_HEADER), and which scheme the request has by that.
WAYS: dict[str, tuple[str | None, str | None, bool, str]] = {
    "plain": ("ws", None, False, "http"),
    "plain, and the server does not say": (None, None, False, "http"),
    "by TLS": ("wss", None, False, "https"),
    "by TLS, as http scopes say it": ("https", None, False, "https"),
    "behind a proxy by TLS": ("ws", "https", True, "https"),
    "behind two proxies by TLS": ("ws", "https, http", True, "https"),
    "behind two proxies, the first without TLS": ("ws", "http, https", True, "http"),
    "behind a proxy without TLS": ("ws", "http", True, "http"),
    "behind a proxy that says nothing": ("ws", None, True, "http"),
    "behind a proxy that says nonsense": ("ws", "HTTPS", True, "http"),
    "behind a proxy that says less than TLS": ("wss", "http", True, "http"),
    "behind a proxy that nobody named": ("ws", "https", False, "http"),
    "by TLS, with a header that nobody named": ("wss", "http", False, "https"),
}
HOSTS = ("rides.example.com", "rides.example.com:8443", "127.0.0.1:9000", "[::1]:9000")
LISTED = "https://app.example.com"

# An Origin, made of the request's Host; with which schemes of the request a session may bring it,
# and whether a token may.
BOTH, NEVER = {"http", "https"}, set[str]()
ORIGINS: dict[str, tuple[set[str], bool]] = {
    "http://{host}": ({"http"}, True),
    "https://{host}": ({"https"}, True),
    "HTTPS://{HOST}": ({"https"}, True),
    "ws://{host}": (NEVER, True),
    "wss://{host}": (NEVER, True),
    "ftp://{host}": (NEVER, False),
    "http://{name}:1": (NEVER, False),
    "https://{name}:1": (NEVER, False),
    "https://{host}.evil.example": (NEVER, False),
    "https://evil{host}": (NEVER, False),
    "https://{host}@evil.example": (NEVER, False),
    "https://@{host}": (NEVER, False),
    "https://{host}/": (NEVER, False),
    "https://{host}?": (NEVER, False),
    "https://{host}?x": (NEVER, False),
    "https://{host}#": (NEVER, False),
    "https://{host}#x": (NEVER, False),
    "https://{host}\\": (NEVER, False),
    "https://{host}\\@evil.example": (NEVER, False),
    "https://{host}\t": (NEVER, False),
    "https:\t//{host}": (NEVER, False),
    " https://{host}": (NEVER, False),
    "https://{host} https://evil.example": (NEVER, False),
    "https:{host}": (NEVER, False),
    "//{host}": (NEVER, False),
    "{host}": (NEVER, False),
    "": (NEVER, False),
    "null": (NEVER, False),
    "https://evil.example": (NEVER, False),
    "https://{name}:99999": (NEVER, False),
    LISTED: (BOTH, True),
    f"{LISTED}:443": (BOTH, True),
    "http://app.example.com": (NEVER, False),
    "wss://app.example.com": (NEVER, False),
    f"{LISTED}:8443": (NEVER, False),
    f"{LISTED}/": (NEVER, False),
}
LOOPBACK = ("http://localhost:3000", "https://localhost", "http://127.0.0.1:1", "http://[::1]:8000")
NO_LOOPBACK = ("ws://localhost", "http://localhost.evil.example", "http://127.0.0.2")


def scope_of(way: str, host: str, origin: str | None) -> dict[str, Any]:
    scheme, said, _, _ = WAYS[way]
    headers = [(b"host", host.encode())]
    if said is not None:
        headers.append((b"x-forwarded-proto", said.encode()))
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    scope: dict[str, Any] = {"type": "websocket", "path": "/ws/notifications/", "headers": headers}
    return scope if scheme is None else scope | {"scheme": scheme}


@pytest.fixture
def arranged(settings: Any) -> Any:
    def arrange(way: str, *, debug: bool) -> None:
        settings.DEBUG = debug
        settings.ALLOWED_HOSTS = ["rides.example.com", "127.0.0.1", "[::1]"]
        settings.WEBSOCKET_ALLOWED_ORIGINS = [LISTED]
        settings.SECURE_PROXY_SSL_HEADER = PROXY if WAYS[way][2] else None

    return arrange


@pytest.mark.parametrize("debug", [False, True], ids=["", "DEBUG"])
@pytest.mark.parametrize("way", WAYS)
def test_every_origin_with_every_credential(way: str, debug: bool, arranged: Any) -> None:
    arranged(way, debug=debug)
    wrong = []
    for host, (form, (schemes, with_token)) in product(HOSTS, ORIGINS.items()):
        name = host.rpartition(":")[0] if ":" in host else host
        origin = form.format(host=host, HOST=host.upper(), name=name)
        if debug and _is_loopback_page(origin):
            schemes, with_token = BOTH, True
        for has_token in (True, False):
            allowed = with_token if has_token else WAYS[way][3] in schemes
            found = judge_origin(scope_of(way, host, origin), has_token=has_token)
            if found is not (ALLOWED if allowed else FOREIGN):
                wrong.append((host, origin, has_token, found))
    assert wrong == []


def _is_loopback_page(origin: str) -> bool:
    """Whether it is of this machine, on whatever port; and an origin at all."""
    names = ("127.0.0.1", "[::1]")
    starts = [f"{scheme}://{name}" for scheme in ("http", "https") for name in names]
    rest = next(
        (origin.lower()[len(each) :] for each in starts if origin.lower().startswith(each)), "x"
    )
    return rest == "" or (rest[0] == ":" and rest[1:].isdigit() and int(rest[1:]) < 65_536)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("host", [*HOSTS, "evil.example"])
def test_without_an_origin_a_token_comes_in_and_a_session_does_not(
    way: str, host: str, arranged: Any
) -> None:
    arranged(way, debug=False)
    assert judge_origin(scope_of(way, host, None), has_token=True) is ALLOWED
    assert judge_origin(scope_of(way, host, None), has_token=False) is MISSING


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("has_token", [True, False])
def test_pages_of_this_machine_come_in_with_debug_only(
    way: str, has_token: bool, arranged: Any
) -> None:
    for debug, origin in product((True, False), (*LOOPBACK, *NO_LOOPBACK)):
        arranged(way, debug=debug)
        found = judge_origin(scope_of(way, "rides.example.com", origin), has_token=has_token)
        assert found is (ALLOWED if debug and origin in LOOPBACK else FOREIGN), (debug, origin)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("host", ["evil.example", "rides.example.com.evil.example", ""])
@pytest.mark.parametrize("has_token", [True, False])
def test_a_host_that_is_not_ours_makes_no_origin_its_own(
    way: str, host: str, has_token: bool, arranged: Any
) -> None:
    arranged(way, debug=False)
    for scheme in ("http", "https"):
        found = judge_origin(scope_of(way, host, f"{scheme}://{host}"), has_token=has_token)
        assert found is FOREIGN


def test_default_ports_are_those_of_the_scheme(arranged: Any) -> None:
    arranged("by TLS", debug=False)
    for host, origin, expected in (
        ("rides.example.com", "https://rides.example.com:443", ALLOWED),
        ("rides.example.com:443", "https://rides.example.com", ALLOWED),
        ("rides.example.com", "https://rides.example.com:80", FOREIGN),
        ("rides.example.com", "https://rides.example.com:0", FOREIGN),
        ("rides.example.com:80", "https://rides.example.com", FOREIGN),
        ("rides.example.com:443", "http://rides.example.com", FOREIGN),
    ):
        found = judge_origin(scope_of("by TLS", host, origin), has_token=False)
        assert found is expected, (host, origin)


@pytest.mark.parametrize("way", [way for way, (scheme, *_) in WAYS.items() if scheme])
def test_the_scheme_is_the_one_that_django_sees(way: str, arranged: Any) -> None:
    """By which it judges the Origin of a POST (CSRF)."""
    arranged(way, debug=False)
    scheme, said, _, expected = WAYS[way]
    headers = {"X-Forwarded-Proto": said} if said is not None else None
    is_tls = scheme in ("wss", "https")
    assert RequestFactory().get("/", secure=is_tls, headers=headers).scheme == expected
