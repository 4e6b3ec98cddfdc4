"""The AsyncAPI document of all sockets, built from the wire structs. No models, no I/O."""

import copy
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from holodrive.asyncapi import codes
from holodrive.asyncapi.examples import examples
from holodrive.asyncapi.sockets import SOCKETS, Shape, Socket, keys, tag
from holodrive.realtime import wire

Json = dict[str, Any]

ASYNCAPI = "3.1.0"
_COMPONENTS = "#/components/schemas/{name}"

_DESCRIPTION = """\
WebSockets: a user's notifications, the messages of one conversation; and for support its \
queue, and the private notes of one conversation. Frames are JSON objects in text messages, each \
with a `type`. Ignore fields and types that you do not know.

A user's notifications are one stream, each conversation is another, and so are the queue and \
each conversation's notes. A frame that tells of a \
change is an event of its stream and carries its number there: `seq`, from 1, without holes. \
Remember the last one that you have processed; after a lost connection, `?last_seq=` in the URL \
(or the `resume` frame) brings exactly what was missed. Frames without `seq` are answers and \
typing: they are sent once, to who is there.

The first frame of a socket is `connection_established`, or an `error` that says why it closes. \
A foreign Origin is refused with HTTP 403. A bad frame is answered with an `error`; twenty in a \
row close the socket."""

_SECURITY: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of `POST /api/token/`. Best for apps.",
    },
    "subprotocol": {
        "type": "httpApiKey",
        "in": "header",
        "name": "Sec-WebSocket-Protocol",
        "description": (
            "`jwt, <access token>`; the server answers `jwt`. Best in a browser: "
            '`new WebSocket(url, ["jwt", token])`.'
        ),
    },
    "ticket": {
        "type": "httpApiKey",
        "in": "query",
        "name": "ticket",
        "description": (
            "A ticket of `POST /api/realtime/ticket/`: opens one socket, within seconds. So no "
            "token need stand in a URL."
        ),
    },
    "query": {
        "type": "httpApiKey",
        "in": "query",
        "name": "token",
        "description": "The access token in the URL: `?token=<access token>`.",
    },
    "path": {
        "type": "apiKey",
        "in": "password",
        "description": (
            "The access token as the last part of the path (AsyncAPI has no word for that place): "
            "`/ws/notifications/<token>`, `/ws/notifications/token=<token>`, "
            "`/ws/notifications/<user_id>/<token>`, `/ws/chat/{conversation_id}/<token>`, "
            "`/ws/chat/{conversation_id}/token=<token>`."
        ),
    },
    "session": {
        "type": "httpApiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "The admin's session cookie; it needs an Origin that is allowed.",
    },
}

_CHANNELS: Json = {
    "notifications": {
        "summary": "Everything that a user is notified of.",
        "description": "The user is the one of the token or the session.",
    },
    "chat": {
        "summary": "The messages of one conversation, and who is typing.",
        "description": "For its participants and for support.",
        "parameters": {
            "conversation_id": {
                "description": (
                    "The conversation's id. One that is absent, foreign or no number closes "
                    "with 4404."
                ),
                "examples": ["1"],
            }
        },
    },
    "support": {
        "summary": "What changes in support's queue.",
        "description": "For staff with `chat.view_conversation`; others are closed with 4404.",
    },
    "notes": {
        "summary": "Support's private notes of one conversation.",
        "description": "For staff with `chat.view_note`; others are closed with 4404.",
        "parameters": {
            "conversation_id": {"description": "The conversation's id.", "examples": ["1"]}
        },
    },
}

# For the shapes whose docstring does not say it.
_SUMMARIES = {
    "NotificationsConnectionEstablished": "The first frame: what is unread.",
    "NotesConnectionEstablished": "The first frame.",
    "ChatConnectionEstablished": "The first frame: what was read.",
    "NotificationRead": "One was read, on any device.",
    "MarkAsRead": "Marks one notification read.",
    "MarkAllAsRead": "Marks all read, or all up to and including an id.",
    "MessageEdited": "A message's text was changed.",
    "EditMessage": "Changes the text of one's own message.",
    "DeleteMessage": "Takes back one's own message: its text goes, for everybody.",
    "MarkMessagesRead": "Moves one's own read cursor; marks the notifications of what was read.",
    "MarkMessagesDelivered": "Says what has reached this user's device.",
    "SetTyping": "The user began to type, or stopped.",
    "Pong": "The answer to a ping.",
    "TokenRefreshed": "The answer to a token_refresh.",
}

# What answers a command when it is obeyed; a refused one is answered with an `error`.
_REPLIES = {
    "Ping": ("Pong",),
    "Resume": ("Resumed",),
    "RefreshToken": ("TokenRefreshed",),
    "MarkAsRead": ("NotificationRead", "AlreadyRead"),
    "MarkAllAsRead": ("NotificationsRead", "AlreadyRead"),
    "SendMessage": ("MessageAck",),
    "EditMessage": ("MessageEdited", "AlreadyEdited"),
    "DeleteMessage": ("MessageDeleted", "AlreadyDeleted"),
    "MarkMessagesRead": ("MessagesRead",),
    "MarkMessagesDelivered": ("MessagesDelivered",),
}


def document(host: str | None = None, scheme: str = "ws") -> Json:
    """The document as a JSON object; without a `host` it is that of any installation."""
    names = keys()
    payloads, schemas = _schemas(names)
    messages = {
        name: _message(name, shape, payloads[name], schemas) for shape, name in names.items()
    }
    return {
        "asyncapi": ASYNCAPI,
        "info": {"title": "HoloDrive realtime", "version": "1.0.0", "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": _servers(host, scheme),
        "channels": {socket.name: _channel(socket, names) for socket in SOCKETS},
        "operations": _operations(names, messages),
        "components": {
            "schemas": schemas,
            "messages": messages,
            "securitySchemes": copy.deepcopy(_SECURITY),
        },
        "x-close-codes": [
            {"code": row.code, "when": row.when, "then": row.then} for row in codes.closes()
        ],
        "x-error-codes": codes.errors(),
    }


def _servers(host: str | None, scheme: str) -> Json:
    security = [_ref("components", "securitySchemes", name) for name in _SECURITY]
    if host is not None:
        return {"this": {"host": host, "protocol": scheme, "security": security}}
    variable = {
        "host": {"default": "127.0.0.1:9000", "description": "WEBSOCKET_URL of the installation."}
    }
    return {
        name: {
            "host": "{host}",
            "protocol": protocol,
            "description": description,
            "variables": variable,
            "security": security,
        }
        for name, protocol, description in (
            ("development", "ws", "Without TLS."),
            ("production", "wss", "Behind TLS."),
        )
    }


def _schemas(names: dict[Shape, str]) -> tuple[Json, Json]:
    """The payload of each shape by its name in the document, and the schemas that they share."""
    references, components = msgspec.json.schema_components(names, ref_template=_COMPONENTS)
    payloads = {
        name: components.pop(reference["$ref"].rpartition("/")[2])
        for name, reference in zip(names.values(), references, strict=True)
    }
    logged = {tag(shape) for shape in names if issubclass(shape, wire.Event)}
    for shape, name in names.items():
        payloads[name].pop("description", None)  # the message has it
        payloads[name]["title"] = name
        if issubclass(shape, wire.Frame):
            _as_sent(shape, payloads[name])
            if tag(shape) in logged and not issubclass(shape, wire.Event):
                # An operation's messages must be told apart: an answer of an event's type.
                payloads[name]["not"] = {"required": ["seq"]}
    return payloads, components


def _as_sent(shape: Shape, payload: Json) -> None:
    """Say what is on the wire: a default is for the server's own code, the field is always sent."""
    absent = {
        field.encode_name
        for field in msgspec.structs.fields(shape)
        if field.default is msgspec.UNSET
    }
    for field in payload["properties"].values():
        field.pop("default", None)
    payload["required"] = [field for field in payload["properties"] if field not in absent]


def _message(name: str, shape: Shape, payload: Json, schemas: Json) -> Json:
    summary, rest = _split(shape.__doc__ or _SUMMARIES.get(name, ""))
    message = {
        "name": tag(shape),
        "title": _words(shape.__name__),
        "summary": summary,
        "description": rest,
        "payload": payload,
        "examples": [
            {"name": f"{name}{number or ''}", "payload": example}
            for number, example in enumerate(examples(name, payload, schemas))
        ],
    }
    return {key: value for key, value in message.items() if value}


def _channel(socket: Socket, names: dict[Shape, str]) -> Json:
    shapes = [*socket.commands, *socket.frames]
    return {
        "title": socket.title,
        "address": socket.address,
        **copy.deepcopy(_CHANNELS[socket.name]),
        "messages": {
            names[shape]: _ref("components", "messages", names[shape]) for shape in shapes
        },
        "bindings": {"ws": {"method": "GET", "query": _query(), "bindingVersion": "0.1.0"}},
    }


def _query() -> Json:
    return {
        "type": "object",
        "properties": {
            "last_seq": {
                "type": "integer",
                "minimum": 0,
                "maximum": wire.MAX_INTEGER,
                "description": (
                    "The last `seq` that you have processed: what came after it follows the first "
                    "frame, then `resumed`."
                ),
            },
            "ticket": {"type": "string", "description": "A ticket: the security scheme `ticket`."},
            "token": {
                "type": "string",
                "description": "An access token: the security scheme `query`.",
            },
        },
    }


def _operations(names: dict[Shape, str], messages: Json) -> Json:
    """One for each command (`receive`, as seen from the server), one for each type of frame that
    the server sends (`send`).
    """
    operations: Json = {}
    for socket in SOCKETS:
        available = {names[shape] for shape in socket.frames}
        for shape in socket.commands:
            name = names[shape]
            replies = [reply for reply in _REPLIES.get(name, ()) if reply in available]
            operations[f"{socket.name}.receive.{tag(shape)}"] = {
                "action": "receive",
                "title": messages[name]["title"],
                "channel": _ref("channels", socket.name),
                "messages": _of(socket, [name]),
                "reply": {
                    "channel": _ref("channels", socket.name),
                    "messages": _of(socket, [*replies, names[wire.Error]]),
                },
            }
        for kind in dict.fromkeys(tag(shape) for shape in socket.frames):
            operations[f"{socket.name}.send.{kind}"] = {
                "action": "send",
                "channel": _ref("channels", socket.name),
                "messages": _of(
                    socket, [names[shape] for shape in socket.frames if tag(shape) == kind]
                ),
            }
    return operations


def _of(socket: Socket, names: Iterable[str]) -> list[Json]:
    return [_ref("channels", socket.name, "messages", name) for name in names]


def _ref(*path: str) -> Json:
    return {"$ref": "/".join(("#", *path))}


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def _split(text: str) -> tuple[str, str]:
    """A docstring's first sentence, and the whole of it if there is more."""
    text = " ".join(text.split())
    first, _, rest = text.partition(". ")
    return (f"{first}.", text) if rest else (text, "")
