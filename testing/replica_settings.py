"""The project's settings, with a read replica that refuses every query."""

from holodrive.settings import *  # noqa: F403
from holodrive.settings import DATABASES as _databases
from testing.replica import DATABASE, REPLICA

DATABASES = {**_databases, REPLICA: DATABASE}
DATABASE_ROUTERS = ["testing.replica.PrimaryReplicaRouter"]
