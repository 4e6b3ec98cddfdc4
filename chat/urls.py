from django.urls import path
from django.views.decorators.cache import cache_control
from django.views.i18n import JavaScriptCatalog

from chat import api, support_api

# As notifications/texts.js.
_texts = cache_control(private=True, max_age=3600)(JavaScriptCatalog.as_view(packages=["chat"]))

urlpatterns = [
    path("conversations/texts.js", _texts, name="chat-texts"),
    path("conversations/", api.Conversations.as_view(), name="conversations"),
    path("conversations/<str:conversation_id>/", api.Conversation.as_view(), name="conversation"),
    path(
        "conversations/<str:conversation_id>/read/",
        api.ConversationRead.as_view(),
        name="conversation-read",
    ),
    path("conversations/<str:conversation_id>/messages/", api.Messages.as_view(), name="messages"),
    path(
        "conversations/<str:conversation_id>/messages/<int:message_id>/",
        api.Message.as_view(),
        name="message",
    ),
    path(
        "conversations/<str:conversation_id>/messages/<int:message_id>/unmask/",
        support_api.Unmask.as_view(),
        name="message-unmask",
    ),
    path(
        "conversations/<str:conversation_id>/claim/",
        support_api.Claim.as_view(),
        name="conversation-claim",
    ),
    path("conversations/<str:conversation_id>/notes/", support_api.Notes.as_view(), name="notes"),
    path(
        "conversations/<str:conversation_id>/notes/<int:note_id>/",
        support_api.Note.as_view(),
        name="note",
    ),
    path("canned-replies/", support_api.CannedReplies.as_view(), name="canned-replies"),
    path("agents/", support_api.Agents.as_view(), name="agents"),
    path("messages/search/", api.MessageSearch.as_view(), name="message-search"),
    path("unread/", api.UnreadCounts.as_view(), name="unread"),
]
