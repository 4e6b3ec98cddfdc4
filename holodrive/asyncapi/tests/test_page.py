"""The page for people, and the document of this installation."""

import re

import pytest
from django.urls import reverse

from holodrive.asyncapi.sockets import SOCKETS, keys
from holodrive.asyncapi.templatetags.asyncapi_text import with_code


@pytest.fixture
def page(site):
    return site.get(reverse("realtime-docs")).content.decode()


def test_the_page_shows_every_message_of_every_socket(page):
    names = keys()
    for socket in SOCKETS:
        for shape in (*socket.commands, *socket.frames):
            assert f'<article id="{socket.name}-{names[shape]}">' in page


def test_every_link_on_the_page_leads_to_a_place_on_it(page):
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert len(targets) > 20
    assert targets <= set(re.findall(r' id="([^"]+)"', page))


def test_the_page_needs_no_script_no_inline_style_and_no_other_host(page):
    assert "<script" not in page
    assert "<style" not in page
    assert not re.search(r"\bstyle=|\bon\w+=", page)
    assert not re.search(r"""(?:href|src)=["'](?:https?:)?//""", page)


def test_the_page_allows_itself_nothing_from_elsewhere(site):
    policy = site.get(reverse("realtime-docs")).headers["Content-Security-Policy"]
    assert policy == "default-src 'self'"


def test_the_page_names_this_installation(site, settings):
    settings.WEBSOCKET_URL = "rides.example:9000"
    assert (
        "ws://rides.example:9000/ws/notifications/"
        in site.get(reverse("realtime-docs")).content.decode()
    )


@pytest.mark.parametrize(("secure", "protocol"), [(False, "ws"), (True, "wss")])
def test_the_json_has_the_host_that_clients_dial(site, settings, secure, protocol):
    settings.WEBSOCKET_URL = "rides.example:9000"
    servers = site.get(reverse("asyncapi"), secure=secure).json()["servers"]
    assert [(it["host"], it["protocol"]) for it in servers.values()] == [
        ("rides.example:9000", protocol)
    ]


@pytest.mark.parametrize("name", ["realtime-docs", "asyncapi"])
def test_the_pages_are_only_read(site, name):
    assert site.post(reverse(name)).status_code == 405


def test_a_text_is_escaped_and_its_code_is_marked():
    assert with_code("<b> `a<b` c") == "&lt;b&gt; <code>a&lt;b</code> c"
