"""The one way to change what the log keeps: takes a deleted text out of events that were sent.

Their order, their seqs and all else stay: who resumes gets the frame without the text.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import msgspec

from holodrive.realtime import log
from holodrive.realtime.models import Event

Blank = Callable[[dict[str, Any]], bool]


def scrub(streams: Iterable[str], needle: str, blank: Blank) -> None:
    """Let `blank` change the frames in these streams whose JSON contains the needle (no spaces, as
    the log writes it); it returns whether it changed one. The streams are locked by the open
    `log.writing` block, so no new frame with the text can come in beside it.
    """
    _blank(Event.objects.filter(stream__name__in=list(streams), text__contains=needle), blank)


def needle_of(field: str, ids: Collection[int]) -> str:
    """What a frame contains in which that field is one of these: exact for one of them."""
    return f'"{field}":{next(iter(ids))}' if len(ids) == 1 else f'"{field}":'


def scrub_in_batches(stream: str, needle: str, blank: Blank, at_once: int) -> Iterator[int]:
    """The same for a stream whose lock must not be held for long. New frames with the text must
    be impossible already.
    """
    found = Event.objects.filter(stream__name=stream, text__contains=needle)
    ids = list(found.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), at_once):
        with log.writing(stream):
            yield _blank(Event.objects.filter(pk__in=ids[start : start + at_once]), blank)


def _blank(events: Iterable[Event], blank: Blank) -> int:
    changed = 0
    for event in events:
        frame = msgspec.json.decode(event.text)
        if blank(frame):
            event.text = msgspec.json.encode(frame).decode()
            event.save(update_fields=["text"])
            changed += 1
    return changed
