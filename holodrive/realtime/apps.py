from django.apps import AppConfig
from django.conf import settings

# What a project that does not set these gets. holodrive/settings.py reads each from a variable.
DEFAULTS = {
    "CLIENT_ADDRESS_HEADER": "X-Real-IP",
    "JWT_SIGNING_KEY_FALLBACKS": [],
    "REALTIME_BIND": "",
    "REALTIME_CONNECTS_PER_USER": 60,
    "REALTIME_DATABASE_THREADS": 16,
    "REALTIME_DRAIN_SECONDS": 10.0,
    "REALTIME_FAILED_CONNECTS_PER_ADDRESS": 60,
    "REALTIME_FRAMES_BURST": 30,
    "REALTIME_FRAMES_PER_SECOND": 10,
    "REALTIME_HEARTBEAT_SECONDS": 25,
    "REALTIME_LOG_DAYS": 7,
    "REALTIME_MAX_BODY_BYTES": None,  # DATA_UPLOAD_MAX_MEMORY_SIZE
    "REALTIME_MAX_FRAME_BYTES": 65_536,
    "REALTIME_OUTBOX_BYTES": 1_048_576,
    "REALTIME_PRESENCE_SECONDS": 30.0,
    "REALTIME_PROCESSES": 1,
    "REALTIME_RECONCILE_SECONDS": 2.0,
    "REALTIME_REQUESTS_PER_SECOND": 20,
    "REALTIME_REQUEST_SECONDS": 20.0,
    "REALTIME_RESUME_LIMIT": 500,
    "REALTIME_SOCKETS_PER_STAFF": 50,
    "REALTIME_SOCKETS_PER_USER": 10,
    "REALTIME_TRACING": False,
    "REALTIME_UPLOADS": {},
    "REDIS_URL": "",
    "TRUSTED_PROXIES": ["127.0.0.1", "::1"],
    "WEBSOCKET_ALLOWED_ORIGINS": [],
    "WEBSOCKET_HOST": "127.0.0.1",
    "WEBSOCKET_PORT": 9000,
    "WEBSOCKET_URL": "",  # the page's own host
}


class RealtimeConfig(AppConfig):
    name = "holodrive.realtime"
    label = "realtime"
    default_auto_field = "django.db.models.BigAutoField"
    reads_where_it_writes = True  # routing.py

    def ready(self) -> None:
        for name, value in DEFAULTS.items():
            if not hasattr(settings, name):
                setattr(settings, name, value)
        from holodrive.realtime import (  # noqa: F401 - they register themselves
            checks,
            cors,
            database_checks,
            hashing,
            names,
            personal,
            redaction,
            refolding,
            routing,
            routing_checks,
            signals,
        )

        routing.install()
        redaction.redact_records()
        hashing.bound_hashers()
        if settings.REALTIME_TRACING:
            from holodrive.realtime import tracing

            tracing.start()
