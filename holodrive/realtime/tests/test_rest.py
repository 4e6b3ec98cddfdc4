"""What all REST endpoints share: errors in one shape, strict bodies, the schema and its page."""

import json
import re
from datetime import timedelta

import msgspec
import pytest
from django.core.management import call_command
from django.db import InterfaceError, OperationalError
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from chat.services import open_support
from holodrive.realtime.schema import Problem
from holodrive.realtime.tokens import ObtainSerializer
from testing.client import access_token, bearer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user(make_user):
    return make_user(password="holodrive-demo")


@pytest.fixture
def rest(user):
    return APIClient(headers=bearer(access_token(user)))


def refusal(answer):
    """Status and code of an answer that is an error in the one shape."""
    assert answer["Content-Type"] == "application/json"
    problem = msgspec.convert(answer.json(), Problem)
    assert set(answer.json()) == {"code", "message"}
    assert problem.message
    return answer.status_code, str(problem.code)


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nope", "/api/nope/", "/api/me/x/"])
def test_an_unknown_path_is_not_found(method, path):
    assert refusal(getattr(APIClient(), method)(path)) == (404, "not_found")


def test_a_path_without_its_slash_says_so(rest):
    answer = rest.get("/api/me")
    assert refusal(answer) == (404, "not_found")
    assert "slash" in answer.json()["message"]


def test_a_page_outside_of_the_api_is_djangos(client):
    assert client.get("/nope/")["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/api/me/", "/api/token/", "/api/realtime/ticket/"])
def test_a_method_that_a_path_does_not_take(rest, path):
    assert refusal(rest.put(path)) == (405, "method_not_allowed")


@pytest.mark.parametrize("token", ["x", "", "eyJ.eyJ.x"])
def test_a_wrong_token_is_unauthenticated(token):
    client = APIClient(headers=bearer(token))
    answer = client.get("/api/me/")
    assert refusal(answer) == (401, "unauthenticated")
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_refresh_token_is_no_access_token(user):
    client = APIClient(headers=bearer(ObtainSerializer.get_token(user)))
    assert refusal(client.get("/api/me/")) == (401, "unauthenticated")


def test_an_expired_token_is_told_apart(user):
    token = ObtainSerializer.get_token(user).access_token
    token.set_exp(lifetime=-timedelta(seconds=1))
    client = APIClient(headers=bearer(token))
    answer = client.get("/api/me/")
    assert refusal(answer) == (401, "token_expired")
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/api/token/refresh/", "/api/token/logout/"])
def test_so_is_an_expired_refresh_token(user, path):
    token = ObtainSerializer.get_token(user)
    token.set_exp(lifetime=-timedelta(seconds=1))
    answer = APIClient().post(path, {"refresh": str(token)}, format="json")
    assert refusal(answer) == (401, "token_expired")


def test_a_session_without_a_csrf_token_is_forbidden(user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert refusal(client.post("/api/devices/")) == (403, "forbidden")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{", (400, "invalid_json")),
        (" ", (400, "invalid_json")),
        ("", (400, "invalid_message")),
        ("\ufeff{}", (400, "invalid_json")),
        ("[" * 100_00 + "]" * 100_00, (400, "invalid_json")),
        ('{"platform": NaN}', (400, "invalid_json")),
        ("[]", (400, "invalid_message")),
        ("1", (400, "invalid_message")),
        ("null", (400, "invalid_message")),
        ('{"platform": "web", "token": "\\ud800"}', (400, "invalid_message")),
        ('{"platform": "web", "token": "\\u0000"}', (400, "invalid_message")),
        ('{"platform": "web", "token": "' + "x" * 65_536 + '"}', (413, "too_large")),
    ],
)
@pytest.mark.parametrize("path", ["/api/devices/", "/api/notifications/read-all/"])
def test_a_bad_body_is_refused_with_the_sockets_codes(rest, path, body, expected):
    if path != "/api/devices/" and body in ("", '{"platform": "web", "token": "\\u0000"}'):
        return  # a field that is unknown there, and a body that it can do without
    answer = rest.post(path, body.encode(), content_type="application/json")
    assert refusal(answer) == expected


NO_UNICODE = [
    b'{"token": "\xff"}',
    b'{"x": "\xed\xa0\x80"}',
    b'{"\xc0\x80": 1}',
    b'{"x": "\xf4\x90\x80\x80"}',
    b'{"x": "\xd0"}',
    b"\xff\xfe{\x00}\x00",
    '{"x": "ключ"}'.encode("cp1251"),
]


@pytest.mark.parametrize("body", NO_UNICODE)
@pytest.mark.parametrize("path", ["/api/devices/", "/api/token/", "/api/token/logout/"])
def test_a_body_that_is_not_utf_8_is_not_json(rest, path, body):
    assert refusal(rest.post(path, body, content_type="application/json")) == (400, "invalid_json")


def test_a_body_that_is_not_json_is_not_read(rest):
    answer = rest.post("/api/devices/", "token=x", content_type="text/plain")
    assert refusal(answer) == (415, "invalid_message")


def test_an_answer_in_another_form_is_refused(rest):
    assert refusal(rest.get("/api/me/", headers={"Accept": "text/html"}))[0] == 406


def test_what_nobody_caught_is_an_error_in_the_same_shape(rest, monkeypatch):
    def fail(*args):
        raise ZeroDivisionError

    monkeypatch.setattr("push.api.services.devices_of", fail)
    rest.raise_request_exception = False
    assert refusal(rest.get("/api/devices/")) == (500, "internal")


@pytest.mark.parametrize("fault", [OperationalError("database is locked"), InterfaceError()])
def test_a_database_that_does_not_answer_is_unavailable(rest, monkeypatch, fault, caplog):
    def fail(*args):
        raise fault

    monkeypatch.setattr("push.api.services.devices_of", fail)
    answer = rest.get("/api/devices/")
    assert (answer.status_code, answer["Content-Type"]) == (503, "application/json")
    assert 1 <= int(answer["Retry-After"]) <= 10
    content = answer.json()
    assert content.pop("message")
    assert content == {"code": "unavailable", "retryable": True}
    assert "The database did not do it" in caplog.text
    assert str(fault) not in answer.content.decode() or not str(fault)


@pytest.mark.parametrize("path", ["/api/devices/", "/api/conversations/"])
def test_without_a_limit_of_ours_djangos_holds(rest, settings, path):
    settings.REALTIME_MAX_FRAME_BYTES = 0
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    body = json.dumps({"subject": "x" * 100}).encode()
    answer = rest.post(path, body, content_type="application/json")
    assert refusal(answer) == (413, "too_large")


@pytest.mark.parametrize(
    "query", ["after_id=x", "before_id=-1", "limit=1.5", "after_id=" + "9" * 30]
)
@pytest.mark.parametrize("path", ["notifications/", "messages/search/"])
def test_a_wrong_bound_of_a_page_is_refused(rest, path, query):
    assert refusal(rest.get(f"/api/{path}?q=main&{query}")) == (400, "invalid_message")


# The schema


@pytest.fixture(scope="module")
def document():
    return SchemaGenerator().get_schema(request=None, public=True)


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_the_schema_is_made_without_a_warning(tmp_path):
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml")
    )


def test_every_endpoint_says_what_it_takes_and_gives(document):
    without_body = {
        "post /api/realtime/ticket/",
        "post /api/notifications/{notification_id}/read/",
        "post /api/conversations/{conversation_id}/claim/",
        "post /api/conversations/{conversation_id}/messages/{message_id}/unmask/",
    }
    found = dict(operations(document))
    assert len(found) > 15
    for name, operation in found.items():
        for status, response in operation["responses"].items():
            assert status == "204" or response["content"]["application/json"]["schema"], name
        assert operation["responses"]["default"], name
        assert operation["description"], name
        if name.split()[0] in ("post", "patch") and name not in without_body:
            assert operation["requestBody"]["content"]["application/json"]["schema"], name


def test_the_schema_is_made_of_the_structs_of_the_wire(document):
    components = document["components"]["schemas"]
    assert components["ChatMessage"]["properties"]["type"] == {"enum": ["chat_message"]}
    assert "SendMessage" in components, sorted(components)
    sent = components["SendMessage"]
    message = sent["properties"]["message"]
    assert (message["type"], message["minLength"], message["maxLength"]) == ("string", 1, 4000)
    assert "type" not in sent["properties"]  # the URL says it
    assert sent["required"] == ["message"]
    assert "rate_limited" in components["ErrorCode"]["enum"]
    mentioned = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert mentioned == set(components)


def test_the_schema_and_its_page_need_no_outside_host(client):
    schema = client.get("/api/schema/")
    assert schema.status_code == 200
    assert b"/api/realtime/ticket/" in schema.content
    page = client.get("/api/docs/")
    assert page.status_code == 200
    text = page.content.decode()
    assert "swagger-ui" in text
    assert re.findall(r"""(?:src|href)=["'](?:https?:)?//[^"']+""", text) == []


# A page that outlives its login


def test_a_page_of_another_user_reads_and_writes_nothing(make_user):
    owner, visitor = make_user("admin"), make_user("admin")
    conversation = open_support(user=make_user("rider")).conversation
    client = Client()
    client.force_login(visitor)
    path = f"/api/conversations/{conversation.pk}/"
    requests = [
        ("get", "/api/notifications/", None),
        ("post", "/api/notifications/read-all/", {"up_to_id": 1}),
        ("get", path, None),
        ("patch", path, {"status": "resolved"}),
        ("post", f"{path}claim/", None),
        ("post", f"{path}messages/", {"message": "Hello"}),
        ("post", f"{path}notes/", {"text": "A note"}),
        ("get", "/api/canned-replies/", None),
        ("post", "/api/realtime/ticket/", None),
        ("get", "/api/devices/", None),
    ]
    for whose, expected in ((owner.pk, {412}), (0, {412}), ("x", {412}), (visitor.pk, {200, 201})):
        for method, url, body in requests:
            headers = {"X-HoloDrive-User": str(whose)}
            answer = getattr(client, method)(url, body, "application/json", headers=headers)
            assert answer.status_code in expected, (whose, method, url)
            if expected == {412}:
                assert answer.json()["code"] == "another_user"
        if expected == {412}:
            conversation.refresh_from_db()
            assert (conversation.status, conversation.assignee) == ("open", None)
            assert not conversation.messages.exists()
    anonymous = Client().get("/api/notifications/", headers={"X-HoloDrive-User": str(owner.pk)})
    assert anonymous.json()["code"] == "unauthenticated"
