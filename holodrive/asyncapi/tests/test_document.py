"""The document says what the wire structs say, and the committed file says what it says."""

import json

import msgspec
import pytest
from django.core.management import CommandError, call_command

from chat.consumers import ChatConsumer
from chat.support_consumers import NotesConsumer, SupportConsumer
from holodrive.asyncapi import codes
from holodrive.asyncapi import document as generator
from holodrive.asyncapi.management.commands.asyncapi import Command
from holodrive.asyncapi.sockets import SOCKETS, keys, tag
from holodrive.realtime import wire
from notifications.consumers import NotificationConsumer

SHAPES = {name: shape for shape, name in keys().items()}
CONSUMERS = {
    "chat": ChatConsumer,
    "notifications": NotificationConsumer,
    "support": SupportConsumer,
    "notes": NotesConsumer,
}


def messages(document, operation):
    """The messages of an operation, by their names in the document."""
    references = document["operations"][operation]["messages"]
    return [reference["$ref"].rpartition("/")[2] for reference in references]


def test_the_committed_document_is_not_stale():
    call_command(Command(), "--check")  # else run manage.py asyncapi


def test_a_stale_file_fails_the_check(tmp_path):
    file = tmp_path / "asyncapi.json"
    call_command(Command(), f"--file={file}")
    call_command(Command(), "--check", f"--file={file}")
    file.write_text(file.read_text().replace("chat_message", "chat_massage", 1))
    with pytest.raises(CommandError, match="stale"):
        call_command(Command(), "--check", f"--file={file}")


def test_a_missing_file_fails_the_check(tmp_path):
    with pytest.raises(CommandError, match="stale"):
        call_command(Command(), "--check", f"--file={tmp_path / 'none.json'}")


@pytest.mark.parametrize("socket", SOCKETS, ids=lambda socket: socket.name)
def test_a_client_may_send_exactly_what_the_consumer_obeys(socket):
    assert set(socket.commands) == set(CONSUMERS[socket.name].commands)


@pytest.mark.parametrize("socket", SOCKETS, ids=lambda socket: socket.name)
def test_every_frame_of_a_socket_is_a_message_of_its_channel(document, socket):
    found = document["channels"][socket.name]["messages"]
    shapes = [*socket.commands, *socket.frames]
    assert len(shapes) > 8
    assert [SHAPES[name] for name in found] == shapes


@pytest.mark.parametrize("socket", SOCKETS, ids=lambda socket: socket.name)
def test_every_message_of_a_channel_has_an_operation(document, socket):
    for shape in socket.commands:
        assert SHAPES[messages(document, f"{socket.name}.receive.{tag(shape)}")[0]] is shape
    for shape in socket.frames:
        names = messages(document, f"{socket.name}.send.{tag(shape)}")
        assert shape in [SHAPES[name] for name in names]


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_message_has_a_summary(document, name):
    """From the struct's docstring, or else from `document._SUMMARIES`."""
    assert document["components"]["messages"][name].get("summary")


@pytest.mark.parametrize("name", sorted(generator._SUMMARIES))
def test_a_summary_is_kept_only_for_a_shape_without_a_docstring(name):
    assert SHAPES[name].__doc__ is None


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_an_example_is_a_frame_of_its_shape(document, name):
    examples = document["components"]["messages"][name]["examples"]
    assert examples
    for example in examples:
        frame = msgspec.convert(example["payload"], SHAPES[name])
        assert json.loads(msgspec.json.encode(frame)).items() >= example["payload"].items()


@pytest.mark.parametrize("name", [n for n, s in SHAPES.items() if issubclass(s, wire.Frame)])
def test_an_example_of_a_sent_frame_has_every_field_that_is_sent(document, name):
    payload = document["components"]["messages"][name]["payload"]
    fields = msgspec.structs.fields(SHAPES[name])
    always = {field.encode_name for field in fields if field.default is not msgspec.UNSET}
    assert set(payload["required"]) == always | {"type"}


@pytest.mark.parametrize(
    ("command", "answers"),
    [
        ("chat.receive.chat_message", ["MessageAck", "Error"]),
        ("chat.receive.message_edit", ["MessageEdited", "AlreadyEdited", "Error"]),
        ("chat.receive.message_delete", ["MessageDeleted", "AlreadyDeleted", "Error"]),
        ("chat.receive.ping", ["Pong", "Error"]),
        ("notifications.receive.resume", ["Resumed", "Error"]),
        ("notifications.receive.mark_as_read", ["NotificationRead", "AlreadyRead", "Error"]),
        ("chat.receive.typing", ["Error"]),
    ],
)
def test_a_command_names_its_answers(document, command, answers):
    reply = document["operations"][command]["reply"]["messages"]
    assert [reference["$ref"].rpartition("/")[2] for reference in reply] == answers


@pytest.mark.parametrize("code", list(wire.CloseCode))
def test_a_close_code_is_explained_with_what_to_do(document, code):
    (row,) = [row for row in document["x-close-codes"] if row["code"] == code]
    assert row["when"]
    assert row["then"]


@pytest.mark.parametrize("code", list(wire.ErrorCode))
def test_an_error_code_is_explained(code):
    assert codes.ERRORS[code]


def test_the_committed_document_names_no_installation(document):
    assert {server["host"] for server in document["servers"].values()} == {"{host}"}


def test_the_document_is_made_anew_each_time(document):
    document["channels"]["chat"]["parameters"].clear()
    document["components"]["securitySchemes"].clear()
    assert generator.document() == generator.document() != document
