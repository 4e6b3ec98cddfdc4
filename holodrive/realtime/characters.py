"""Text as people see it: whole characters, what leaves no mark on the screen, and directions that
end where their text ends. Knows no app.

A character is an extended grapheme cluster (UAX #29); directions are those of UAX #9.
"""

from functools import cache

import regex

# The longest emoji have ten code points (a kiss with two skin tones), and Unicode's stream-safe
# text has at most thirty marks on one letter; what has hundreds shares its neighbours' room.
_POINTS = 16
_CHARACTER = regex.compile(r"\X")

# Spaces, controls, what Unicode calls ignorable in display (joiners, fillers, selectors, tags),
# and what has an empty picture: Braille's blank, the object that a text has lost, a null notehead,
# Egyptian blanks, a Khitan filler. Signs that stand before numbers are format characters with ink.
_SEEN = regex.compile(
    r"[^\p{Z}\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}"
    r"\u2800\ufffc\U0001d159\U00013441\U00013442\U00016fe4]"
    r"|\p{Prepended_Concatenation_Mark}"
)

_FSI, _PDI = "\u2068", "\u2069"
_OPENING = "\u2066\u2067\u2068"
_ISOLATES = regex.compile(r"[\u2066-\u2069]")
_CONTROLS = regex.compile(r"\p{Bidi_Control}")
# The library calls R whatever it does not know, such as the emoji of a later year.
_OTHER_WAY = regex.compile(r"[\p{Bidi_Control}\p{bc=AL}\p{bc=AN}]|(?!\p{Cn})\p{bc=R}")
_PARAGRAPHS = regex.compile(r"(\p{bc=B}+)")  # what ends every direction that is still open
_LINE_ENDS = regex.compile(r"[\p{bc=B}\v\f\u2028]+")  # the last three end none


def first(text: str, most: int) -> str:
    """Return the first `most` characters of a text, as far as they have no more code points than
    such characters have.
    """
    if len(text) <= most:
        return text
    return within(_beginning(most).match(text)[0], most * _POINTS)


@cache
def _beginning(most: int) -> "regex.Pattern[str]":
    return regex.compile(rf"\X{{0,{most}}}")


def within(text: str, points: int) -> str:
    """Return as many whole characters of a text as fit into so many code points. Of a first one
    that is longer than that, the marks that do not fit are left out.
    """
    if len(text) <= points:
        return text
    end = 0
    for character in _CHARACTER.finditer(text):
        if character.end() > points:
            break
        end = character.end()
    return text[: end or points]


def is_blank(text: str) -> bool:
    """Whether nothing of a text is seen."""
    return _SEEN.search(text) is None


def one_line(name: str) -> str:
    """Return a name that can stand in a sentence: without line ends, and without isolates that it
    leaves open or ends for others.
    """
    return closed(_LINE_ENDS.sub(" ", name))


def closed(text: str) -> str:
    """Return a text without the isolates that it leaves open, and the ends of such as it has not
    opened: those would change the direction of what stands around it. (Embeddings and overrides
    end with whatever isolates the text.)
    """
    if not _ISOLATES.search(text):
        return text
    return "".join(map(_closed, _PARAGRAPHS.split(text)))


def _closed(paragraph: str) -> str:
    kept, left_open = list(paragraph), []
    for place, sign in enumerate(paragraph):
        if sign in _OPENING:
            left_open.append(place)
        elif sign == _PDI and left_open:
            left_open.pop()
        elif sign == _PDI:
            kept[place] = ""
    for place in left_open:
        kept[place] = ""
    return "".join(kept)


def isolated(text: str, *, at_end: bool = False) -> str:
    """Return a text for the inside of a plain sentence: between FSI and PDI if it has a direction
    of its own, and else as it is. `at_end`: nothing follows it, so letters of the other direction
    move nothing, and only one with controls is isolated.
    """
    if not (_CONTROLS if at_end else _OTHER_WAY).search(text):
        return text
    parts = _PARAGRAPHS.split(text)  # each second one is what separates them
    return "".join(
        part if place % 2 or not part else f"{_FSI}{_closed(part)}{_PDI}"
        for place, part in enumerate(parts)
    )
