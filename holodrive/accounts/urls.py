from django.urls import path

from holodrive.accounts import api

urlpatterns = [
    path("token/", api.Login.as_view(), name="token"),
    path("token/refresh/", api.Refresh.as_view(), name="token-refresh"),
    path("me/", api.Me.as_view(), name="me"),
    path("devices/", api.Devices.as_view(), name="devices"),
    path("devices/<int:device_id>/", api.DeviceById.as_view(), name="device"),
]
