"""The ASGI application: the same for `manage.py serve`, plain daphne and uvicorn."""

import os

from django.core.asgi import get_asgi_application

from holodrive.environment import refusal

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "holodrive.settings")
django = refusal.configured(get_asgi_application)  # before any import that needs models

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.urls import re_path  # noqa: E402

from chat.consumers import ChatConsumer  # noqa: E402
from chat.support_consumers import NotesConsumer, SupportConsumer  # noqa: E402
from holodrive.realtime import keys  # noqa: E402
from holodrive.realtime.consumer import UnknownEndpoint  # noqa: E402
from holodrive.realtime.credentials import LiftCredentials  # noqa: E402
from holodrive.realtime.database import BoundedRequests  # noqa: E402
from holodrive.realtime.garbage import collect_rarely  # noqa: E402
from holodrive.realtime.operations import Operations  # noqa: E402
from holodrive.realtime.redaction import redact_plain_daphne  # noqa: E402
from notifications.consumers import NotificationConsumer  # noqa: E402

websocket = URLRouter(
    [
        re_path(r"^ws/notifications/$", NotificationConsumer.as_asgi()),
        re_path(r"^ws/chat/(?P<conversation_id>[^/]+)/$", ChatConsumer.as_asgi()),
        re_path(r"^ws/support/$", SupportConsumer.as_asgi()),
        re_path(r"^ws/support/notes/(?P<conversation_id>[^/]+)/$", NotesConsumer.as_asgi()),
        re_path(r"", UnknownEndpoint.as_asgi()),
    ]
)

# As many connections for requests as for sockets: the pool is for both.
http = BoundedRequests(django, settings.REALTIME_DATABASE_THREADS)
redact_plain_daphne()
# Credentials are lifted out of the scope before anything else sees (and might log) a path.
application = LiftCredentials(
    Operations(ProtocolTypeRouter({"http": http, "websocket": websocket}))
)
collect_rarely()
if not settings.DEBUG and (public := keys.published()):  # under uvicorn and plain daphne as well
    refusal.refuse(f"{' and '.join(public)}: a key that is published; make one of your own")
