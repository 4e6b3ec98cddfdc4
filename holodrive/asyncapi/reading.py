"""The document arranged for a reader: references followed, schemas turned into rows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A row of a table of fields; `name` is dotted inside an object."""

    name: str
    kind: str
    required: bool


@dataclass(frozen=True)
class Message:
    """A frame of one socket; `answers` are those that a command may get."""

    anchor: str
    name: str
    title: str
    text: str
    fields: list[Field]
    examples: list[str]
    answers: list[tuple[str, str]]


class Channel:
    """One socket: what a client sends there and what it gets."""

    def __init__(self, api: "Reading", name: str, content: Json) -> None:
        self._api = api
        self.name = name
        self.title = content["title"]
        self.address = content["address"]
        self.texts = [content["summary"], content["description"]]
        self.parameters = content.get("parameters", {})
        self.query = content["bindings"]["ws"]["query"]["properties"]

    @cached_property
    def sent(self) -> list[Message]:
        return list(self._messages("receive"))

    @cached_property
    def received(self) -> list[Message]:
        return list(self._messages("send"))

    def _messages(self, action: str) -> Iterator[Message]:
        for operation in self._api.document["operations"].values():
            on_this = operation["channel"]["$ref"] == f"#/channels/{self.name}"
            if on_this and operation["action"] == action:
                replies = operation.get("reply", {}).get("messages", [])
                for reference in operation["messages"]:
                    yield self._message(reference, replies)

    def _message(self, reference: Json, replies: list[Json]) -> Message:
        message = self._api.follow(reference)
        summary, description = message.get("summary", ""), message.get("description", "")
        return Message(
            anchor=self._anchor(reference),
            name=message["name"],
            title=message["title"],
            text=description or summary,
            fields=list(self._api.fields(message["payload"])),
            examples=[_shown(example["payload"]) for example in message["examples"]],
            answers=[(self._anchor(it), self._api.follow(it)["title"]) for it in replies],
        )

    def _anchor(self, reference: Json) -> str:
        return f"{self.name}-{_last(reference)}"


class Reading:
    """What the template shows of a document."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self.title = document["info"]["title"]
        self.paragraphs = document["info"]["description"].split("\n\n")
        server = next(iter(document["servers"].values()))
        self.url = f"{server['protocol']}://{server['host']}"
        self.security = document["components"]["securitySchemes"]
        self.closes = document["x-close-codes"]
        self.errors = document["x-error-codes"]
        self.channels = [
            Channel(self, name, content) for name, content in document["channels"].items()
        ]

    def follow(self, node: Json) -> Json:
        """What a reference leads to, through any number of them."""
        while "$ref" in node:
            found: Any = self.document
            for part in node["$ref"].split("/")[1:]:
                found = found[part]
            node = found
        return node

    def fields(self, schema: Json, prefix: str = "") -> Iterator[Field]:
        required = schema.get("required", [])
        for name, content in schema["properties"].items():
            yield Field(prefix + name, self._kind(content), name in required)
            inner = self.follow(content)
            if "properties" in inner:
                yield from self.fields(inner, f"{prefix}{name}.")

    def _kind(self, schema: Json) -> str:
        if "anyOf" in schema:
            return " or ".join(self._kind(choice) for choice in schema["anyOf"])
        if "$ref" in schema and "enum" in self.follow(schema):
            return _last(schema)
        schema = self.follow(schema)
        if "enum" in schema:
            return " or ".join(json.dumps(value) for value in schema["enum"])
        kind = str(schema.get("type", "any"))
        if kind == "array":
            kind = f"array of {self._kind(schema.get('items', {}))}"
        return kind + _limits(schema)


def _limits(schema: Json) -> str:
    unit = " characters" if schema.get("type") == "string" else ""
    low = schema.get("minLength", schema.get("minimum"))
    high = schema.get("maxLength", schema.get("maximum"))
    if high == 2**63 - 1:
        high = None
    match low, high:
        case None, None:
            return ""
        case None, _:
            return f", at most {high:,}{unit}"
        case _, None:
            return f", at least {low:,}{unit}"
    return f", {low:,} to {high:,}{unit}"


def _shown(payload: Json) -> str:
    return json.dumps(payload, indent=2, ensure_ascii=False)


def _last(reference: Json) -> str:
    return str(reference["$ref"]).rpartition("/")[2]
