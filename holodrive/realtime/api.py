"""The engine over REST: tickets for sockets, and the end of a login."""

from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from holodrive.realtime import claims, tickets
from holodrive.realtime.parsing import JsonParser
from holodrive.realtime.rest import View, answer
from holodrive.realtime.tokens import LogoutSerializer


class IssuedTicket(msgspec.Struct, kw_only=True):
    """For `?ticket=` in the URL of one socket; `expires_in` is in seconds."""

    ticket: str
    expires_in: int


class RefreshToken(msgspec.Struct, kw_only=True):
    refresh: str


class Tickets(View):
    @extend_schema(request=None, responses={201: IssuedTicket})
    def post(self, request: Request) -> Response:
        """A ticket that opens one socket as the caller, until its login ends."""
        token: Any = request.auth  # None with a session
        ticket = tickets.issue(
            user=request.user,
            claims=claims.of_a_login(token.payload) if token is not None else None,
            session_key="" if token is not None else request.session.session_key or "",
        )
        return answer(IssuedTicket(ticket=ticket, expires_in=tickets.SECONDS), 201)


class Logout(View):
    """Whoever holds the refresh token may end its login, even when the access token has expired
    meanwhile.
    """

    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (JsonParser,)

    @extend_schema(request=RefreshToken, responses={204: None})
    def post(self, request: Request) -> Response:
        """End this login, and no other of the user."""
        serializer = LogoutSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(status=status.HTTP_204_NO_CONTENT)
