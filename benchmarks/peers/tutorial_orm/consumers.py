import json
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from .models import Message, Notification


def query(scope):
    return {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.room_name = self.scope["url_route"]["kwargs"]["room_name"]
        self.room_group_name = f"chat_{self.room_name}"
        asked = query(self.scope)
        self.user_id, self.other_id = int(asked["user"]), int(asked["other"])
        await self.channel_layer.group_add(self.room_group_name, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code):
        await self.channel_layer.group_discard(self.room_group_name, self.channel_name)

    async def receive(self, text_data):
        text = json.loads(text_data)["message"]
        message, notification = await self.store(text)
        await self.channel_layer.group_send(
            self.room_group_name,
            {
                "type": "chat.message",
                "message": text,
                "sender_id": self.user_id,
                "message_id": message.pk,
                "created_at": message.created_at.isoformat(),
            },
        )
        await self.channel_layer.group_send(
            f"notifications_{self.other_id}",
            {
                "type": "notification",
                "id": notification.pk,
                "title": notification.title,
                "message": notification.message,
                "created_at": notification.created_at.isoformat(),
            },
        )

    @database_sync_to_async
    def store(self, text):
        message = Message.objects.create(
            room_name=self.room_name, sender_id=self.user_id, text=text
        )
        notification = Notification.objects.create(
            recipient_id=self.other_id,
            title="New message",
            message=f"New message in conversation: {text[:50]}...",
        )
        return message, notification

    async def chat_message(self, event):
        await self.send(text_data=json.dumps({**event, "type": "chat_message"}))


class NotificationConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.group_name = f"notifications_{query(self.scope)['user']}"
        await self.channel_layer.group_add(self.group_name, self.channel_name)
        await self.accept()

    async def disconnect(self, close_code):
        await self.channel_layer.group_discard(self.group_name, self.channel_name)

    async def notification(self, event):
        content = {name: value for name, value in event.items() if name != "type"}
        await self.send(text_data=json.dumps({"type": "notification", "notification": content}))
