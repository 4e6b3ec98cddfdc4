"""The work of support over REST: claim, notes, unmask, canned replies, whom to assign to."""

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from chat import canned, events, looks, note_events, notes, queue_events, services, workflow
from chat.models import SUPPORT_PERMISSION
from holodrive.realtime import log, schema
from holodrive.realtime.rest import Page, View, answer, page, read_body


class NotePage(Page, kw_only=True):
    results: list[note_events.NoteAdded]


class CannedReplyList(msgspec.Struct, kw_only=True):
    results: list[queue_events.CannedReplyItem]


class AgentList(msgspec.Struct, kw_only=True):
    results: list[events.Person]


class Claim(View):
    @extend_schema(request=None, responses=events.ConversationItem)
    def post(self, request: Request, conversation_id: str) -> Response:
        """Make an unassigned conversation the caller's; 409 says who was first."""
        id = services.conversation_id(conversation_id)
        workflow.claim(user=request.user, conversation_id=id)
        return answer(looks.conversation_of(request.user, id))


class Notes(View):
    @extend_schema(parameters=schema.PAGE, responses=NotePage)
    def get(self, request: Request, conversation_id: str) -> Response:
        """A page of support's private notes."""
        id = services.conversation_id(conversation_id)
        rows = notes.notes_of(request.user, id)
        stream = note_events.stream_of(id)
        head = log.heads([stream]).get(stream, 0)  # before the rows, as for messages
        return page(request, rows, note_events.note, head)

    @extend_schema(
        request=note_events.AddNote,
        responses={200: note_events.NoteAdded, 201: note_events.NoteAdded},
    )
    def post(self, request: Request, conversation_id: str) -> Response:
        """Write a note: 201 when stored, 200 if it was already."""
        asked = read_body(request, note_events.AddNote)
        written = notes.add_note(
            user=request.user,
            conversation_id=services.conversation_id(conversation_id),
            text=asked.text,
            client_note_id=asked.client_note_id,
        )
        return answer(note_events.note(written.note), 200 if written.duplicate else 201)


class Note(View):
    @extend_schema(request=note_events.EditNote, responses=note_events.NoteAdded)
    def patch(self, request: Request, conversation_id: str, note_id: int) -> Response:
        """Edit one's own note; the audit log says so."""
        asked = read_body(request, note_events.EditNote)
        note = notes.edit_note(
            user=request.user,
            conversation_id=services.conversation_id(conversation_id),
            note_id=note_id,
            text=asked.text,
        )
        return answer(note_events.note(note))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, conversation_id: str, note_id: int) -> Response:
        """Take back one's own note: its text goes, for everybody."""
        id = services.conversation_id(conversation_id)
        notes.delete_note(user=request.user, conversation_id=id, note_id=note_id)
        return Response(status=204)


class Unmask(View):
    @extend_schema(request=None, responses=queue_events.Unmasked)
    def post(self, request: Request, conversation_id: str, message_id: int) -> Response:
        """A message as it was sent; the audit log says who asked."""
        id = services.conversation_id(conversation_id)
        return answer(workflow.unmask(user=request.user, conversation_id=id, message_id=message_id))


class CannedReplies(View):
    @extend_schema(parameters=[schema.CONVERSATION], responses=CannedReplyList)
    def get(self, request: Request) -> Response:
        """All of them by code, with the names of a conversation if one is given."""
        asked = request.query_params.get("conversation")
        id = None if asked is None else services.conversation_id(asked)
        return answer(CannedReplyList(results=canned.replies(request.user, id)))


class Agents(View):
    @extend_schema(responses=AgentList)
    def get(self, request: Request) -> Response:
        """Whom a conversation can be assigned to."""
        workflow.require(request.user, SUPPORT_PERMISSION)
        return answer(AgentList(results=[events.person(user) for user in workflow.agents()]))
