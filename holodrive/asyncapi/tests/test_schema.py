"""The document against the official schema of AsyncAPI, and the frames against the document."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from holodrive.asyncapi.document import document as build

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
OFFICIAL = Draft7Validator(json.loads((HERE / "asyncapi-3.1.0.schema.json").read_text()))
DOCUMENT = build()
MESSAGES = DOCUMENT["components"]["messages"]


def follow(reference):
    found = DOCUMENT
    for part in reference["$ref"].split("/")[1:]:
        found = found[part]
    return follow(found) if "$ref" in found else found


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from references(inner)


def fits(payload, message):
    schema = {**message["payload"], "components": DOCUMENT["components"]}
    return Draft7Validator(schema).is_valid(payload)


def protocol_examples():
    """Each example of the protocol page."""
    page = (ROOT / "docs" / "reference" / "protocol.md").read_text()
    for block in page.split("\n```json\n")[1:]:
        yield json.loads(block.partition("\n```")[0])


def test_the_document_is_valid():
    assert [error.message for error in OFFICIAL.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    "harm",
    [
        {"asyncapi": "2.6.0"},
        {"servers": {"this": {"protocol": "ws"}}},
        {"operations": {"chat": {"action": "shout", "channel": {"$ref": "#/channels/chat"}}}},
    ],
)
def test_the_official_schema_refuses_a_wrong_document(harm):
    assert not OFFICIAL.is_valid(DOCUMENT | harm)


def test_every_reference_leads_somewhere():
    found = list(references(DOCUMENT))
    assert len(found) > 50
    for reference in found:
        assert follow(reference)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_an_example_is_valid(name):
    for example in MESSAGES[name]["examples"]:
        assert fits(example["payload"], MESSAGES[name])


@pytest.mark.parametrize("name", sorted(DOCUMENT["operations"]))
def test_an_example_fits_exactly_one_message_of_its_operation(name):
    candidates = [follow(message) for message in DOCUMENT["operations"][name]["messages"]]
    for message in candidates:
        for example in message["examples"]:
            matches = [other["title"] for other in candidates if fits(example["payload"], other)]
            assert matches == [message["title"]]


@pytest.mark.parametrize("example", list(protocol_examples()), ids=lambda example: example["type"])
def test_an_example_of_the_protocol_page_fits_a_message(example):
    of_its_type = [message for message in MESSAGES.values() if message["name"] == example["type"]]
    assert any(fits(example, message) for message in of_its_type)
