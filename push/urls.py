from django.urls import path

from push import api

urlpatterns = [
    path("devices/", api.Devices.as_view(), name="devices"),
    path("devices/<int:device_id>/", api.DeviceById.as_view(), name="device"),
]
