"""Hides contact details in a text: telephone numbers, e-mail addresses, names at messengers. Pure.

`folding` reads a text as people do, `handles` finds addresses and names, `numbers` the numbers that
neither `harmless` nor `own` explains, `numbering` knows what a number is, `ids` judges the ids that
apps make up. What is spelled out in words is not found: this keeps an honest rider's number from a
driver, and makes the rest an effort.
"""

from collections.abc import Iterable, Sequence

from chat.masking import handles, numbers
from chat.masking.folding import folded
from chat.masking.ids import is_plain_id

__all__ = ["MASK", "is_part", "is_plain_id", "masked", "masked_among"]

MASK = "•••"
_PASSES = 4  # a mask may let what stands beside it read as a contact; seen: one or two
_LONGEST_PART = 40  # code points: three of a keycap
_MOST_PARTS = 12  # beside a message: a number may come digit by digit
_NEAR = 100  # code points of a text with words that its neighbour may go on with
_MOST_IN_PART = 11  # digits: of a number without its last


def masked(text: str, region: str, own: Sequence[str] = ()) -> str:
    """Return the text with a mask in place of each contact; numbers without a country code are of
    that region (ISO 3166, like "UZ"), and what one of the expressions `own` fits is none. Masking
    twice changes nothing more.
    """
    for _ in range(_PASSES):
        once = _masked_once(text, region, own)
        if once == text:
            break
        text = once
    return text


def _masked_once(text: str, region: str, own: Sequence[str]) -> str:
    read = folded(text)
    hidden = [read.span(*span) for span in handles.spans(read.text)]
    if hidden:  # numbers are read as they will stand beside the masks
        text = _without(text, hidden)
        read = folded(text)
    return _without(text, [read.span(*span) for span in numbers.spans(read.text, region, own)])


def is_part(text: str) -> bool:
    """Return whether a text is a few digits and little else, as the part of a number is."""
    if len(text) > _LONGEST_PART:
        return False
    read = "".join(folded(text).text.split())
    digits = sum(map(str.isdigit, read))
    return digits * 2 >= len(read) and 0 < digits <= _MOST_IN_PART


def masked_among(
    before: Sequence[str], text: str, after: Sequence[str], region: str, own: Sequence[str] = ()
) -> str:
    """Return the text of a message between others of its sender that are parts as well: a mask in
    place of all of it, if it completes a number with them. All digits of the messages belong to it,
    or any count (`3-17`, `3-18`, `3-19`) would be a number now and then.
    """
    before = [part[-_NEAR:] for part in before[-_MOST_PARTS:]]
    after = [part[:_NEAR] for part in after[:_MOST_PARTS]]
    for first in range(len(before) + 1):
        for last in range(len(after) + 1):
            parts = (*before[first:], text, *after[:last])
            if len(parts) > 1 and _is_one_number(parts, region, own):
                return MASK
    return masked(text, region, own)


def _is_one_number(parts: Sequence[str], region: str, own: Sequence[str]) -> bool:
    """Return whether the parts are one number from end to end; words may come before it."""
    read = folded(" ".join(parts)).text
    digits = [place for place, character in enumerate(read) if character.isdigit()]
    begins = digits[0] if is_part(parts[0]) else len(folded(parts[0]).text)
    if sum(place >= begins for place in digits) > numbers.MOST_JOINED:
        return False
    spans = numbers.spans(read, region, own)
    return any(start <= begins and end > digits[-1] for start, end in spans)


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start > end or not pieces:
            pieces += [text[end:start], MASK]
        end = max(end, stop)
    return "".join([*pieces, text[end:]])
