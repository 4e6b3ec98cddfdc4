"""Static files by WhiteNoise, without a thread for whatever is no static file.

WhiteNoise's own middleware is synchronous: all that is within it, a view that only waits too, then
holds a thread and a place of BoundedRequests for as long as it runs.
"""

from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFiles(WhiteNoiseMiddleware):
    sync_capable = async_capable = True

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        return self._answer(request) if self._is_async else super().__call__(request)

    async def _answer(self, request: Any) -> Any:
        path = request.path_info
        if self.autorefresh:
            found = await sync_to_async(self.find_file)(path)
        else:
            found = self.files.get(path)
        if found is None:
            return await self.get_response(request)
        return await sync_to_async(self.serve)(found, request)
