"""Answers that a view produces from an ordinary iterator, part by part."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import FileResponse, HttpResponse

from holodrive.realtime import answers
from holodrive.realtime.threads import current

_MOST, _MOST_OF_ONE = (
    200,
    100,
)  # generators that are read, of a process and an address: a thread each
_TURN_BYTES, _TURN_SECONDS = 65_536, 0.02  # of one generator, before others have theirs


def read_in_turns(handler: ASGIHandler) -> None:
    """Django reads an ordinary iterator to its end, in the request's thread, before it sends the
    first byte: a generator without an end sends nothing and never leaves.
    """
    send_response = handler.send_response
    open_streams: Counter[str] = Counter()

    async def send_in_turns(response: Any, send: Any) -> None:
        if not response.streaming or response.is_async:
            await send_response(response, send)
            return
        thread = current()
        address = "" if thread is None else thread.address
        if isinstance(response, FileResponse):  # it does not sleep
            response.streaming_content = _parts(response.streaming_content)
            await send_response(response, send)
            return
        if open_streams.total() >= _MOST or open_streams[address] >= _MOST_OF_ONE:
            await send_response(_busy(response), send)
            return
        open_streams[address] += 1
        try:
            if thread is not None:
                thread.is_streaming = True
                await sync_to_async(bool)()  # from here on, its places are the streams'
            response.streaming_content = _parts(response.streaming_content)
            await send_response(response, send)
        finally:
            open_streams[address] -= 1
            if not open_streams[address]:
                del open_streams[address]

    handler.send_response = send_in_turns  # type: ignore[method-assign]


def _busy(refused: Any) -> HttpResponse:
    """Return a 503 in place of an answer that has passed the middleware, with its CORS headers."""
    kept = {
        name: value
        for name, value in refused.headers.items()
        if name.lower().startswith("access-control-") or name == "Vary"
    }
    headers = kept | {"Retry-After": str(answers.RETRY_SECONDS)}
    return HttpResponse(answers.TEXTS[503], "text/plain", 503, headers=headers)


async def _parts(content: Any) -> AsyncIterator[bytes]:
    """What there is, as soon as it is there; many small parts leave together."""
    loop = asyncio.get_running_loop()
    found: deque[bytes] = deque()
    wake = asyncio.Event()

    def read_on() -> bool:
        """Whether there is more."""
        left, until = _TURN_BYTES, monotonic() + _TURN_SECONDS
        for part in content:
            found.append(part)
            if len(found) == 1:
                loop.call_soon_threadsafe(wake.set)
            left -= len(part)
            if left <= 0 or monotonic() >= until:
                return True
        return False

    there_is_more = True
    while there_is_more:
        reading = asyncio.ensure_future(sync_to_async(read_on)())
        reading.add_done_callback(lambda _: wake.set())
        while not reading.done() or found:
            await wake.wait()
            wake.clear()
            parts = []
            while found:  # to its end: only a part that is alone there wakes us
                parts.append(found.popleft())
            if parts:
                yield b"".join(parts)
        there_is_more = reading.result()
