from typing import Any

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request

from chat import console
from holodrive.realtime import rest, rest_budget


class Schema(SpectacularAPIView):
    work = rest_budget.SCHEMA

    def _get_version_parameter(self, request: Request) -> None:
        """There is one version: what `?version=` says would go into a header as it is."""


class Docs(SpectacularSwaggerSplitView):
    metadata_class = None  # there is no template for what OPTIONS would say: 405


class Icon(RedirectView):
    """Browsers ask for it on every page that names none: the admin, Swagger UI, plain JSON."""

    def get_redirect_url(self, *args: Any, **kwargs: Any) -> str:
        return static("asyncapi/icon.svg")


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("favicon.ico", Icon.as_view()),
    # Before the admin, which would answer everything below admin/.
    path("admin/chat/console/", console.page, name="chat-console"),
    path("admin/", admin.site.urls),
    path("api/", include("holodrive.accounts.urls")),
    path("api/", include("holodrive.realtime.urls")),
    path("api/", include("notifications.urls")),
    path("api/", include("chat.urls")),
    path("api/", include("push.urls")),
    path("api/schema/", Schema.as_view(), name="schema"),
    # Its script is a file of its own, and so is the style of our template: the policy wants it.
    path(
        "api/docs/",
        Docs.as_view(url_name="schema", template_name="api_docs.html"),
        name="docs",
    ),
    path("api/docs/realtime/", include("holodrive.asyncapi.urls")),
    re_path("^api(?:/|$)", rest.UnknownPath.as_view()),
]
handler500 = rest.server_error
