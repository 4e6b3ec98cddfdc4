"""Tokens over REST: log in, refresh, log out this device."""

from rest_framework import status
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from holodrive.realtime.tokens import LogoutSerializer

login = TokenObtainPairView.as_view()
refresh = TokenRefreshView.as_view()


class Logout(APIView):
    """Whoever holds the refresh token may end its login, even when the access token has expired
    meanwhile.
    """

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def post(self, request: Request) -> Response:
        serializer = LogoutSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        return Response(status=status.HTTP_204_NO_CONTENT)
