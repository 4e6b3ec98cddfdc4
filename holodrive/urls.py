from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from holodrive.accounts import api as accounts

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/token/", accounts.login, name="token"),
    path("api/token/refresh/", accounts.refresh, name="token-refresh"),
    path("api/token/logout/", accounts.Logout.as_view(), name="token-logout"),
    path("api/", include("notifications.urls")),
    path("api/", include("chat.urls")),
]
