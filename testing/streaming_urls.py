"""The views of a host project that streams: events from an async generator and from an ordinary
one, a long poll, a large download, a slow query, an upload.
"""

import asyncio
import atexit
import functools
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

_LARGE = 10_000_000
_EVENT = b"data: here\n\n"


async def _events(_: HttpRequest) -> StreamingHttpResponse:
    async def events() -> AsyncIterator[bytes]:
        while True:
            yield _EVENT
            await asyncio.sleep(1)

    return StreamingHttpResponse(events(), content_type="text/event-stream")


def _generated(request: HttpRequest) -> StreamingHttpResponse:
    str(request.user)  # a query: this thread has a connection

    def events() -> Iterator[bytes]:
        while True:
            yield _EVENT
            time.sleep(1)

    return StreamingHttpResponse(events(), content_type="text/event-stream")


async def _poll(request: HttpRequest) -> HttpResponse:
    await request.auser()
    await asyncio.sleep(3600)
    return HttpResponse("nothing new")


@functools.cache
def _large() -> Path:
    with tempfile.NamedTemporaryFile(prefix="holodrive-large-", delete=False) as file:
        file.truncate(_LARGE)  # written, it would be in memory once for each of the first requests
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return Path(file.name)


def _download(_: HttpRequest) -> FileResponse:
    return FileResponse(_large().open("rb"), as_attachment=True, filename="large")


def _page(_: HttpRequest) -> HttpResponse:
    return HttpResponse(b"x" * _LARGE)


def _slow(_: HttpRequest) -> HttpResponse:
    time.sleep(2)
    return HttpResponse("done")


@csrf_exempt
def _upload(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(sum(len(part) for part in iter(lambda: request.read(65_536), b""))))


def _rows(_: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(f"{number}\n" for number in range(50_000))


urlpatterns: list[Any] = [
    path("events/", _events),
    path("generated/", _generated),
    path("poll/", _poll),
    path("download/", _download),
    path("page/", _page),
    path("slow/", _slow),
    path("upload/", _upload),
    path("rows/", _rows),
    path("", include("holodrive.urls")),
]
