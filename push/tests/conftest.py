"""What the tests of push share."""

from datetime import UTC, datetime, timedelta

import pytest

from notifications.models import Notification
from push.models import Device
from push.tests.backend import Recorder
from push.worker import Worker

RECORDER = {"mobile": "push.tests.backend.Recorder", "web": "push.tests.backend.Recorder"}


class Clock:
    """Beside the real one, as far as it was moved."""

    def __init__(self):
        self.ahead = timedelta()

    def set(self, moment):
        self.ahead = moment - datetime.now(UTC)

    def __call__(self):
        return datetime.now(UTC) + self.ahead

    def move(self, seconds):
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture
def recorder(settings):
    """Two channels, `mobile` and `web`, that only note what they are handed."""
    settings.PUSH_BACKENDS = RECORDER
    Recorder.reset()
    return Recorder


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def worker(recorder, clock):
    return Worker(now=clock)


@pytest.fixture
def add_device(transactional_db):
    def add(user, token="token", platform="android", **fields):  # noqa: S107
        return Device.objects.create(user=user, token=token, platform=platform, **fields)

    return add


@pytest.fixture
def rider(make_user):
    return make_user("rider")


@pytest.fixture
def notify():
    def save(user, title="Hi", conversation=None, **fields):
        if conversation is not None:
            fields |= {
                "notification_type": "chat_message",
                "related_object_type": "conversation",
                "related_object_id": conversation,
                "data": {"conversation_id": conversation, "message_id": 1},
            }
        return Notification.objects.create(recipient=user, title=title, **fields)

    return save
