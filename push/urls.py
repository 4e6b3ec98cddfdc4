from django.urls import path

from push import api, pages

urlpatterns = [
    path("devices/", api.Devices.as_view(), name="devices"),
    path("devices/<int:device_id>/", api.DeviceById.as_view(), name="device"),
    path("push/", api.PushOffer.as_view(), name="push"),
    path("push/worker.js", pages.worker, name="push-worker"),
    path("push/preferences/", api.Preferences.as_view(), name="push-preferences"),
]
