"""Beyond the tutorial: DEBUG is off, and Redis is where the benchmark has started one."""

import os

SECRET_KEY = os.environ["SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
]
ROOT_URLCONF = "benchmarks.peers.tutorial.routing"
ASGI_APPLICATION = "benchmarks.peers.tutorial.asgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

# The tutorial has ("127.0.0.1", 6379). Under redis-py 8, whose default socket time-out is as long
# as the layer's BZPOPMIN blocks, that closes idle sockets after about 5 s: so here without one.
_CORE = {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    "CONFIG": {"hosts": [{"address": os.environ["REDIS_URL"], "socket_timeout": None}]},
}
_PUBSUB = {
    "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
    "CONFIG": {"hosts": [os.environ["REDIS_URL"]]},
}
CHANNEL_LAYERS = {"default": _PUBSUB if os.environ.get("LAYER") == "pubsub" else _CORE}
