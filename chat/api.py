"""Messages over REST: the same items, and the same rules of who sees what, as on the socket."""

from typing import Any

import msgspec
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from chat import events, services
from holodrive.realtime import log
from holodrive.realtime.rest import page, read_body


class Messages(APIView):
    """GET: a page of the history. POST: 201 when stored, 200 if it was already."""

    def get(self, request: Request, conversation_id: str) -> Response:
        id = services.conversation_id(conversation_id)
        conversation = services.conversation_for(request.user, id)
        stream = events.stream_of(id)
        head = log.heads([stream]).get(
            stream, 0
        )  # before the rows: a resume from it misses nothing
        return page(request, services.messages_of(conversation), events.chat_message, head)

    def post(self, request: Request, conversation_id: str) -> Response:
        id = services.conversation_id(conversation_id)
        command = read_body(request, events.SendMessage)
        message, duplicate = services.send_message(
            user=request.user,
            conversation_id=id,
            text=command.message,
            client_message_id=command.client_message_id,
        )
        item: Any = msgspec.to_builtins(events.chat_message(message))
        return Response(item, status=status.HTTP_200_OK if duplicate else status.HTTP_201_CREATED)
