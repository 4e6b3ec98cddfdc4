"""Stand-ins of push services: they listen on 127.0.0.1, judge what they are sent as the real ones
do, and keep it.
"""

import base64
import json
import ssl
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import http_ece
import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

_MOST_BYTES = 4096
_DAY = 24 * 3600


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Browser:
    """A subscription: its keys stay here, `subscription` is what it tells its site."""

    def __init__(self, endpoint: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._secret = b"0123456789abcdef"
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.endpoint = endpoint
        self.keys = {"p256dh": _encoded(point), "auth": _encoded(self._secret)}
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []  # the next ones; then 201

    def decrypt(self, body: bytes) -> dict[str, Any]:
        text = http_ece.decrypt(body, private_key=self._key, auth_secret=self._secret)
        content: dict[str, Any] = json.loads(text)
        return content


class WebPushService:
    """Browsers' push service, by TLS: `certificate` is what to trust."""

    def __init__(self, public_key: str) -> None:
        self._public_key = public_key  # of the only site that may push here
        self.browsers: dict[str, Browser] = {}
        self.refused: list[str] = []
        self.asked: list[str] = []  # paths
        authority = trustme.CA()
        self.certificate = Path(tempfile.mkstemp(prefix="holodrive-push-", suffix=".pem")[1])
        authority.cert_pem.write_to_path(str(self.certificate))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.host = f"localhost:{self._server.server_address[1]}"  # as PUSH_WEB_HOSTS names it
        self.origin = f"https://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()

    def subscribe(self) -> Browser:
        path = f"/push/{len(self.browsers) + 1}"
        self.browsers[path] = Browser(f"{self.origin}{path}")
        return self.browsers[path]

    def push(self, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str]]:
        self.asked.append(path)
        browser = self.browsers.get(path)
        if browser is None:
            return 404, {}
        if (wrong := self._fault(headers, body)) is not None:
            self.refused.append(wrong)
            return 400 if "vapid" not in wrong else 403, {}
        if browser.answers:
            return browser.answers.pop(0)
        browser.received.append(browser.decrypt(body))
        browser.headers.append(dict(headers))
        return 201, {"Location": f"{self.origin}/message/1"}

    def _fault(self, headers: Any, body: bytes) -> str | None:
        """What RFC 8030, 8188 and 8292 ask for."""
        if not headers.get("TTL", "").isdigit():
            return "no TTL"
        if headers.get("Content-Encoding") != "aes128gcm":
            return "not aes128gcm"
        if len(body) > _MOST_BYTES:
            return "too large"
        if len(headers.get("Topic", "")) > 32:
            return "the topic is too long"
        scheme, _, said = headers.get("Authorization", "").partition(" ")
        fields = dict(part.strip().split("=", 1) for part in said.split(",") if "=" in part)
        if scheme != "vapid" or fields.get("k") != self._public_key:
            return "vapid: not the key that was subscribed with"
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _decoded(fields["k"]))
        try:
            claims = jwt.decode(fields["t"], point, ["ES256"], audience=self.origin)
        except jwt.InvalidTokenError as problem:
            return f"vapid: {problem}"
        if claims["exp"] > time.time() + _DAY or not claims["sub"].startswith("mailto:"):
            return "vapid: lives for too long, or says not whose it is"
        return None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.certificate.unlink()


def _handler(service: Any) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers = service.push(self.path, self.headers, body)
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


class Fcm:
    """FCM's HTTP v1, and the token endpoint of its service account. `url` is what messages are
    posted to, `credentials` the account's file.
    """

    PROJECT = "rides"

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []  # each with the fields of `message`
        self.tokens_issued = 0
        self.answers: list[tuple[int, dict[str, str], dict[str, Any]]] = []  # the next; then 200
        self.answers_of_tokens: list[tuple[int, dict[str, str], dict[str, Any]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _json_handler(self))
        self._address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self._address}/v1/projects/{{0}}/messages:send"
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.credentials = Path(tempfile.mkstemp(prefix="holodrive-fcm-", suffix=".json")[1])
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        account = {
            "type": "service_account",
            "project_id": self.PROJECT,
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": "push@rides.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{self._address}/token",
        }
        self.credentials.write_text(json.dumps(account))
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05])
        self._thread.start()

    def answer(
        self, path: str, headers: Any, body: bytes
    ) -> tuple[int, dict[str, str], dict[str, Any]]:
        if path == "/token":
            return self._issue(parse_qs(body.decode()))
        if headers.get("Authorization") != f"Bearer access-{self.tokens_issued}":
            return self.error(401, "UNAUTHENTICATED")
        if path != f"/v1/projects/{self.PROJECT}/messages:send":
            return self.error(404, "NOT_FOUND")
        if self.answers:
            return self.answers.pop(0)
        message = json.loads(body)["message"]
        if not message.get("token") or any(
            not isinstance(value, str) for value in message.get("data", {}).values()
        ):
            return self.error(400, "INVALID_ARGUMENT")
        if len(json.dumps(message, ensure_ascii=False).encode()) > _MOST_BYTES:
            return self.error(400, "INVALID_ARGUMENT")  # "Message too big"
        self.received.append(message)
        return 200, {}, {"name": f"projects/{self.PROJECT}/messages/{len(self.received)}"}

    def _issue(self, fields: dict[str, list[str]]) -> tuple[int, dict[str, str], dict[str, Any]]:
        """RFC 7523: for an assertion that the account's key has signed."""
        audience = "https://oauth2.googleapis.com/token"  # whatever the file's token_uri is
        jwt.decode(fields["assertion"][0], self._key.public_key(), ["RS256"], audience=audience)
        if self.answers_of_tokens:
            return self.answers_of_tokens.pop(0)
        self.tokens_issued += 1
        token = {"access_token": f"access-{self.tokens_issued}", "expires_in": 3600}
        return 200, {}, {**token, "token_type": "Bearer"}

    @staticmethod
    def error(
        code: int, status: str, fcm_code: str = "", **headers: str
    ) -> tuple[int, dict[str, str], dict[str, Any]]:
        """As FCM writes it."""
        kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
        details = [{"@type": kind, "errorCode": fcm_code}] if fcm_code else []
        said = {"code": code, "message": status.lower(), "status": status, "details": details}
        return (
            code,
            {name.replace("_", "-"): value for name, value in headers.items()},
            {"error": said},
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.credentials.unlink()


def _json_handler(service: Fcm) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = service.answer(self.path, self.headers, body)
            text = json.dumps(content).encode()
            self.send_response(status)
            headers = {"Content-Type": "application/json", **headers}
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
