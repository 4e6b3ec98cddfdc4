from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client, modify_settings, override_settings
from django.urls import include, path

from holodrive.asyncapi.document import document as build

urlpatterns = [path("api/docs/realtime/", include("holodrive.asyncapi.urls"))]


@pytest.fixture
def document() -> dict[str, Any]:
    return build()


@pytest.fixture
def site() -> Iterator[Client]:
    """A site that has these pages and nothing else."""
    with (
        modify_settings(INSTALLED_APPS={"append": "holodrive.asyncapi"}),
        override_settings(ROOT_URLCONF=__name__),
    ):
        yield Client()
