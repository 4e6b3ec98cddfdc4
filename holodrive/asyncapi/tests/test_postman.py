"""docs/postman/: both collections ask for what the server has, and for all of it."""

import json
from pathlib import Path

import msgspec
import pytest
import yaml
from django.urls import URLResolver, get_resolver, resolve
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.views import APIView

from holodrive.asyncapi.sockets import SOCKETS, tag

POSTMAN = Path(__file__).resolve().parents[3] / "docs" / "postman"
FOLDER = POSTMAN / "collections" / "HoloDrive realtime"
DEFINITION = yaml.safe_load((FOLDER / ".resources" / "definition.yaml").read_text())
COLLECTION = json.loads((POSTMAN / "holodrive-realtime.postman_collection.json").read_text())
REQUESTS = {
    file: yaml.safe_load(file.read_text()) for file in sorted(FOLDER.rglob("*.request.yaml"))
}
HTTP = [request for request in REQUESTS.values() if request["$kind"] == "http-request"]
WEBSOCKET = {
    file: request for file, request in REQUESTS.items() if request["$kind"] == "websocket-request"
}
VALUES = {f"{{{{{name}}}}}": value for name, value in DEFINITION["variables"].items()}
VALUES["{{$guid}}"] = "7d0f2c4e-5a1b-4b8e-9d57-0c9c1f3f6a10"


def filled(text):
    for name, value in VALUES.items():
        text = text.replace(name, value)
    assert "{{" not in text, "a variable that the collection does not have"
    return text


def in_json_form():
    """The requests of the collection in format 2.1, as those of the folder are written."""
    for folder in COLLECTION["item"]:
        for item in folder["item"]:
            request = item["request"]
            yield (
                folder["name"],
                item["name"],
                request["method"],
                request["url"]["raw"].partition("?")[0],
                request.get("body", {}).get("raw"),
            )


def in_folder_form():
    for file, request in REQUESTS.items():
        if request in HTTP:
            body = request.get("body", {}).get("content")
            yield file.parent.name, request["name"], request["method"], request["url"], body


def operations(patterns, prefix=""):
    """Each name and method of the REST API."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from operations(pattern.url_patterns, route)
        view = getattr(getattr(pattern, "callback", None), "cls", None)
        is_ours = view and issubclass(view, APIView)
        is_ours = is_ours and not issubclass(view, (SpectacularAPIView, SpectacularSwaggerView))
        if is_ours and pattern.name and route.startswith("api/"):
            for method in ("get", "post", "put", "patch", "delete"):
                if hasattr(view, method):
                    yield pattern.name, method.upper()


def messages_of(file, request):
    found = sorted((file.parent / request["messages"]).glob("*.message.yaml"))
    return [yaml.safe_load(message.read_text()) for message in found]


def test_both_formats_have_the_same_requests_over_http():
    assert len(HTTP) > 10
    assert sorted(in_json_form(), key=str) == sorted(in_folder_form(), key=str)


def test_every_operation_of_the_rest_api_has_a_request_and_no_request_is_in_vain():
    asked = set()
    for request in HTTP:
        match = resolve(filled(request["url"]).removeprefix("http://127.0.0.1:9000"))
        asked.add((match.url_name, request["method"]))
    known = set(operations(get_resolver("holodrive.urls").url_patterns))
    assert ("messages", "POST") in known
    assert asked == known


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=lambda request: request["name"])
def test_a_request_dials_the_host_variable(request_):
    assert request_["url"].startswith(("http://{{host}}/", "ws://{{host}}/"))


def test_the_variables_have_the_same_defaults_everywhere():
    assert DEFINITION["variables"]["host"] == "127.0.0.1:9000"
    in_json = {variable["key"]: variable["value"] for variable in COLLECTION["variable"]}
    assert in_json == DEFINITION["variables"]
    environments = [
        json.loads((POSTMAN / "local.postman_environment.json").read_text()),
        yaml.safe_load((POSTMAN / "environments" / "HoloDrive local.environment.yaml").read_text()),
    ]
    for environment in environments:
        values = {entry["key"]: entry["value"] for entry in environment["values"]}
        assert values["host"] == "127.0.0.1:9000"
        assert values.items() <= DEFINITION["variables"].items()


@pytest.mark.parametrize("socket", SOCKETS, ids=lambda socket: socket.name)
def test_a_socket_has_a_message_for_each_of_its_commands(socket):
    path = "ws://{{host}}" + socket.address.replace("{", "{{").replace("}", "}}")
    ((file, request),) = [item for item in WEBSOCKET.items() if item[1]["url"] == path]
    shapes = {tag(shape): shape for shape in socket.commands}
    sent = set()
    for message in messages_of(file, request):
        assert message["$kind"] == "websocket-message"
        assert message["contentType"] == "json"
        content = json.loads(filled(message["content"]))
        msgspec.convert(content, shapes[content["type"]])
        sent.add(content["type"])
    assert sent == set(shapes)
