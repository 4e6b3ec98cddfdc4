"""HTTP that ends, and leads where it may: `requests` bounds each read, so an answer that drips a
header every three seconds would hold a worker for good.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from requests.adapters import HTTPAdapter
from requests.exceptions import ReadTimeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from push.backends.endpoints import is_named_by_address, is_public

SECONDS = 10.0  # for one exchange: to connect, to ask, and to be answered in full

_running = threading.local()  # the exchange of this thread


class _Exchange:
    """A request and its answer; `cut` when its time is over, by another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self.is_cut = False

    def goes_by(self, connection: Any) -> None:
        with self._lock:
            self._connection = connection
            if self.is_cut:
                raise TimeoutError("the exchange took too long")

    def cut(self) -> None:
        with self._lock:
            self.is_cut = True
            sock = getattr(self._connection, "sock", None)
            if sock is not None:
                with suppress(OSError):  # not `sock.shutdown`: TLS's own would pull the rug away
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def end(self) -> None:
        with self._lock:
            self._connection = None


@contextmanager
def _exchange(seconds: float) -> Iterator[_Exchange]:
    _running.exchange = exchange = _Exchange()
    timer = threading.Timer(seconds, exchange.cut)
    timer.daemon = True
    timer.start()
    try:
        yield exchange
    finally:
        timer.cancel()
        exchange.end()
        _running.exchange = None


class _Watched:
    """A connection that can be cut."""

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        _running.exchange.goes_by(self)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _running.exchange.goes_by(self)
        super().request(*args, **kwargs)  # type: ignore[misc]


class _Plain(_Watched, HTTPConnection):
    pass


class _Tls(_Watched, HTTPSConnection):
    pass


class _PublicTls(_Tls):
    """Only to public addresses, whatever the name resolves to; the very address that was judged is
    connected to. Private names of urllib3: a test fails when an upgrade changes them.
    """

    def _new_conn(self) -> socket.socket:
        if is_named_by_address(self.host):
            return super()._new_conn()
        name, problem = self._dns_host, None
        try:
            for address in _addresses(self.host, self.port or 443):
                self._dns_host = address
                try:
                    return super()._new_conn()
                except NewConnectionError as refused:
                    problem = refused
        except OSError as unknown:
            raise NewConnectionError(self, f"{name}: {unknown}") from unknown
        finally:
            self._dns_host = name
        raise problem or NewConnectionError(self, f"{name} has no public address")


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(where[0]) for *_, where in found)
    return [address for address in addresses if is_public(address)]


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class _PublicPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTls


class ExchangeAdapter(HTTPAdapter):
    """Ends each exchange within SECONDS, by cutting it. `public_only`: by TLS only, and to public
    addresses only.
    """

    def __init__(self, *, public_only: bool = False) -> None:
        super().__init__(pool_maxsize=16, max_retries=0)
        pools: dict[str, Any] = {"http": _PlainPool, "https": _TlsPool}
        self.poolmanager.pool_classes_by_scheme = {"https": _PublicPool} if public_only else pools

    def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        with _exchange(SECONDS) as exchange:
            response = super().send(request, **kwargs)
            if not kwargs.get("stream"):
                _ = response.content  # all of it, while it is watched
            if exchange.is_cut:  # http.client takes headers that end so for whole
                raise ReadTimeout(f"no whole answer in {SECONDS:g} s", request=request)
            return response
