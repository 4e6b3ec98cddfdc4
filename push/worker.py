"""Takes what is due, hands it to the services of devices, and notes what became of it. Any number
of workers share the work.

A row is taken by moving its due time a lease ahead, in a transaction of its own; what a killed
worker had in its hands is due again then. So a device may be told twice, and shows it once: both
have the same tag.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, transaction
from django.utils import timezone

from holodrive.realtime import background, log
from holodrive.realtime.database import note
from notifications import events, services
from notifications.models import Notification, unread_counts
from push import backends, logins, metrics
from push.backends import Clear, Content, DeviceGone, Show, Unreachable
from push.models import Device, Push
from push.preferences import Wishes

logger = logging.getLogger("push")

USEFUL = timedelta(days=1)  # who has heard of it by then in no way, reads it when the app is opened
LEASE = timedelta(seconds=60)  # longer than a batch takes, unless every service hangs
ATTEMPTS = 8
_BACKOFF, _LONGEST_BACKOFF = 5.0, 900.0  # seconds: 10, 20, 40, ... behind each attempt
_TICK = 1.0  # seconds between two looks when there was nothing to do
_BATCH = 32  # tags
_AT_ONCE = 8  # requests of one worker
_LOOK = 2 * _AT_ONCE  # that are sent between two looks at whose login still lives


@dataclass
class _Task:
    """A row that this worker has taken: what to say, and to which devices."""

    push: Push
    content: Content
    devices: list[Device]
    gone: list[Device] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)  # ids of devices
    after: float = 0  # seconds that their services asked for


class Worker:
    """`work` does what is due at `now()`; `run` does so until it is stopped."""

    def __init__(self, now: Callable[[], datetime] = timezone.now) -> None:
        self._now = now
        self._stop = threading.Event()
        self._behind = now()
        self._fault = ""  # of the database, that is logged already

    def run(self, stop: threading.Event) -> None:
        self._stop = stop
        metrics.lag.set_function(self.lag)
        while not stop.is_set():
            done = 0
            try:
                done = self.work()
                self._fault = ""
            except (DatabaseError, InterfaceError) as problem:
                self._wait_for_database(problem)
            except Exception:  # the next batch must not end with this one
                logger.exception("A batch of pushes failed: it is due again in a while")
            finally:
                close_old_connections()
            if not done:
                stop.wait(_TICK)

    def _wait_for_database(self, problem: Exception) -> None:
        """Say so once, and not at every tick."""
        note(problem)
        if self._fault != str(problem):
            self._fault = str(problem)
            logger.warning("Pushes wait for the database: %s", " ".join(self._fault.split()))

    def work(self) -> int:
        """Push what is due, one batch; how many tags that was."""
        now = self._now()
        # Without a transaction: on SQLite one would keep all writers waiting.
        due = Push.objects.filter(due_at__lte=now).order_by("due_at")
        oldest = due.values_list("due_at", flat=True).first()
        self._behind = oldest or now
        if oldest is None:
            return 0
        tasks = self._allowed(self._take())
        letters = [(task, device.pk) for task in tasks for device in task.devices]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="push") as threads:
            for start in range(0, len(letters), _LOOK):
                few = letters[start : start + _LOOK]
                living = self._living({pk for _, pk in few})
                sent = [
                    threads.submit(self._send, task, living[pk]) for task, pk in few if pk in living
                ]
                wait(sent)
        for task in tasks:
            self._settle(task)
        return len(tasks)

    def lag(self) -> float:
        """Seconds since the oldest push that waits fell due; since the last look, if nothing was
        due then, so that it grows while this worker hangs or the database is away.
        """
        return (self._now() - self._behind).total_seconds()

    # Taking

    @log.retrying
    @transaction.atomic
    def _take(self) -> list[_Task]:
        now = self._now()
        # Who finds a row locked leaves it: another worker has it, or its reader.
        free = Push.objects.select_for_update(skip_locked=True)
        due = list(free.filter(due_at__lte=now).order_by("due_at")[:_BATCH])
        alike = free.filter(
            user__in={row.user_id for row in due}, tag__in={row.tag for row in due}, is_read=False
        ).exclude(pk__in=[row.pk for row in due])
        groups: dict[tuple[int, str], tuple[list[Push], list[Push]]] = defaultdict(lambda: ([], []))
        for row in due:
            groups[row.user_id, row.tag][0].append(row)
        for row in alike:
            if (row.user_id, row.tag) in groups:
                groups[row.user_id, row.tag][1].append(row)
        heads = [_merge(*group) for group in groups.values()]
        return self._tasks([row for row in heads if row is not None], now)

    def _tasks(self, rows: list[Push], now: datetime) -> list[_Task]:
        users = {row.user_id for row in rows}
        wishes, unread = Wishes(users), unread_counts(users)
        devices = defaultdict(list)
        known = Device.objects.filter(user__in=users, user__is_active=True).order_by("pk")
        for device in logins.living(known, now):
            if device.channel in backends.configured():
                devices[device.user_id].append(device)
        about = Notification._base_manager.in_bulk([row.pk for row in rows])
        tasks = []
        for row in rows:
            task = self._task(row, about[row.pk], devices[row.user_id], wishes, now)
            if task is not None:
                task.content.unread_count = unread.get(row.user_id, 0)
                tasks.append(task)
        return tasks

    def _task(
        self, row: Push, about: Notification, devices: list[Device], wishes: Wishes, now: datetime
    ) -> _Task | None:
        """What to do of this row, which is taken; None: nothing (now)."""
        if row.devices is not None:
            devices = [device for device in devices if device.pk in row.devices]
        content: Content
        if row.is_read:
            content = Clear(tag=row.tag, up_to_id=row.pk, unread_count=0)
        else:
            category, expires_at = about.notification_type, row.created_at + USEFUL
            devices = wishes.allowed(devices, category) if expires_at > now else []
            quiet_until = wishes.quiet_until(row.user_id, category, now)
            if devices and quiet_until is not None:
                row.due_at = quiet_until
                row.save(update_fields=["due_at", "is_sent"])
                return None
            content = Show(
                tag=row.tag, notification=events.body(about), unread_count=0, expires_at=expires_at
            )
        if not devices:
            row.delete()
            return None
        row.is_sent, row.due_at, row.attempts = True, now + LEASE, row.attempts + 1
        row.save(update_fields=["is_sent", "due_at", "attempts"])
        return _Task(row, content, devices)

    def _allowed(self, tasks: list[_Task]) -> list[_Task]:
        """Without what is taken back from who may no longer see it. Of what was taken, and not
        before: several workers take what none of them could foresee. Nor in that transaction,
        which would hold what this may have to write.
        """
        services.settle(task.push.user_id for task in tasks)
        shown = [task.push.pk for task in tasks if isinstance(task.content, Show)]
        read = {*Push.objects.filter(pk__in=shown, is_read=True).values_list("pk", flat=True)}
        return [task for task in tasks if task.push.pk not in read]

    @log.retrying
    def _living(self, ids: Collection[int]) -> dict[int, Device]:
        """A password may have changed since these were taken, or while others of them were sent."""
        known = Device.objects.filter(pk__in=ids, user__is_active=True)
        return {device.pk: device for device in logins.living(known, self._now())}

    # Sending, in several threads: nothing here may touch the database

    def _send(self, task: _Task, device: Device) -> None:
        outcome = "sent"
        try:
            if self._stop.is_set():
                raise Unreachable("the server stops")
            backends.configured()[device.channel].send(device, task.content)
        except DeviceGone:
            outcome = "gone"
            task.gone.append(device)
        except Unreachable as problem:
            outcome = "later"
            logger.info("device %s (%s) gets it later: %s", device.pk, device.channel, problem)
            task.failed.append(device.pk)
            task.after = max(task.after, problem.after)
        except Exception:
            outcome = "refused"
            logger.exception("device %s (%s) was not told", device.pk, device.channel)
        metrics.pushes.labels(device.channel, outcome).inc()

    # Noting what became of it

    @log.retrying
    def _settle(self, task: _Task) -> None:
        for device in task.gone:  # unless it has come back meanwhile
            Device.objects.filter(pk=device.pk, renewed_at=device.renewed_at).delete()
        row = Push.objects.filter(pk=task.push.pk)
        now = self._now()
        again = None
        if task.failed and task.push.attempts < ATTEMPTS:
            seconds = max(task.after, min(_BACKOFF * 2**task.push.attempts, _LONGEST_BACKOFF))
            again = now + timedelta(seconds=seconds)
        if isinstance(task.content, Clear):
            if again is None:
                row.delete()
            else:
                row.update(due_at=again, devices=task.failed)
            return
        with transaction.atomic():
            attempts, devices = (task.push.attempts, task.failed) if again else (0, None)
            row.update(due_at=again, attempts=attempts, devices=devices)
            row.filter(is_read=True).update(due_at=now, devices=None)  # meanwhile: clear it


def _merge(due: Iterable[Push], alike: Iterable[Push]) -> Push | None:
    """Of one user's rows with one tag, those that are due and the other unread ones: the one that
    speaks for all, from now on alone. None when there is nothing to do.
    """
    due, alike = list(due), list(alike)
    if any(not row.is_read for row in due):
        everything = due + alike
        head = max((row for row in everything if not row.is_read), key=lambda row: row.pk)
        head.is_sent = any(row.is_sent for row in everything)
    else:
        everything = due
        head = max(due, key=lambda row: row.pk)
        head.is_sent = any(row.is_sent for row in due)
        if any(row.is_sent for row in alike):
            head.is_sent = False  # what the devices show by that tag is newer, and unread
    rest = [row.pk for row in everything if row is not head or (row.is_read and not row.is_sent)]
    Push.objects.filter(pk__in=rest).delete()
    return None if head.pk in rest else head


def run(stop: threading.Event) -> None:
    """The work of a server process: none if nothing is configured."""
    if settings.PUSH_BACKENDS:
        Worker().run(stop)


background.register("push", run)
