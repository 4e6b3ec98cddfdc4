"""Settings of our server with one difference: what a chat socket sends is not stored, notified of
or acknowledged, only told to all in the conversation. So its fan-out does the work that the peers
do, by the road that every frame takes: publish, hub, outbox.
"""

import itertools
from typing import Any

from django.apps import AppConfig
from django.utils import timezone

from holodrive.settings import *  # noqa: F403
from holodrive.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "benchmarks.unstored.Unstored"]


class Unstored(AppConfig):
    name = "benchmarks.unstored"

    def ready(self) -> None:
        from chat.consumers import ChatConsumer
        from chat.events import ChatMessage, SendMessage, name_of
        from holodrive.realtime import publish
        from holodrive.realtime.wire import timestamp

        numbers = itertools.count(1)

        async def tell(consumer: ChatConsumer, command: Any) -> None:
            number = next(numbers)
            frame = ChatMessage(
                seq=number,
                message=command.message,
                sender_id=consumer.user.pk,
                sender_name=name_of(consumer.user),
                is_from_support=False,
                created_at=timestamp(timezone.now()),
                message_id=number,
                client_message_id=command.client_message_id,
            )
            publish.tell(consumer.stream(), frame)

        ChatConsumer.commands[SendMessage] = tell
