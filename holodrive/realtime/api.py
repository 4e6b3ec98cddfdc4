"""The engine over REST: tickets for sockets."""

from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from holodrive.realtime import tickets
from holodrive.realtime.rest import View, answer


class IssuedTicket(msgspec.Struct, kw_only=True):
    """For `?ticket=` in the URL of one socket; `expires_in` is in seconds."""

    ticket: str
    expires_in: int


class Tickets(View):
    @extend_schema(request=None, responses={201: IssuedTicket})
    def post(self, request: Request) -> Response:
        """A ticket that opens one socket as the caller, until its login ends."""
        token: Any = request.auth  # None with a session
        ticket = tickets.issue(
            user=request.user,
            claims=token.payload if token is not None else None,
            session_key="" if token is not None else request.session.session_key or "",
        )
        content = IssuedTicket(ticket=ticket, expires_in=tickets.SECONDS)
        return answer(content, 201, **{"Cache-Control": "no-store"})
