"""/ws/notifications/: authorises, subscribes, delegates."""

from typing import ClassVar

from holodrive.realtime.consumer import Handler, RealtimeConsumer
from holodrive.realtime.database import in_database
from holodrive.realtime.hub import Digest
from holodrive.realtime.wire import Command
from notifications import events, services


class NotificationConsumer(RealtimeConsumer):
    endpoint = "notifications"

    def stream(self) -> str:
        return events.stream_of(self.user.pk)

    def digest(self) -> Digest:
        return events.digest

    def welcome(self) -> events.ConnectionEstablished:
        return services.welcome(self.user)

    async def mark_as_read(self, command: events.MarkAsRead) -> None:
        known = await in_database(
            services.mark_read, user=self.user, notification_id=command.notification_id
        )
        if known:
            self.send(known)

    async def mark_all_as_read(self, command: events.MarkAllAsRead) -> None:
        known = await in_database(services.mark_all_read, user=self.user, up_to_id=command.up_to_id)
        if known:
            self.send(known)

    async def notification_seen(self, command: events.MarkAsSeen) -> None:
        await in_database(services.mark_seen, user=self.user, up_to_id=command.up_to_id)

    commands: ClassVar[dict[type[Command], Handler]] = {
        events.MarkAsRead: mark_as_read,
        events.MarkAllAsRead: mark_all_as_read,
        events.MarkAsSeen: notification_seen,
    }
