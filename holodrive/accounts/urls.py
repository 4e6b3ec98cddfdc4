from django.urls import path

from holodrive.accounts import api

urlpatterns = [
    path("token/", api.Login.as_view(), name="token"),
    path("token/refresh/", api.Refresh.as_view(), name="token-refresh"),
    path("me/", api.Me.as_view(), name="me"),
]
