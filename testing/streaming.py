"""Settings of a server whose project streams answers (streaming_urls.py)."""

from holodrive.settings import *  # noqa: F403

ROOT_URLCONF = "testing.streaming_urls"
REALTIME_UPLOADS = {"/upload/": 30_000_000}
