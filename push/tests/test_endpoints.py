"""Where a browser's subscription may lead, and for how long it may hold a worker."""

import socket
import ssl
import threading
import time
from contextlib import suppress
from itertools import product
from typing import Any

import pytest
import requests
import trustme
from django.core.exceptions import ImproperlyConfigured
from requests.models import PreparedRequest
from urllib3.util import parse_url

from push.apps import DEFAULTS
from push.backends import Unreachable, exchange
from push.backends.endpoints import Place, is_public, judged
from push.backends.exchange import ExchangeAdapter
from push.backends.fcm import Fcm
from push.backends.web import WebPush
from push.checks import check_backends
from push.models import Device
from push.tests.test_fcm import service as fcm_service  # noqa: F401 - a fixture
from push.tests.test_web_push import keys, show  # noqa: F401 - a fixture
from testing.patience import PATIENCE
from testing.push import Browser

pytestmark = pytest.mark.usefixtures("keys")

DEFAULT: Any = DEFAULTS["PUSH_WEB_HOSTS"]
PLACES = [Place.read(entry) for entry in [*DEFAULT, "push.example.com:8443"]]

GOOD = {
    "https://fcm.googleapis.com/fcm/send/abc:def-_~": None,
    "https://fcm.googleapis.com:443/x": "https://fcm.googleapis.com/x",
    "https://FCM.GoogleAPIs.com/X": "https://fcm.googleapis.com/X",
    "HTTPS://fcm.googleapis.com/x?a=b&c=%2F": "https://fcm.googleapis.com/x?a=b&c=%2F",
    "https://fcm.googleapis.com/a@b": None,
    "https://fcm.googleapis.com//evil.example/": None,
    "https://fcm.googleapis.com": "https://fcm.googleapis.com/",
    "https://fcm.googleapis.com?x": "https://fcm.googleapis.com/?x",
    "https://db5p.notify.windows.com/w/?token=BQ%3D": None,
    "https://web.push.apple.com/Q": None,
    "https://push.example.com:8443/x": None,
}  # fmt: skip
HOSTS = [
    "127.0.0.1\\.notify.windows.com", "127.0.0.1\\@fcm.googleapis.com",
    "fcm.googleapis.com\\@127.0.0.1",
    "127.0.0.1%5c.notify.windows.com", "127.0.0.1/.notify.windows.com",
    "127.0.0.1?.notify.windows.com",
    "127.0.0.1#.notify.windows.com", "127.0.0.1;.notify.windows.com",
    "127.0.0.1&.notify.windows.com",
    "127.0.0.1%2f.notify.windows.com", "127.0.0.1%00.notify.windows.com",
    "127.0.0.1:443@fcm.googleapis.com",
    "me@fcm.googleapis.com", "me:secret@fcm.googleapis.com", "@fcm.googleapis.com",
    "fcm.googleapis.com@127.0.0.1",
    "fcm.googleapis.com:80", "fcm.googleapis.com:22", "fcm.googleapis.com:8443",
    "fcm.googleapis.com:0",
    "fcm.googleapis.com:65536", "fcm.googleapis.com:", "fcm.googleapis.com:443 ",
    "fcm.googleapis.com:٤٤٣", "fcm.googleapis.com:-1", "fcm.googleapis.com:port",
    "fcm.googleapis.com:443:443",
    "fcm.googleapiſ.com", "fcm.goo\u212agleapis.com", "push.apple.com\u212a",
    "fcm.googleapis.com:443@127.0.0.1", "x.notify.windows.com:8443", "push.example.com",
    "push.example.com:443",
    "fcm.googleapis.com.", "fcm.googleapis.com..", ".fcm.googleapis.com", "notify.windows.com",
    "..notify.windows.com",
    ".notify.windows.com", "-.notify.windows.com", "a_b.notify.windows.com", "*.notify.windows.com",
    "xnotify.windows.com", "notify.windows.com.evil.example", "evil.example",
    "fcm.googleapis.com.evil.example",
    "fcm。googleapis。com", "fcm.googleapis.com\u3002", "fcm%2egoogleapis.com",
    "%66cm.googleapis.com",
    "ｆcm.googleapis.com", "fсm.googleapis.com", "xn--fm-7lc.googleapis.com",
    "fcm.googleapis.com\u200b", "ﬀ.notify.windows.com",
    "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "localhost", "[::1]",
    "[::ffff:127.0.0.1]",
    "[::1].notify.windows.com", "[::1%25lo]", "[fcm.googleapis.com]", "169.254.169.254", "",
    "fcm.goog\tleapis.com", "fcm.googleapis.com\n", "\nfcm.googleapis.com", " fcm.googleapis.com",
    "fcm.googleapis.com ",
    "fcm.googleapis.com\r\nHost: evil.example", "fcm.googleapis.com\x00",
    "fcm.googleapis.com\x7f", "fcm.googleapis.com\xa0",
]  # fmt: skip
BAD = [f"https://{host}/x" for host in HOSTS] + [
    "http://fcm.googleapis.com/x", "ws://fcm.googleapis.com/x", "ftp://fcm.googleapis.com/x",
    "file:///etc/passwd",
    "//fcm.googleapis.com/x", "fcm.googleapis.com", "fcm.googleapis.com/x",
    "https:fcm.googleapis.com/x",
    "https:/fcm.googleapis.com/x", "https:///fcm.googleapis.com/x",
    "https:////fcm.googleapis.com/x", "https:\\\\fcm.googleapis.com/x",
    "https://fcm.googleapis.com/x#fragment", "https://fcm.googleapis.com#@127.0.0.1/",
    "https://fcm.googleapis.com\\x",
    "https://fcm.googleapis.com/\\x", "https://fcm.googleapis.com/a b",
    "https://fcm.googleapis.com/ä", "https://fcm.googleapis.com/x\n",
    " https://fcm.googleapis.com/x", "\thttps://fcm.googleapis.com/x",
    "ht\ntps://fcm.googleapis.com/x", "https://", "https", "",
    "blob:https://fcm.googleapis.com/x", "view-source:https://fcm.googleapis.com/x",
    "https+unix://fcm.googleapis.com/x",
]  # fmt: skip


@pytest.mark.parametrize("endpoint", GOOD)
def test_an_endpoint_of_a_push_service_is_written_anew_from_what_was_judged(endpoint):
    host, url = judged(endpoint, PLACES)
    assert url == (GOOD[endpoint] or endpoint)
    request = PreparedRequest()
    request.prepare_url(url, None)
    connected = parse_url(request.url)  # by the client
    assert (connected.scheme, connected.host) == ("https", host)
    assert any(place.has(connected.host, connected.port or 443) for place in PLACES)


@pytest.mark.parametrize("endpoint", BAD)
def test_no_other_endpoint_is_taken(endpoint):
    with pytest.raises(ValueError, match="no push service"):
        judged(endpoint, PLACES)


@pytest.mark.parametrize("endpoint", BAD)
def test_nor_registered_or_posted_to(endpoint, browser_keys):
    web = WebPush()
    with pytest.raises(ValueError, match="no push service"):
        web.check(endpoint, browser_keys)
    device = Device(platform="web", token=endpoint, keys=browser_keys)
    with pytest.raises(ValueError, match="no push service"):
        web.send(device, show())


@pytest.fixture
def browser_keys():
    return Browser("").keys


@pytest.mark.parametrize(
    "entry",
    [
        "", ".", "*", "*.example.com", ".com", "https://push.example.com", "push.example.com/",
        "push.example.com:",
        "push.example.com:0", "push.example.com:65536", "push.example.com:x", "push.example.com.",
        "me@push.example.com",
        "a b", "push_.example.com", "-a.example.com", "[::1]", "ä.example.com", "..example.com",
        "a\\b", "a\n",
    ],
)  # fmt: skip
def test_an_entry_that_is_no_host_is_named_at_the_start(entry, settings):
    settings.PUSH_WEB_HOSTS = ["fcm.googleapis.com", entry]
    with pytest.raises(ImproperlyConfigured, match="PUSH_WEB_HOSTS"):
        WebPush()
    [problem] = check_backends(None)
    assert problem.id == "push.E002"
    assert repr(entry) in problem.msg


def test_what_is_configured_by_default_is_taken():
    assert check_backends(None) == []


PRIVATE = [
    "127.0.0.1", "127.255.0.1", "0.0.0.0", "0.0.0.1", "10.1.2.3", "172.16.0.1",  # noqa: S104
    "192.168.1.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1%lo", "fc00::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2002:a00:1::1", "64:ff9b:1::7f00:1", "64:ff9b:1:1::a9fe:a9fe",
    "::127.0.0.1", "::ffff:0:127.0.0.1", "fec0::1", "5f00::1", "4000::1",
]  # fmt: skip


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("142.250.180.10", True), ("2a00:1450:4001:82b::200a", True), ("64:ff9b::8efa:b40a", True),
        ("64:ff9b:1::8efa:b40a", True),
        ("::ffff:142.250.180.10", True),
        *((address, False) for address in PRIVATE),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address, expected):
    assert is_public(address) is expected


@pytest.fixture
def resolve(monkeypatch):
    """`resolve(addresses)`: what push.example.com is from then on."""
    real = socket.getaddrinfo

    def by(*addresses):
        def answer(host, *args, **kwargs):
            hosts = addresses if host == "push.example.com" else [host]
            return [found for each in hosts for found in real(each, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", answer)

    return by


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def test_a_name_that_has_become_a_private_address_is_not_connected_to(
    listener,
    resolve,
    settings,
    browser_keys,
):
    host = f"push.example.com:{listener.getsockname()[1]}"
    settings.PUSH_WEB_HOSTS = [host]
    resolve("127.0.0.1")
    device = Device(platform="web", token=f"https://{host}/x", keys=browser_keys)
    with pytest.raises(Unreachable):
        WebPush().send(device, show())
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_of_a_name_with_several_addresses_the_public_ones_are_tried(
    resolve,
    settings,
    browser_keys,
    monkeypatch,
):
    settings.PUSH_WEB_HOSTS, tried = ["push.example.com"], []

    def connect(address, *args, **kwargs):
        tried.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    resolve("10.0.0.1", "142.250.180.10", "127.0.0.1", "2a00:1450:4001:82b::200a")
    device = Device(platform="web", token="https://push.example.com/x", keys=browser_keys)
    with pytest.raises(Unreachable):
        WebPush().send(device, show())
    assert tried == [("142.250.180.10", 443), ("2a00:1450:4001:82b::200a", 443)]


def test_proxies_and_passwords_of_the_environment_are_not_used(
    listener,
    resolve,
    settings,
    browser_keys,
    monkeypatch,
    tmp_path,
):
    """A proxy would connect to whatever the name is for it."""
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    for name, scheme in product(("proxy", "PROXY"), ("https_", "HTTPS_", "all_", "ALL_")):
        monkeypatch.setenv(f"{scheme}{name}", address)
    settings.PUSH_WEB_HOSTS = ["push.example.com"]
    resolve("10.0.0.1")
    device = Device(platform="web", token="https://push.example.com/x", keys=browser_keys)
    with pytest.raises(Unreachable):
        WebPush().send(device, show())
    with pytest.raises(BlockingIOError):
        listener.accept()


# How long


class Dripping:
    """A service that answers a piece every tenth of a second for six seconds, and is done then."""

    PIECES = 60

    def __init__(self, where, context=None):
        self._before, self._piece, self._after = where
        self._context = context
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        with suppress(OSError):
            client, _ = self._server.accept()
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            with client:
                client.recv(65_536)
                client.sendall(self._before)
                for _ in range(self.PIECES):
                    client.sendall(self._piece)
                    time.sleep(0.1)
                client.sendall(self._after)

    def close(self):
        self._server.close()
        self._thread.join(10)


HEAD = b"HTTP/1.1 201 Created\r\n"
WHERE = {
    "in the status line": (b"HTTP/1.1 201 ", b"C", b"\r\nContent-Length: 0\r\n\r\n"),
    "in the headers": (HEAD, b"X: y\r\n", b"Content-Length: 0\r\n\r\n"),
    "in one header": (HEAD + b"X: ", b"y", b"\r\nContent-Length: 0\r\n\r\n"),
    "with 100 Continue": (b"", b"HTTP/1.1 100 On\r\n\r\n", HEAD + b"Content-Length: 0\r\n\r\n"),
    "in the body": (HEAD + b"Content-Length: 60\r\n\r\n", b"x", b""),
    "in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", b"0\r\n\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("where", WHERE)
def test_an_answer_that_drips_is_cut(where, is_tls, monkeypatch, tmp_path):
    monkeypatch.setattr(exchange, "SECONDS", 1.0)
    session, context = requests.Session(), None
    if is_tls:
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        session.verify = str(tmp_path / "ca.pem")
    session.mount("http://", ExchangeAdapter())
    session.mount("https://", ExchangeAdapter(public_only=True))
    service = Dripping(WHERE[where], context)
    try:
        scheme = "https" if is_tls else "http"
        with session, pytest.raises(requests.RequestException):
            session.post(f"{scheme}://localhost:{service.port}/", data=b"x", timeout=PATIENCE)
    finally:
        service.close()


@pytest.mark.usefixtures("fcm_service")
def test_every_exchange_with_fcm_has_an_end():
    from firebase_admin import messaging

    session = messaging._get_messaging_service(Fcm()._app)._client.session
    adapters = [*session.adapters.values(), *session._auth_request_session.adapters.values()]
    assert {type(adapter) for adapter in adapters} == {ExchangeAdapter}
