"""The one way to change what the log keeps: takes a deleted text out of events that were sent.

Their order, their seqs and all else stay: who resumes gets the frame without the text.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from holodrive.realtime.models import Event


def scrub(streams: Iterable[str], needle: str, blank: Callable[[dict[str, Any]], bool]) -> None:
    """Let `blank` change the frames in these streams whose JSON contains the needle (no spaces, as
    the log writes it); it returns whether it changed one. The streams are locked by the open
    `log.writing` block, so no new frame with the text can come in beside it.
    """
    for event in Event.objects.filter(stream__name__in=list(streams), text__contains=needle):
        frame = msgspec.json.decode(event.text)
        if blank(frame):
            event.text = msgspec.json.encode(frame).decode()
            event.save(update_fields=["text"])
