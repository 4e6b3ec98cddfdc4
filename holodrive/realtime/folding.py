"""One spelling for all that are read alike: what is searched, and what is searched for. Pure.

Two texts that differ in case, accents, apostrophes, digits of other scripts, spaces or invisible
characters fold to the same one.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from holodrive.realtime.characters import is_blank

# Uzbek's letter Oʻ has U+02BB, and its tutuq belgisi U+02BC: people type whatever looks like them.
_APOSTROPHES = "'`\u00b4\u0374\u0384\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u02ca\u02cb\u02f4"
_APOSTROPHES += "\u055a\u05f3\u1fbd\u1fbf\u1fef\u1ffd\u1ffe\u2018\u2019\u201a\u201b\u2032\u2035"
_APOSTROPHES += "\ua78b\ua78c\uff07\uff40"
_NO_APOSTROPHES = dict.fromkeys(map(ord, _APOSTROPHES))
# Latin letters whose stroke, or second half, Unicode does not take apart.
_LETTERS = {"ı": "i", "ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe"}
# Signs that keyboards put in place of the plain ones. (Dashes are a category of Unicode's.)
_PLAIN = {**_LETTERS, "\u2212": "-", **dict.fromkeys("«»“”„‟〝〞", '"')}
# Combining marks that take no room (Mn), enclose (Me); format characters and controls.
_UNSEEN = {"Mn", "Me", "Cf", "Cc"}
_CACHED = 0x3000  # alphabets; above are tens of thousands of ideographs

LONGEST = 20_000  # characters that are stored: of 4,000, folding can make 72,000
# Of a query: SQLite refuses a pattern of 50,000 bytes, and 1,000 conditions in a row. What is cut
# off would only have narrowed the search.
LONGEST_PHRASE, MOST_WORDS = 10_000, 50

_BETWEEN = r"[ .,;()/_*+=#:|~\-\u00b7\u2010-\u2015\u2212]{0,3}"  # the digits of one number
_RUN = re.compile(rf"[+(]{{0,2}}[0-9](?:{_BETWEEN}[0-9]){{4,}}")
_NUMBER = re.compile(rf"[+( ]{{0,3}}[0-9](?:{_BETWEEN}[0-9]){{6,}}[ ).]{{0,3}}")
_NATIONAL = 9  # digits that a number has in common with or without its country and trunk code


class _Signs(dict[int, str | int | None]):
    """What becomes of a character, by its code point: for `str.translate`."""

    def __missing__(self, code: int) -> str | int | None:
        found = _sign(chr(code))
        if code < _CACHED:
            self[code] = found
        return found


def _sign(sign: str) -> str | int | None:
    if sign.isspace():
        return " "
    if sign in _APOSTROPHES or unicodedata.category(sign) in _UNSEEN or is_blank(sign):
        return None
    if unicodedata.category(sign) == "Pd":
        return "-"
    digit = unicodedata.decimal(sign, None)
    return str(digit) if digit is not None else _PLAIN.get(sign, ord(sign))


_SIGNS = _Signs()


def fold(text: str) -> str:
    """The one spelling, on one line. Folding twice changes nothing more."""
    if text.isascii():
        text = text.lower().translate(_SIGNS)
    else:
        # Apostrophes first: NFKD makes a space and a mark of some.
        plain = unicodedata.normalize("NFKD", text.translate(_NO_APOSTROPHES)).casefold()
        plain = unicodedata.normalize("NFKD", plain).translate(_SIGNS)
        text = unicodedata.normalize("NFC", plain)
    return " ".join(text.split())


def joined(folded: str) -> str:
    """With the digits of each number in one: `+998 (90) 123-45-67` as 998901234567."""
    return _RUN.sub(lambda run: "".join(filter(str.isdigit, run[0])), folded)


@lru_cache(maxsize=256)  # an announcement is one text in 10,000 rows
def stored(*texts: str) -> str:
    """What a column of these texts has: each on a line of its own, and once more with its numbers
    joined if that is another text. No query has a line break, so none finds over two.
    """
    lines = [line for text in texts for folded in [fold(text)] for line in (folded, joined(folded))]
    return "\n".join(filter(None, dict.fromkeys(lines)))[:LONGEST]


def phrases(text: str) -> tuple[str, ...]:
    """What to look for in such a column, any of them. None if nothing is left: only marks."""
    folded = fold(text)
    found = dict.fromkeys((folded, joined(folded), *_national(folded)))
    return tuple(phrase[:LONGEST_PHRASE] for phrase in found if phrase)


def _national(folded: str) -> Iterator[str]:
    """The end of a number that has a country or trunk code: `+998 90 123 45 67` and 901234567, or
    `8 916 123-45-67` and `+7 916 ...` are the same phone.
    """
    if not _NUMBER.fullmatch(folded):
        return
    digits = "".join(filter(str.isdigit, folded))
    is_international = "+" in folded[:3] or digits.startswith("00")
    has_trunk_code = len(digits) == 10 and digits[0] in "08"
    if has_trunk_code or len(digits) in (11, 12) or (is_international and 10 <= len(digits) <= 17):
        yield digits[-_NATIONAL:]


class Word(NamedTuple):
    """A word of a query: as it was typed, and what it may be in a folded column."""

    typed: str
    phrases: tuple[str, ...]


_WORDS = re.compile(r'"([^"]+)"|(\S+)')


def words(text: str) -> list[Word]:
    """The words of a query, each of which must be found; in double quotes several are one, and so
    is a phone number.
    """
    text = text.replace("\x00", "")  # PostgreSQL refuses a query with one
    if _NUMBER.fullmatch(fold(text)):
        return [Word(text.strip(), phrases(text))]
    found = [quoted or plain for quoted, plain in _WORDS.findall(text)][:MOST_WORDS]
    return [Word(word, phrases(word)) for word in found]
