"""Web Push (RFC 8030), encrypted for the browser alone (RFC 8291), signed with our VAPID key
(RFC 8292). Needs requirements-push.txt.
"""

import base64
import hashlib
import os
from binascii import Error as NotBase64
from datetime import UTC, datetime
from typing import Any

import msgspec
import pywebpush
import requests
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from py_vapid import Vapid02, VapidException

from push.backends import Clear, Content, DeviceGone, Unreachable
from push.backends.endpoints import Place, judged
from push.backends.exchange import ExchangeAdapter
from push.backends.payload import payload
from push.backends.waiting import seconds_of
from push.models import Device

_SECONDS = 5.0  # to connect, and between two pieces of an answer
_MOST_BYTES = 3900  # 4,096 of the encrypted body, which every service must take, less its envelope
_GONE = (404, 410)
_LATER = (408, 429)
# Safari takes the permission away after a few pushes that show nothing.
_SHOWS_ALWAYS = ".push.apple.com"


class WebPush:
    def __init__(self) -> None:
        try:
            self._vapid = Vapid02.from_string(settings.PUSH_VAPID_PRIVATE_KEY)
        except (ValueError, TypeError, AttributeError, VapidException):
            raise ImproperlyConfigured(
                "PUSH_VAPID_PRIVATE_KEY is no key: manage.py vapid_keys makes one"
            ) from None
        if not settings.PUSH_VAPID_SUBJECT.startswith(("mailto:", "https://")):
            raise ImproperlyConfigured(
                "PUSH_VAPID_SUBJECT is missing: whom push services may write to, such as "
                "mailto:ops@example.com"
            )
        try:
            self._places = [Place.read(entry) for entry in settings.PUSH_WEB_HOSTS]
        except ValueError as problem:
            raise ImproperlyConfigured(f"PUSH_WEB_HOSTS: {problem}") from None
        self._session = requests.Session()
        self._session.max_redirects = 0  # no service redirects; an endpoint of somebody's might
        # Past proxies and passwords (.netrc) of the environment: what was judged is connected to.
        self._session.trust_env = False
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
        self._session.adapters.clear()
        self._session.mount("https://", ExchangeAdapter(public_only=True))

    @property
    def public_key(self) -> str:
        """What a browser subscribes with (`applicationServerKey`), in base64url."""
        return encoded(
            self._vapid.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        )

    def check(self, token: str, keys: dict[str, Any]) -> None:
        judged(token, self._places)
        try:
            point, secret = _decoded(keys["p256dh"]), _decoded(keys["auth"])
            EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
        except (KeyError, ValueError):
            raise ValueError("The keys p256dh and auth of the subscription are wanted.") from None
        if len(secret) != 16:
            raise ValueError("The key auth has 16 bytes.")

    def send(self, device: Device, content: Content) -> None:
        # Again: what was registered before this channel was configured has not been checked.
        self.check(device.token, device.keys)
        host, url = judged(device.token, self._places)
        if isinstance(content, Clear) and host.endswith(_SHOWS_ALWAYS):
            return
        try:
            pywebpush.webpush(
                {"endpoint": url, "keys": device.keys},
                msgspec.json.encode(payload(content, _MOST_BYTES)).decode(),
                vapid_private_key=self._vapid,
                vapid_claims={"sub": settings.PUSH_VAPID_SUBJECT},
                ttl=_lifetime(content),
                timeout=_SECONDS,
                headers={
                    "Topic": _topic(content.tag),
                    "Urgency": "low" if isinstance(content, Clear) else "high",
                },
                requests_session=self._session,
            )
        except pywebpush.WebPushException as refusal:
            raise _meaning(refusal) from refusal
        except requests.RequestException as problem:
            raise Unreachable(type(problem).__name__) from problem


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (NotBase64, ValueError) as problem:
        raise ValueError("no base64url") from problem


def _topic(tag: str) -> str:
    """Of several with one topic a service keeps the newest: at most 32 characters (RFC 8030)."""
    return encoded(hashlib.sha256(tag.encode()).digest())[:32]


def _lifetime(content: Content) -> int:
    """Seconds that the service keeps it for a browser that is closed."""
    if isinstance(content, Clear):
        return 24 * 3600
    return max(0, int((content.expires_at - datetime.now(UTC)).total_seconds()))


def _meaning(refusal: pywebpush.WebPushException) -> Exception:
    status = refusal.status_code
    if status in _GONE:
        return DeviceGone()
    if status in _LATER or (status is not None and status >= 500):
        return Unreachable(f"status {status}", seconds_of(refusal.retry_after))
    return RuntimeError(f"The push service answered {status}: {refusal.message[:200]}")
