"""Each conversation has two streams."""

from chat import events, note_events
from chat.models import Conversation, Message, Note
from holodrive.realtime import restoration

restoration.register(events.stream_of, Conversation, Message)
restoration.register(note_events.stream_of, Conversation, Note)
