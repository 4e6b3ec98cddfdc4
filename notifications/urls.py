from django.urls import path
from django.views.decorators.cache import cache_control
from django.views.i18n import JavaScriptCatalog

from notifications import api

# The bell's texts in the language of the page, for its scripts; `?language=` keeps languages apart
# in the browser's cache.
_texts = cache_control(private=True, max_age=3600)(
    JavaScriptCatalog.as_view(packages=["notifications"])
)

urlpatterns = [
    path("notifications/texts.js", _texts, name="notification-texts"),
    path("notifications/", api.Notifications.as_view(), name="notifications"),
    path("notifications/read-all/", api.NotificationsRead.as_view(), name="notifications-read-all"),
    path(
        "notifications/<int:notification_id>/read/",
        api.NotificationRead.as_view(),
        name="notification-read",
    ),
]
