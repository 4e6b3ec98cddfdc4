"""Fields of the admin's forms that judge a text by what is seen of it."""

from typing import Any

from django import forms

from holodrive.realtime import characters


class SeenField(forms.CharField):
    """A text; one of which nothing is seen is none, whatever it consists of."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        return text if text is None or not characters.is_blank(text) else self.empty_value
