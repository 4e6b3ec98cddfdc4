"""What a socket of the queue shows is a look at each conversation that its frames quote: they are
held until the audit log has it, once in 15 minutes for an agent and a conversation.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from django.conf import settings
from django.utils import timezone

from chat import audit
from holodrive.realtime.database import FAULTS, unavailable
from holodrive.realtime.group_commit import GroupCommit
from holodrive.realtime.outbox import Outbox, SharedFrame
from holodrive.realtime.wire import CloseCode

logger = logging.getLogger("chat.queue_audit")

_WITHOUT_TEXT = {"conversation_read"}  # of the frames that name a conversation
_FORGET_ABOVE = 1000  # conversations that one socket knows of


@lru_cache(maxsize=512)  # every agent of the process gets the same frame
def quoted(text: str) -> int | None:
    """The conversation that a frame of the queue has a text of."""
    frame = msgspec.json.decode(text)
    if frame["type"] in _WITHOUT_TEXT:
        return None
    conversation = frame.get("conversation")
    id: int | None = conversation["id"] if conversation else frame.get("conversation_id")
    return id


def _record(calls: Sequence[Sequence[audit.Look]]) -> list[list[Any]]:
    """Several agents' looks together."""
    until = iter(audit.previewed_by([look for looks in calls for look in looks]))
    return [[next(until) for _ in looks] for looks in calls]


# A message goes to all agents at the same moment.
_recorded: GroupCommit[Sequence[audit.Look], list[Any]] = GroupCommit(
    _record, key=lambda looks: looks[0].actor.pk
)


class AuditedOutbox:
    """In front of an agent's own outbox, whose order it keeps."""

    def __init__(self, outbox: Outbox, agent: Any) -> None:
        self._outbox = outbox
        self._agent = agent
        self._until: dict[int, Any] = {}
        self._held: deque[tuple[SharedFrame, bool]] = deque()
        self._held_bytes = 0
        self._task: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)

    def record(self, texts: Collection[str]) -> None:
        """That the agent is about to get these frames. In a database thread."""
        looks = self._looks(texts)
        for look, until in zip(looks, audit.previewed_by(looks), strict=True):
            self._until[look.conversation_id] = until

    def send(self, frame: SharedFrame, *, ephemeral: bool = False) -> None:
        if self._outbox.closed is not None:
            return
        if self._task is None and not self._looks([frame.text]):
            self._outbox.send(frame, ephemeral=ephemeral)
            return
        self._held.append((frame, ephemeral))
        self._held_bytes += len(frame.bytes)
        if 0 < settings.REALTIME_OUTBOX_BYTES < self._held_bytes:
            self.close(CloseCode.TOO_SLOW)
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._release())

    def close(self, code: CloseCode) -> None:
        """What is held is not shown: the log has it, and a resume brings it."""
        for frame, _ in self._held:
            if quoted(frame.text) is None:  # such as the error that says why
                self._outbox.send(frame)
        self._held.clear()
        self._outbox.close(code)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        await self._outbox.stop()

    def _looks(self, texts: Collection[str]) -> list[audit.Look]:
        """Those that have to be recorded before these frames may go out."""
        now = timezone.now()
        ids = {id for text in texts if (id := quoted(text)) is not None}
        return [audit.Look(self._agent, id) for id in ids if not self._is_recorded(id, now)]

    def _is_recorded(self, id: int, now: Any) -> bool:
        until = self._until.get(id)
        return until is not None and until > now

    async def _release(self) -> None:
        try:
            while self._held:
                if looks := self._looks([frame.text for frame, _ in self._held]):
                    await self._keep(looks)
                self._send_recorded()
        except FAULTS as problem:
            unavailable(problem)  # one line in the log
            self.close(CloseCode.TRY_LATER)
        except Exception:
            logger.exception("A look at the queue could not be recorded")
            self.close(CloseCode.TRY_LATER)
        finally:
            self._task = None

    async def _keep(self, looks: Sequence[audit.Look]) -> None:
        until = await _recorded(looks)
        if len(self._until) > _FORGET_ABOVE:
            self._until.clear()
        for look, moment in zip(looks, until, strict=True):
            self._until[look.conversation_id] = moment

    def _send_recorded(self) -> None:
        """The frames up to the first that came while the others were recorded, and is not yet."""
        while self._held and not self._looks([self._held[0][0].text]):
            frame, ephemeral = self._held.popleft()
            self._held_bytes -= len(frame.bytes)
            self._outbox.send(frame, ephemeral=ephemeral)
