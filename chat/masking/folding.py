"""Reads a text as people do: ways of writing one letter or digit become one, what cannot be seen
goes. Each folded character knows where it stood, so the text itself is never changed. Pure.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_ORDINARY = re.compile(r"[\n\r\t -$&-~]*")  # ASCII that stands for itself: no controls, no "%"
_LINK = re.compile(r"(?:[a-z]{2,10}://|www\.|\w\.[a-z]{2,}/)\S*", re.IGNORECASE)
_ESCAPE = re.compile(r"%([2-7][0-9a-f])", re.IGNORECASE)
_UNSEEN = {"Cc", "Cf", "Cs", "Mn", "Me"}
_FILLERS = "\u115f\u1160\u3164\uffa0"  # letters of Hangul by category, without a glyph
# NFKC would make letters of some, or a digit beside others: what they look like instead.
_LOOKS = {
    "№": "№",
    "º": "°",
    "ª": "°",
    "\u2800": " ",
    "∕": "/",
    "⁄": "/",
    "™": " ",
    "\U0001f51f": "10",
    "。": ".",
    "｡": ".",
    **dict(zip("〇零一二三四五六七八九", "00123456789", strict=True)),  # letters, by category
}


class Folded(NamedTuple):
    source: str
    text: str
    places: Sequence[int]  # of each character of `text`, in the source

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a piece of the folded text stood, with the marks on its last character."""
        first, last = self.places[start], self.places[end - 1]
        stop = last + 1
        if self.source[last] == "%" and self.text[end - 1] != "%":
            stop += 2
        while stop < len(self.source) and unicodedata.category(self.source[stop]) in ("Mn", "Me"):
            stop += 1
        return first, stop


def folded(source: str) -> Folded:
    if _ORDINARY.fullmatch(source):
        return Folded(source, source.lower(), range(len(source)))
    escapes = _escapes(source) if "%" in source else {}
    made, places = [], []
    place = 0
    while place < len(source):
        escaped = escapes.get(place)
        for character in _reads(source[place]) if escaped is None else escaped:
            made.append(character)
            places.append(place)
        place += 1 if escaped is None else 3
    return Folded(source, "".join(made), places)


def _escapes(source: str) -> dict[int, str]:
    """Map the place of each `%2C` or the like in a link to what it stands for."""
    return {
        found.start(): chr(int(found[1], 16)).lower()
        for link in _LINK.finditer(source)
        for found in _ESCAPE.finditer(source, *link.span())
    }


@lru_cache(maxsize=16_384)
def _reads(character: str) -> str:
    """Return how a character reads: lower case, digits of every script and in any frame as 0-9."""
    if character in _LOOKS:
        return _LOOKS[character]
    if character in "\n\r\t":
        return character
    category = unicodedata.category(character)
    if category in _UNSEEN or character in _FILLERS:
        return ""
    value = unicodedata.numeric(character, -1)
    if category in ("Nd", "No") and value >= 0 and value == int(value) and value <= 50:
        return str(int(value))  # ahead of NFKC, which writes "(1)" and "1." for framed ones
    form = unicodedata.normalize("NFKC", character).casefold()
    return "".join(one for one in form if unicodedata.category(one) not in _UNSEEN)
