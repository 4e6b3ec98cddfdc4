"""nginx with the project's own configuration, on free ports, with a certificate of its own."""

import json
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import trustme

from testing.patience import ANSWER
from testing.services import ROOT, free_port

HOST = "rides.example.com"
CONFIGURATION = ROOT / "deploy/nginx/holodrive.conf"

_MAIN = """
daemon off;
user root;
pid {home}/nginx.pid;
error_log {home}/main.log;
worker_processes 1;
events {{ worker_connections {connections}; }}
http {{
    types {{ text/css css; text/javascript js; }}
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    include {home}/holodrive.conf;
}}
"""


def program() -> str:
    """nginx: Debian keeps it out of the PATH of users. Raises FileNotFoundError."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise FileNotFoundError("nginx (Debian: nginx-light)")
    return found


class OneThreadAtATime(ssl.SSLSocket):
    """A TLS socket that one thread may read while another writes. OpenSSL does not allow that, and
    Python locks it from 3.13 on only: of 3,000 handshakes of `websockets.sync`, 19 were never sent.
    """

    def _lock(self) -> threading.Lock:
        lock: threading.Lock = self.__dict__.setdefault("_one", threading.Lock())
        return lock

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        while True:
            with self._lock():
                patience = self.gettimeout()
                self.settimeout(0)
                try:
                    return super().recv(buflen, flags)
                except ssl.SSLWantReadError:
                    pass
                finally:
                    self.settimeout(patience)
            if not select.select([self], [], [], patience)[0]:
                raise TimeoutError("nothing to read")

    def sendall(self, data: Any, flags: int = 0) -> None:
        with self._lock():
            super().sendall(data, flags)


class Nginx:
    """In front of a server on `upstream` (HOST:PORT), with so many `connections`; `changes` replace
    further texts of the configuration.
    """

    def __init__(self, upstream: str, connections: str = "8192", **changes: str) -> None:
        self.port, self.plain_port = free_port(), free_port()
        self.home = Path(tempfile.mkdtemp(prefix="holodrive-nginx-"))
        self.access_log, self.error_log = self.home / "access.log", self.home / "error.log"
        authority = trustme.CA()
        certificate = authority.issue_cert(HOST)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(self.home / "both.pem"))
        self.tls = ssl.create_default_context()
        self.tls.sslsocket_class = OneThreadAtATime
        authority.configure_trust(self.tls)
        (self.home / "nginx.conf").write_text(_MAIN.format(home=self.home, connections=connections))
        self._write(
            {
                "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
                "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
                "listen [::]:80;": "",
                "listen [::]:443 ssl http2;": "",
                "/etc/ssl/holodrive/fullchain.pem": f"{self.home}/both.pem",
                "/etc/ssl/holodrive/privkey.pem": f"{self.home}/both.pem",
                "/var/log/nginx/holodrive.access.log": str(self.access_log),
                "/var/log/nginx/holodrive.error.log": str(self.error_log),
                "/srv/holodrive/staticfiles/": f"{ROOT}/notifications/static/",
                "127.0.0.1:9000": upstream,
                **changes,
            }
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    def _write(self, changes: dict[str, str]) -> None:
        text = CONFIGURATION.read_text()
        for what, by in changes.items():
            assert what in text, f"{CONFIGURATION.name} does not say {what!r}"
            text = text.replace(what, by)
        (self.home / "holodrive.conf").write_text(text)

    def _start(self) -> None:
        command = [program(), "-p", str(self.home), "-c", str(self.home / "nginx.conf")]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + ANSWER
        while not self._listens():
            assert self._process.poll() is None, (self.home / "main.log").read_text()
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 2).close()
        except OSError:
            return False
        return True

    def connect(self, path: str, source: str = "127.0.0.1", **options: Any) -> Any:
        """A WebSocket over TLS, by the public name."""
        from websockets.sync.client import connect

        return connect(
            f"wss://{HOST}:{self.port}{path}",
            sock=socket.create_connection(("127.0.0.1", self.port), ANSWER, (source, 0)),
            ssl=self.tls,
            server_hostname=HOST,
            compression=None,
            **{"open_timeout": ANSWER, "ping_timeout": ANSWER, **options},
        )

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and decoded JSON (or text) of a GET over TLS, by the public name."""
        return self._request("GET", path, None, headers or {}, "127.0.0.1")

    def post(
        self, path: str, body: Any, headers: dict[str, str], source: str = "127.0.0.1"
    ) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", **headers}
        return self._request("POST", path, json.dumps(body), headers, source)

    def _request(
        self, method: str, path: str, body: str | None, headers: dict[str, str], source: str
    ) -> tuple[int, Any]:
        connection = HTTPSConnection(HOST, self.port, context=self.tls, timeout=ANSWER)
        plain = socket.create_connection(("127.0.0.1", self.port), ANSWER, (source, 0))
        connection.sock = self.tls.wrap_socket(plain, server_hostname=HOST)
        with closing(connection):
            connection.request(method, path, body, headers={"Host": HOST, **headers})
            answer = connection.getresponse()
            text = answer.read().decode()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def logs(self) -> str:
        return self.access_log.read_text() + self.error_log.read_text()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(ANSWER)
        shutil.rmtree(self.home, ignore_errors=True)
