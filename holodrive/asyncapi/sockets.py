"""Which frames each socket has: found in the modules of wire shapes, listed nowhere by hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType

import msgspec

from chat import events as chat_events
from chat import note_events, queue_events
from holodrive.realtime import wire
from notifications import events as notification_events

Shape = type[msgspec.Struct]


@dataclass(frozen=True)
class Socket:
    """One path of the server, and the module of the frames that only it has."""

    name: str
    title: str
    address: str
    module: ModuleType

    @cached_property
    def commands(self) -> list[Shape]:
        """What a client may send."""
        return [*_shapes(self.module, wire.Command), *_shapes(wire, wire.Command)]

    @cached_property
    def frames(self) -> list[Shape]:
        """What the server sends."""
        return [*_shapes(self.module, wire.Frame), *_shapes(wire, wire.Frame)]


SOCKETS = (
    Socket("notifications", "Notifications", "/ws/notifications/", notification_events),
    Socket("chat", "Chat", "/ws/chat/{conversation_id}/", chat_events),
    Socket("support", "Support", "/ws/support/", queue_events),
    Socket("notes", "Notes", "/ws/support/notes/{conversation_id}/", note_events),
)


def tag(shape: Shape) -> str:
    """The frame's `type`."""
    return str(shape.__struct_config__.tag)


def keys() -> dict[Shape, str]:
    """A name for each shape, unique in the document: the class's own, with the socket before it
    where another has one of that name.
    """
    owners = {shape: socket for socket in SOCKETS for shape in (*socket.commands, *socket.frames)}
    names = [shape.__name__ for shape in owners]
    return {
        shape: f"{owner.title if names.count(shape.__name__) > 1 else ''}{shape.__name__}"
        for shape, owner in owners.items()
    }


def _shapes(module: ModuleType, base: Shape) -> Iterator[Shape]:
    for name, shape in vars(module).items():
        is_own = isinstance(shape, type) and shape.__module__ == module.__name__
        # A base has no tag of its own, so msgspec gave it its name.
        if is_own and issubclass(shape, base) and tag(shape) != name:
            yield shape
