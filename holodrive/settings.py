"""The project's settings. Every variable is read from the environment here and nowhere else."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from corsheaders.defaults import default_headers
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry

from chat.masking.own import refusal
from holodrive.environment import Environment, keys, kinds, places, urls
from holodrive.realtime import brokers, embedded, private

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment(os.environ.get("ENV_FILE"), BASE_DIR / ".env")
# What `make run` leaves here, with a key and everybody's messages in it.
PRIVATE_FILES = [BASE_DIR / ".env", BASE_DIR / "db.sqlite3"]

DEBUG = env.flag("DEBUG", default=False)
SECRET_KEY = env.key("SECRET_KEY")
SECRET_KEY_FALLBACKS = env.former_keys("SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", [], places.AllowedHost())
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS", [], places.TrustedOrigin())

# Outside of development a proxy speaks TLS for us. It must be named before its word counts: who
# reaches us without it could claim anything.
SESSION_COOKIE_SECURE = env.flag("SESSION_COOKIE_SECURE", default=not DEBUG)
CSRF_COOKIE_SECURE = env.flag("CSRF_COOKIE_SECURE", default=not DEBUG)
_tls_header = env.text("SECURE_PROXY_SSL_HEADER", "", places.Header())
if _tls_header:
    SECURE_PROXY_SSL_HEADER = (f"HTTP_{_tls_header.upper().replace('-', '_')}", "https")
# Without that header every request looks like plain HTTP, and would be redirected for ever.
SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", default=bool(_tls_header))
SECURE_HSTS_SECONDS = env.number("SECURE_HSTS_SECONDS", 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.flag("SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False)
# Whether other hosts of the domain speak TLS, and whether browsers should know it for ever, is not
# ours to say.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

INSTALLED_APPS = [
    "daphne",
    # Ours come before the admin: templates/admin/base_site.html is found first.
    "holodrive.realtime",
    "holodrive.accounts",
    "notifications",
    "chat",
    "push",
    "holodrive.asyncapi",
    "holodrive.loadtest",
    "channels",
    "corsheaders",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    # Before all else: a browser takes no redirect for the answer to its preflight.
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "holodrive.realtime.static_files.StaticFiles",
    "csp.middleware.CSPMiddleware",  # on every page and answer, but not on static files
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "holodrive.realtime.middleware.Refusals",
]

ROOT_URLCONF = "holodrive.urls"
ASGI_APPLICATION = "holodrive.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Realtime. The table in README.md explains each; a test fails when one is missing there.
REALTIME_DATABASE_THREADS = env.number("REALTIME_DATABASE_THREADS", 16, at_least=2, at_most=1000)
REALTIME_MAX_FRAME_BYTES = env.number("REALTIME_MAX_FRAME_BYTES", 65_536, at_most=1_048_576)
REALTIME_OUTBOX_BYTES = env.number("REALTIME_OUTBOX_BYTES", 1_048_576)
REALTIME_RESUME_LIMIT = env.number("REALTIME_RESUME_LIMIT", 500, at_least=1)
REALTIME_RECONCILE_SECONDS = env.seconds("REALTIME_RECONCILE_SECONDS", 2, at_least=0.1)
REALTIME_PRESENCE_SECONDS = env.seconds("REALTIME_PRESENCE_SECONDS", 30, at_least=0.5)
REALTIME_HEARTBEAT_SECONDS = env.number(
    "REALTIME_HEARTBEAT_SECONDS", 25, at_least=1, at_most=86_400
)
REALTIME_SOCKETS_PER_USER = env.number("REALTIME_SOCKETS_PER_USER", 10)
REALTIME_SOCKETS_PER_STAFF = env.number("REALTIME_SOCKETS_PER_STAFF", 50)
REALTIME_CONNECTS_PER_USER = env.number("REALTIME_CONNECTS_PER_USER", 60)
REALTIME_FAILED_CONNECTS_PER_ADDRESS = env.number("REALTIME_FAILED_CONNECTS_PER_ADDRESS", 60)
REALTIME_FRAMES_PER_SECOND = env.number("REALTIME_FRAMES_PER_SECOND", 10)
REALTIME_FRAMES_BURST = env.number("REALTIME_FRAMES_BURST", 30, at_least=1)
REALTIME_MAX_BODY_BYTES = env.number("REALTIME_MAX_BODY_BYTES", 2_621_440)
REALTIME_UPLOADS = env.sizes("REALTIME_UPLOADS")
REALTIME_REQUEST_SECONDS = env.seconds("REALTIME_REQUEST_SECONDS", 20, at_least=0)
REALTIME_REQUESTS_PER_SECOND = env.number("REALTIME_REQUESTS_PER_SECOND", 20)
REALTIME_LOG_DAYS = env.days("REALTIME_LOG_DAYS", 7)
REALTIME_TRACING = env.flag("REALTIME_TRACING", default=False)
REALTIME_DRAIN_SECONDS = env.seconds("REALTIME_DRAIN_SECONDS", 10, at_least=0)

# Chat. Phone numbers without a country code are of this region; and whether support answers only
# with a permission of its own (chat.reply_conversation).
CHAT_TRIP_DAYS = env.days("CHAT_TRIP_DAYS", 0)
NOTIFICATIONS_READ_DAYS = env.days("NOTIFICATIONS_READ_DAYS", 0)
CHAT_PHONE_REGION = env.text("CHAT_PHONE_REGION", "UZ", kinds.Region())
CHAT_OWN_NUMBERS = env.words("CHAT_OWN_NUMBERS", refusal)
CHAT_REPLY_NEEDS_PERMISSION = env.flag("CHAT_REPLY_NEEDS_PERMISSION", default=False)

# Push, for who has no app open. A channel is there once its keys are.
PUSH_DELAY_SECONDS = env.seconds("PUSH_DELAY_SECONDS", 5, at_least=0)
PUSH_MANDATORY_CATEGORIES = env.names("PUSH_MANDATORY_CATEGORIES", [], kinds.Name())
PUSH_SHOWN_DAYS = env.days("PUSH_SHOWN_DAYS", 30)
PUSH_FCM_CREDENTIALS = env.text("PUSH_FCM_CREDENTIALS", "", keys.ServiceAccount())
PUSH_VAPID_PRIVATE_KEY = env.text("PUSH_VAPID_PRIVATE_KEY", "", keys.VapidKey())
PUSH_VAPID_SUBJECT = env.text("PUSH_VAPID_SUBJECT", "", keys.Contact())
PUSH_WEB_HOSTS = env.names(
    "PUSH_WEB_HOSTS",
    [
        "fcm.googleapis.com",
        "updates.push.services.mozilla.com",
        ".notify.windows.com",
        ".push.apple.com",
    ],
    places.PushHost(),
)
PUSH_BACKENDS: dict[str, str] = {}
if PUSH_FCM_CREDENTIALS:
    PUSH_BACKENDS["mobile"] = "push.backends.fcm.Fcm"
if PUSH_VAPID_PRIVATE_KEY:
    PUSH_BACKENDS["web"] = "push.backends.web.WebPush"

# What clients dial; where the server listens follows from it unless REALTIME_BIND says otherwise.
WEBSOCKET_HOST = env.text("WEBSOCKET_HOST", "127.0.0.1", places.Host())
WEBSOCKET_PORT = env.number("WEBSOCKET_PORT", 9000, at_least=1, at_most=65_535)
WEBSOCKET_URL = env.text("WEBSOCKET_URL", f"{WEBSOCKET_HOST}:{WEBSOCKET_PORT}", places.Dialled())
WEBSOCKET_ALLOWED_ORIGINS = env.names("WEBSOCKET_ALLOWED_ORIGINS", [], places.Origin())
# Those may call REST, too (realtime/cors.py): with tokens, not with this site's cookies.
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = [*default_headers, "x-holodrive-user"]
CORS_EXPOSE_HEADERS = ["Retry-After"]
# Nothing inline, nothing of other hosts; and the sockets. (A CSP has no form for an IPv6 address.)
_sockets = "" if WEBSOCKET_URL.startswith("[") else f"//{WEBSOCKET_URL.partition('/')[0]}"
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "connect-src": [SELF, *([f"ws:{_sockets}", f"wss:{_sockets}"] if WEBSOCKET_URL else [])],
        "img-src": [SELF, "data:"],  # in the style sheets of Swagger UI
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
REALTIME_PROCESSES = env.number("REALTIME_PROCESSES", 1)
REALTIME_BIND = env.text("REALTIME_BIND", "", places.Bind())

DATABASES: dict[str, Any] = {
    "default": env.database("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
}
_test_file = env.text("TEST_DATABASE_FILE", str(BASE_DIR / ".run" / "test.sqlite3"), places.File())
_url_options = DATABASES["default"].get("OPTIONS", {})  # ?sslmode=require
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE beside WAL: WAL alone refused 78 of 400 concurrent writes, both together none.
    DATABASES["default"] |= {
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "factory": private.Connection,  # made for its owner alone
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,  # our services try four times
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            **_url_options,
        },
        # Threads on an in-memory test database refuse each other's writes ("table is locked").
        "TEST": {"NAME": _test_file},
    }
else:
    from psycopg import IsolationLevel

    _of_url = _url_options.pop("options", "")  # they come after ours, and win
    # The pool hands connections to threads, so Django itself must keep none (CONN_MAX_AGE 0).
    # Its size covers the realtime executor and as many threads again for HTTP requests.
    DATABASES["default"] |= {
        "CONN_MAX_AGE": 0,
        # A restarted PostgreSQL leaves dead connections in the pool: ask before lending one.
        "CONN_HEALTH_CHECKS": True,
        # Of no use here, and PgBouncer in transaction mode would lose them.
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": {
            "pool": {"min_size": 2, "max_size": 2 * REALTIME_DATABASE_THREADS, "timeout": 5},
            # They win over ALTER DATABASE and ALTER ROLE. Another isolation would fail transactions
            # that meet (40001), psycopg reads times in ISO alone, and of sessions that the server
            # has ended the pool tries one after another, with seconds in between. The level holds
            # through PgBouncer as well, which ignores "options".
            "isolation_level": IsolationLevel.READ_COMMITTED,
            "options": "-c lock_timeout=2s -c default_transaction_isolation=read\\ committed "
            f"-c datestyle=iso -c idle_session_timeout=0 {_of_url}",
            **_url_options,
        },
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Without REDIS_URL: the project's own Valkey, on a socket file that every process of this folder
# computes alike.
REDIS_URL = env.text("REDIS_URL", embedded.url(BASE_DIR), urls.RedisUrl())
if embedded.url(BASE_DIR) == REDIS_URL:
    try:
        embedded.trust(BASE_DIR)
    except embedded.ValkeyUnavailableError as problem:
        raise ImproperlyConfigured(str(problem)) from None
CHANNEL_LAYERS: dict[str, Any] = {
    "default": {
        "BACKEND": "holodrive.realtime.layer.ConfirmedPubSubLayer",
        "CONFIG": {
            "hosts": [{**host, "socket_connect_timeout": 2} for host in brokers.hosts(REDIS_URL)],
            "prefix": env.text("REALTIME_PREFIX", "holodrive", kinds.Prefix()),
        },
    }
}

# Counts failed logins; what a login waits for it at most when Redis is away is short.
CACHES: dict[str, Any] = {
    "default": {
        "BACKEND": "holodrive.realtime.redis_cache.Cache",
        "LOCATION": [REDIS_URL],
        "KEY_PREFIX": CHANNEL_LAYERS["default"]["CONFIG"]["prefix"],
        "OPTIONS": {
            "pool_class": "holodrive.realtime.redis_cache.Pool",
            "socket_connect_timeout": 0.25,
            "socket_timeout": 0.25,
            "retry": Retry(NoBackoff(), 0),
        },
    },
    "process": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},  # by default it forgets a third of 300
    },
}
LOGIN_FAILURES_PER_USER = env.number("LOGIN_FAILURES_PER_USER", 10)
LOGIN_FAILURES_PER_ADDRESS = env.number("LOGIN_FAILURES_PER_ADDRESS", 300)
TRUSTED_PROXIES = env.names("TRUSTED_PROXIES", ["127.0.0.1", "::1"], places.Network())
CLIENT_ADDRESS_HEADER = env.text("CLIENT_ADDRESS_HEADER", "X-Real-IP", places.Header())

AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
JWT_SIGNING_KEY_FALLBACKS = env.former_keys("JWT_SIGNING_KEY_FALLBACKS")
SIMPLE_JWT: dict[str, Any] = {
    "SIGNING_KEY": env.key("JWT_SIGNING_KEY", SECRET_KEY),
    "ACCESS_TOKEN_LIFETIME": timedelta(
        minutes=env.number("JWT_ACCESS_MINUTES", 60, at_least=1, at_most=5_256_000)
    ),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=env.days("JWT_REFRESH_DAYS", 30, at_least=1)),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    "CHECK_REVOKE_TOKEN": True,
    "TOKEN_OBTAIN_SERIALIZER": "holodrive.realtime.tokens.ObtainSerializer",
    "TOKEN_REFRESH_SERIALIZER": "holodrive.realtime.tokens.RefreshSerializer",
}
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "holodrive.realtime.tokens.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_THROTTLE_CLASSES": ["holodrive.realtime.rest_budget.WithinBudget"],
    "DEFAULT_PARSER_CLASSES": ["holodrive.realtime.parsing.JsonParser"],
    "EXCEPTION_HANDLER": "holodrive.realtime.rest.error_response",
    "DEFAULT_SCHEMA_CLASS": "holodrive.realtime.schema.Schema",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "HoloDrive realtime",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",  # what msgspec writes: null is a type there
    "SCHEMA_PATH_PREFIX": "/api/",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_PATCH": False,  # a PATCH's fields are as required as others
    "POSTPROCESSING_HOOKS": [],  # they name the enums of serializers
    "SWAGGER_UI_DIST": "SIDECAR",  # from our own static files: no outside host
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},  # no outside host either
}

# The admin speaks the browser's language where it is one of these; CONTRIBUTING.md says how to add
# one.
LANGUAGE_CODE = "en-us"
LANGUAGES = [("en", "English"), ("ru", "Русский"), ("uz", "Oʻzbekcha")]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = DEBUG  # `make run` needs no collectstatic

_log_level = env.text("LOG_LEVEL", "INFO", kinds.LogLevel())
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"tokens": {"()": "holodrive.realtime.redaction.RedactTokens"}},
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "filters": ["tokens"],
            "formatter": "line",
        }
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        # Django's own handler (with DEBUG) would print paths unredacted, and every line twice.
        "django": {"handlers": ["console"], "level": "INFO", "propagate": False},
        **{name: {"level": _log_level} for name in ("holodrive", "notifications", "chat", "push")},
        # uvicorn brings handlers of its own; with these its access log is redacted as well.
        "uvicorn": {"handlers": ["console"], "propagate": False},
        "uvicorn.access": {"handlers": ["console"], "propagate": False},
        "uvicorn.error": {"handlers": [], "propagate": True},
    },
}

# Last, so that all wrong values are named at once.
env.refuse()
ENVIRONMENT_NOTICES = env.notices()  # for `check`
