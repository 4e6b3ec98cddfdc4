"""Each user has a stream."""

from django.contrib.auth import get_user_model

from holodrive.realtime import restoration
from notifications import events

restoration.register(events.stream_of, get_user_model())
