"""The OpenAPI document states the bounds by which requests are refused: what it allows is not
answered 400, and what it forbids is.
"""

import json
from functools import cache
from urllib.parse import urlencode

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator

from chat.models import Conversation
from holodrive.realtime.wire import MAX_INTEGER
from testing.client import access_token

pytestmark = pytest.mark.django_db(transaction=True)

NUMBERS = (
    -1,
    0,
    1,
    100,
    101,
    MAX_INTEGER,
    MAX_INTEGER + 1,
    "0" * 4_400,
    "1" * 4_400,
    "",
    "1.5",
    "٣",
)
SIZES = (0, 1, 2, 50, 51, 64, 65, 100, 101, 200, 201, 1_000, 1_001, 4_000, 4_001)
TEXTS = (*("x" * size for size in SIZES), " ", "\n\t", "a\x00b", "  ab  ", " a ", "й" * 200, "\x00")
LATER = "2199-01-01T00:00:00Z"
CURSORS = (
    "",
    "_",
    "_7",
    "1_7",
    "1764580000000000_7",
    "x",
    "1_2_3_4",
    "9" * 40,
)
# Of fields: what a request may hold at most, beside what every kind of field is tried with.
BODIES: dict[tuple[str, str], dict[str, list[dict[str, object]]]] = {
    ("post", "/api/conversations/{conversation_id}/messages/"): {
        "message": [{"message": text} for text in TEXTS],
        "client_message_id": [{"message": "x", "client_message_id": text} for text in TEXTS],
    },
    ("patch", "/api/conversations/{conversation_id}/messages/{message_id}/"): {
        "message": [{"message": text} for text in TEXTS],
    },
    ("post", "/api/conversations/{conversation_id}/notes/"): {
        "text": [{"text": text} for text in TEXTS],
        "client_note_id": [{"text": "x", "client_note_id": text} for text in TEXTS],
    },
    ("post", "/api/conversations/{conversation_id}/read/"): {
        "up_to_id": [{"up_to_id": number} for number in (*NUMBERS, None, True)],
    },
    ("post", "/api/notifications/read-all/"): {
        "up_to_id": [{"up_to_id": number} for number in (*NUMBERS, None, True)],
    },
    ("patch", "/api/conversations/{conversation_id}/"): {
        "all": [
            {},
            {"status": "open"},
            {"status": "snoozed"},
            {"status": "gone"},
            {"snoozed_until": LATER},
            {"status": "open", "snoozed_until": LATER},
            {"status": "snoozed", "snoozed_until": LATER},
            {"priority": "high"},
            {"priority": 3},
            {"assignee": None},
            {"assignee": 0},
            {"assignee": "0x7"},
            {"assignee": "0"},
            {"assignee": "0" * 19},
            {"assignee": "1" * 20},
            {"assignee": MAX_INTEGER + 1},
        ],
    },
    ("post", "/api/conversations/"): {
        "subject": [{"subject": text} for text in TEXTS],
        "trip": [{"kind": "trip"}, {"kind": "trip", "rider": 7}, {"kind": "race"}],
    },
    ("put", "/api/push/preferences/"): {
        "category": [
            {
                "categories": [{"category": text, "channel": "web", "is_enabled": True}],
                "quiet_hours": None,
            }
            for text in TEXTS
        ],
        "quiet_hours": [
            {"categories": [], "quiet_hours": {"start": start, "end": "07:00", "time_zone": "UTC"}}
            for start in ("22:00", "22:00\n", "22:00 ", "\n22:00", "24:00", "٢٢:٠٠", "9:00", "")
        ],
        "categories": [
            {
                "categories": [
                    {"category": f"c{number}", "channel": "web", "is_enabled": False}
                    for number in range(count)
                ],
                "quiet_hours": None,
            }
            for count in (0, 200, 201)
        ],
    },
}


@cache
def document():
    return SchemaGenerator().get_schema(request=None, public=True)


def parameters():
    for path, operations in document()["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", ()):
            # A conversation that cannot be is 404, as one that is not.
            if parameter["in"] == "query" and parameter["name"] != "conversation":
                yield path, parameter


def tried(schema):
    if "enum" in schema:
        return [*schema["enum"], "none", ""]
    if schema["type"] == "integer":
        return NUMBERS
    return (
        CURSORS if "cursor" in schema.get("pattern", "") or "0,18" in schema["pattern"] else TEXTS
    )


def is_valid(schema, value):
    if schema.get("type") == "integer" and isinstance(value, str):
        if not value.isascii() or not value.isdigit() or len(value) > 19:
            return False
        value = int(value)
    return Draft202012Validator(schema).is_valid(value)


@pytest.fixture
def support(make_user):
    return make_user("admin")


@pytest.fixture
def address(trip, support):
    message = trip.messages.create(sender=support, text="Where are you?")
    ids = {"conversation_id": trip.pk, "message_id": message.pk}
    return lambda path: path.format(**ids)


@pytest.fixture
def ask(support):
    client = Client()
    headers = {"Authorization": f"Bearer {access_token(support)}"}

    def ask(method, path, body=None):
        content = None if body is None else json.dumps(body)
        return client.generic(
            method.upper(), path, content or "", "application/json", headers=headers
        )

    return ask


@pytest.mark.parametrize(
    ("path", "parameter"), [*parameters()], ids=lambda it: it if isinstance(it, str) else it["name"]
)
def test_a_parameter_is_refused_by_the_bounds_of_the_document(ask, address, path, parameter):
    wrong = {}
    for value in tried(parameter["schema"]):
        if isinstance(value, str) and value != value.strip() and value.strip():
            continue  # spaces at the ends are cut off, and not counted
        query = urlencode({parameter["name"]: value})
        other = "&q=where" if parameter.get("required") and parameter["name"] != "q" else ""
        if "search" in path and parameter["name"] != "q":
            other = "&q=where"
        answer = ask("get", f"{address(path)}?{query}{other}")
        is_refused = answer.status_code == 400
        assert is_refused or answer.status_code in (200, 404), answer.content
        if is_refused == is_valid(parameter["schema"], value):
            wrong[value] = answer.status_code
    assert wrong == {}


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [(method, path, field) for (method, path), fields in BODIES.items() for field in fields],
)
def test_a_body_is_refused_by_the_bounds_of_the_document(ask, address, method, path, field):
    operation = document()["paths"][path][method]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    validator = Draft202012Validator({**schema, "components": document()["components"]})
    wrong = []
    for body in BODIES[method, path][field]:
        answer = ask(method, address(path), body)
        is_refused = answer.status_code == 400
        assert answer.status_code < 500, (body, answer.content)
        if is_refused == validator.is_valid(body):
            wrong.append((body, answer.status_code, answer.content[:200]))
    assert wrong == []
    assert Conversation.objects.exists()


@pytest.mark.parametrize("kind", ["xml", "html", "json", "yaml", "openapi", "none", "", "\x00"])
@pytest.mark.parametrize("path", ["/api/schema/", "/api/docs/", "/api/me/", "/api/docs/realtime/"])
def test_an_unknown_format_is_no_error_of_the_server(kind, path):
    assert Client().get(path, {"format": kind}).status_code in (200, 401, 404, 406)


@pytest.mark.parametrize("text", ["1", "1\n", "1\r\nX-Of: us", '1"', "é", "9" * 4_400, "\x00"])
@pytest.mark.parametrize("name", ["version", "lang"])
def test_no_parameter_of_the_schema_gets_into_a_header(name, text):
    answer = Client().get("/api/schema/", {name: text})
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == 'inline; filename="HoloDrive realtime.yaml"'
