"""Fixtures that every test may use; each makes what it needs and nothing else."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model

from testing.client import Socket


@pytest.fixture
def make_user(transactional_db: None) -> Callable[..., Any]:
    """Factory of users by role: `make_user("rider")`, `make_user("admin")` is a superuser."""
    count = 0

    def make(role: str = "rider", **fields: Any) -> Any:
        nonlocal count
        count += 1
        fields.setdefault("username", f"{role}{count}")
        fields.setdefault("first_name", role.title())
        fields.setdefault("last_name", f"No{count}")
        if role == "admin":
            fields = {"is_staff": True, "is_superuser": True, **fields}
        user = get_user_model()(role=role, **fields)
        user.set_unusable_password() if "password" not in fields else user.set_password(fields["password"])
        user.save()
        return user

    return make


def token_for(user: Any) -> str:
    from holodrive.realtime.tokens import ObtainSerializer

    return str(ObtainSerializer.get_token(user).access_token)


@pytest.fixture
def token() -> Callable[[Any], str]:
    """The access token of a new login of that user."""
    return token_for


@pytest_asyncio.fixture
async def connect(transactional_db: None) -> AsyncIterator[Callable[..., Any]]:
    """Opens sockets through the ASGI application: `await connect(path, user)`, or with headers of one's own.
    All are closed at the end, and the loop's hub with them."""
    from asgiref.sync import sync_to_async

    from holodrive.realtime import hub

    sockets: list[Socket] = []

    async def open_socket(
        path: str,
        user: Any = None,
        *,
        headers: dict[str, str] | None = None,
        subprotocols: list[str] | None = None,
        first_frame: bool = True,
    ) -> Socket:
        headers = {"Host": "testserver", **(headers or {})}
        if user is not None:
            token = await sync_to_async(token_for, thread_sensitive=True)(user)
            headers["Authorization"] = f"Bearer {token}"
        socket = Socket(path, headers, subprotocols or [])
        sockets.append(socket)
        await socket.open()
        if first_frame and user is not None:
            socket.welcome = await socket.frame("connection_established")  # type: ignore[attr-defined]
        return socket

    yield open_socket
    for socket in sockets:
        await socket.leave()
    await hub.here().close()
