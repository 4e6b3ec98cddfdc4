"""Judges the ids that apps make up for their messages. Pure."""

import re
from collections.abc import Iterator
from itertools import accumulate, chain

from chat.masking import handles, numbers
from chat.masking.folding import folded
from chat.masking.numbering import (
    FEWEST_DIGITS,
    MOST_DIGITS,
    Numbering,
    is_international,
    numbering_of,
)

_SEPARATORS = re.compile(r"[._:-]")
_DIGITS = re.compile(r"\d{6,}")
_GROUP, _LETTERS = re.compile(r"\d+"), re.compile(r"[A-Za-z]+")
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_HOST = re.compile(r"[A-Za-z]\.[A-Za-z]{2}")  # t.me, gmail.com
# Random bytes, and UUIDs.
_HEX = re.compile(
    r"(?=(?:[-\d]*[a-f]){2})(?:[\da-f]{16,}|[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12})",
    re.IGNORECASE,
)
_UUID = re.compile(r"(.{8})(.{4})(.{4})(.{4})(.{12})")  # without its hyphens
_FEWEST_IN_HEX = 9  # a shorter number than a mobile one is chance


def is_plain_id(id: str, region: str) -> bool:
    """Return whether an id that a client made up is nothing more: letters, digits and separators of
    ids, with no phone number among its digits (UUIDs, ULIDs, counters, times) and no host's name;
    nor anything else that a message would not show.
    """
    if not _PLAIN_ID.fullmatch(id) or _HOST.search(id):
        return False
    numbering = numbering_of(region)
    joined = _SEPARATORS.sub("", id)
    if _HEX.fullmatch(id):
        runs = _runs_of_hex(id, joined, numbering)
    elif _is_hidden_in_texts(id, region):
        return False
    else:
        digits = "".join(filter(str.isdigit, joined))
        runs = [*_DIGITS.findall(id), *_DIGITS.findall(joined), digits]
        if any(_is_whole(run, numbering) for run in _padded(id, numbering)):
            return False
    return not any(_is_number(run, numbering) for run in {*map(_bare, runs)} - {""})


def _is_hidden_in_texts(id: str, region: str) -> bool:
    """Not asked of hexadecimal ids, of which 3 % would be."""
    read = folded(id).text
    found = chain(handles.spans(read), numbers.spans(read, region, ()))
    return next(found, None) is not None


def _padded(id: str, numbering: Numbering) -> Iterator[str]:
    """What may be a number of the region among other digits: groups in a row with no letter between
    them (`1-90-123-45-67`), or its country code and what follows (`1998901234567`). Any nine digits
    of a time would often be one by chance.
    """
    code, lengths = numbering.code, numbering.lengths
    for part in _LETTERS.split(id):
        groups = _GROUP.findall(part)
        for start in range(len(groups)):
            for run in accumulate(groups[start:]):
                if len(run) in lengths or len(run) - len(code) in lengths:
                    yield run
    digits = "".join(_GROUP.findall(id))
    for found in re.finditer(f"(?={code})", digits) if len(code) > 1 else ():
        end = found.start() + len(code)
        yield from (digits[found.start() : end + length] for length in lengths)


def _runs_of_hex(id: str, joined: str, numbering: Numbering) -> list[str]:
    """The digits in which hexadecimal ids hold a number by intent: groups without a letter that are
    padded or a number of the region, and numbers with its country code. Searched as other ids are,
    3 % of random ones would hold one.
    """
    uuid = _UUID.fullmatch(id)
    groups = uuid.groups() if uuid else [*filter(None, _SEPARATORS.split(id))]
    whole = ("".join(run) for start in range(len(groups)) for run in accumulate(groups[start:]))
    found = (run for run in whole if run.isdigit())
    within = (run for run in _DIGITS.findall(joined) if _bare(run).startswith(numbering.code))
    runs = [*(run for run in found if run.startswith("0") or _is_whole(run, numbering)), *within]
    return [run for run in runs if len(_bare(run)) >= _FEWEST_IN_HEX]


def _is_whole(digits: str, numbering: Numbering) -> bool:
    return numbering.is_bare(digits) or numbering.code_first(digits) == len(digits)


def _bare(digits: str) -> str:
    """Without the zeros that fill it up; empty for what is no number by its length."""
    digits = digits.lstrip("0")
    return digits if FEWEST_DIGITS <= len(digits) <= MOST_DIGITS else ""


def _is_number(digits: str, numbering: Numbering) -> bool:
    return numbering.dials(digits) or is_international(digits)
