"""Firebase Cloud Messaging (HTTP v1), which reaches Android, and iOS through Apple's service. Needs
requirements-push.txt.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

import firebase_admin
import msgspec
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from firebase_admin import credentials, exceptions, messaging
from google.auth.exceptions import GoogleAuthError

from push.backends import Clear, Content, DeviceGone, Show, Unreachable
from push.backends.exchange import ExchangeAdapter
from push.backends.payload import payload
from push.backends.waiting import seconds_of
from push.models import Device

_SECONDS = 5.0  # to connect, and between two pieces of an answer
_MOST_BYTES = 1200  # of 4,096 for all; title and text are in it twice, and once quoted twice
_KEY = "holodrive"  # of `data`; its value is the JSON that a browser gets
# The token is of an app that was removed, or of another project's.
_GONE = (messaging.UnregisteredError, messaging.SenderIdMismatchError)
_LATER = (
    messaging.QuotaExceededError,
    exceptions.UnavailableError,
    exceptions.InternalError,
    exceptions.DeadlineExceededError,
    exceptions.ResourceExhaustedError,
    exceptions.UnknownError,
)


class Fcm:
    def __init__(self) -> None:
        try:
            credential = credentials.Certificate(settings.PUSH_FCM_CREDENTIALS)
        except (OSError, ValueError) as problem:
            raise ImproperlyConfigured(
                f"PUSH_FCM_CREDENTIALS is no file of a service account: {problem}"
            ) from None
        name = f"holodrive-{uuid.uuid4().hex}"
        self._app = firebase_admin.initialize_app(credential, {"httpTimeout": _SECONDS}, name)
        _without_waiting(self._app)

    def check(self, token: str, keys: dict[str, Any]) -> None:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("This is no registration token of FCM.")

    def send(self, device: Device, content: Content) -> None:
        try:
            message = _show(content) if isinstance(content, Show) else _clear(content)
            # As an argument it warns: newer apps may have a `fid` in its place, ours have tokens.
            message.token = device.token
            messaging.send(message, app=self._app)
        except _GONE as refusal:
            raise DeviceGone from refusal
        except GoogleAuthError as problem:  # no access token: they are Google's as well
            raise Unreachable(str(problem)[:200]) from problem
        except _LATER as problem:
            response = problem.http_response
            # Not `if response`: a response of status 503 is false.
            after = None if response is None else response.headers.get("Retry-After")
            raise Unreachable(str(problem)[:200], seconds_of(after)) from problem


def _without_waiting(app: Any) -> None:
    """firebase-admin asks again by itself, and sleeps in this thread as long as Retry-After says;
    that is the worker's to do. No exchange is without an end, those for access tokens neither.
    Private names: a test fails when an upgrade changes them.
    """
    session = messaging._get_messaging_service(app)._client.session
    for each in (session, session._auth_request_session):
        for prefix in [*each.adapters]:
            each.mount(prefix, ExchangeAdapter())


def _show(content: Show) -> messaging.Message:
    shown = payload(content, _MOST_BYTES)
    title, text = shown["notification"]["title"], shown["notification"]["message"]
    lifetime = max(0, int((content.expires_at - datetime.now(UTC)).total_seconds()))
    return messaging.Message(
        notification=messaging.Notification(title=title, body=text),
        data=_data(shown),
        android=messaging.AndroidConfig(
            collapse_key=content.tag,
            priority="high",
            ttl=lifetime,
            notification=messaging.AndroidNotification(
                tag=content.tag, notification_count=content.unread_count
            ),
        ),
        apns=messaging.APNSConfig(
            headers={
                "apns-collapse-id": content.tag,
                "apns-priority": "10",
                "apns-expiration": str(int(content.expires_at.timestamp())),
            },
            payload=messaging.APNSPayload(
                messaging.Aps(badge=content.unread_count, sound="default", thread_id=content.tag)
            ),
        ),
    )


def _clear(content: Clear) -> messaging.Message:
    """Nothing to show: it wakes the app for a moment, which takes away what has that tag."""
    return messaging.Message(
        data=_data(payload(content, _MOST_BYTES)),
        android=messaging.AndroidConfig(collapse_key=content.tag, priority="normal"),
        apns=messaging.APNSConfig(
            headers={
                "apns-collapse-id": content.tag,
                "apns-priority": "5",
                "apns-push-type": "background",
            },
            payload=messaging.APNSPayload(messaging.Aps(content_available=True)),
        ),
    )


def _data(shown: dict[str, Any]) -> dict[str, str]:
    return {_KEY: msgspec.json.encode(shown).decode()}
