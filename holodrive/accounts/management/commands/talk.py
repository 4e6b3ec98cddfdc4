"""A client for the terminal: fetches a token, joins a conversation, sends a message, prints what
comes back.
"""

import json
import uuid
from argparse import ArgumentParser
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from holodrive.accounts.management.commands.demo import PASSWORD
from holodrive.environment.places import Dialled

_SECONDS = 10  # until the answer must have come


class Command(BaseCommand):
    help = "Send one message over the socket, as a mobile app would, and print every frame."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("text")
        parser.add_argument("--as", dest="username", default="rider")
        parser.add_argument("--password", default=PASSWORD)
        parser.add_argument("--conversation", default="1")
        parser.add_argument("--url", default=settings.WEBSOCKET_URL, help="HOST:PORT of the server")
        parser.add_argument("--follow", action="store_true", help="stay, and print what others say")

    def handle(
        self, *args: Any, text: str, url: str, conversation: str, follow: bool, **options: Any
    ) -> None:
        try:
            url = Dialled().read(url)
        except ValueError as problem:
            why = f"{problem}; " if str(problem) else ""
            raise CommandError(f"--url {url!r}: {why}HOST:PORT is wanted") from None
        token = _token(url, options["username"], options["password"])
        try:
            with connect(
                f"ws://{url}/ws/chat/{conversation}/",
                additional_headers={"Authorization": f"Bearer {token}"},
                compression=None,
            ) as socket:
                self._talk(socket, text, follow)
        except ConnectionClosed as closed:
            raise CommandError(f"the server closed the socket: {closed.rcvd}") from None
        except (OSError, WebSocketException) as problem:
            raise CommandError(f"no socket at {url}: {problem}") from None

    def _talk(self, socket: ClientConnection, text: str, follow: bool) -> None:
        client_message_id = uuid.uuid4().hex
        message = {"type": "chat_message", "message": text, "client_message_id": client_message_id}
        awaited = {"message_ack", "chat_message"}
        sent = False
        while follow or awaited:
            try:
                frame = json.loads(socket.recv(timeout=None if follow else _SECONDS))
            except TimeoutError:
                raise CommandError(f"no answer within {_SECONDS} s") from None
            self.stdout.write(json.dumps(frame, ensure_ascii=False))
            if frame["type"] == "error" and not follow:
                return
            if frame.get("client_message_id") == client_message_id:
                awaited.discard(frame["type"])
            if not sent:
                socket.send(json.dumps(message))
                sent = True


def _token(url: str, username: str, password: str) -> str:
    body = json.dumps({"username": username, "password": password}).encode()
    request = Request(f"http://{url}/api/token/", body, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
            return str(json.load(response)["access"])
    except HTTPError as refusal:
        raise CommandError(
            f"{url} refused the login of {username}: {refusal.read().decode()}"
        ) from None
    except (URLError, OSError) as problem:
        raise CommandError(f"no server at {url}: {getattr(problem, 'reason', problem)}") from None
