"""Django's defaults, unless TUNED: then the database settings are as ours are (WAL and one writer
at a time on SQLite, a pool on PostgreSQL).
"""

import os

import environ

SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "benchmarks.peers.tutorial_orm.apps.TutorialOrm",
]
ROOT_URLCONF = "benchmarks.peers.tutorial_orm.routing"
ASGI_APPLICATION = "benchmarks.peers.tutorial_orm.asgi.application"
DATABASES = {"default": environ.Env.db_url_config(os.environ["DATABASE_URL"])}
if os.environ.get("TUNED"):
    if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        DATABASES["default"] |= {
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    else:
        DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 2, "max_size": 32}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
    },
}
