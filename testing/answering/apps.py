"""Connects a receiver of every model and one by the model's name, before the model is there, and
another once all are.
"""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_save


def answer(instance: Any, created: bool, question: str, text: str) -> None:
    """Send an answer to a new message that asks, as its own sender."""
    if created and getattr(instance, "text", "") == question:
        instance.conversation.messages.create(sender=instance.sender, text=text)


def answer_of_all(instance: Any, created: bool, **kwargs: Any) -> None:
    answer(instance, created, "ask", "of all")


def answer_at_once(instance: Any, created: bool, **kwargs: Any) -> None:
    answer(instance, created, "ask", "first")


def answer_later(instance: Any, created: bool, **kwargs: Any) -> None:
    answer(instance, created, "ask", "second")


post_save.connect(answer_of_all)
post_save.connect(answer_at_once, sender="chat.Message")


class AnsweringConfig(AppConfig):
    name = "testing.answering"

    def ready(self) -> None:
        post_save.connect(answer_later, sender="chat.Message")
