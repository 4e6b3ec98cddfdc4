from django.urls import path

from chat import api

urlpatterns = [
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
    path("messages/search/", api.MessageSearch.as_view(), name="message-search"),
    path("unread/", api.UnreadCounts.as_view(), name="unread"),
]
