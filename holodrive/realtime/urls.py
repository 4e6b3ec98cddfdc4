from django.urls import path

from holodrive.realtime import api

urlpatterns = [
    path("realtime/ticket/", api.Tickets.as_view(), name="realtime-ticket"),
    path("token/logout/", api.Logout.as_view(), name="token-logout"),
]
