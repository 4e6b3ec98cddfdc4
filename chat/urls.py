from django.urls import path

from chat import api

urlpatterns = [
    path("conversations/<str:conversation_id>/messages/", api.Messages.as_view(), name="messages"),
]
