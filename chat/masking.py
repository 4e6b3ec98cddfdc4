"""Hides phone numbers and e-mail addresses in a text. Pure.

What is spelled out in words is not found: this keeps an honest rider's number from a driver, and
makes the rest an effort.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import accumulate

from phonenumbers import (
    Leniency,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberMatcher,
    country_code_for_region,
    is_valid_number,
    parse,
)

MASK = "•••"
# Lengths are bounded, or a long text without an @ would cost its square.
_EMAIL = re.compile(r"[\w.%+-]{1,64}\s?@\s?[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_FEWEST_DIGITS = 6  # of a number with its country code: Austria's and Germany's shortest
# Digits with up to three separators between each two: the matcher finds no "9 0 1 2 3 4 5 6 7".
_SPREAD = re.compile(r"\+?\d(?:[\s().\-_/*,]{0,3}\d){6,14}")


def masked(text: str, region: str) -> str:
    """The text with a mask in place of each; numbers without a country code are of that region (ISO
    3166, like "UZ"). Masking twice changes nothing more.
    """
    if "@" in text:
        text = _EMAIL.sub(MASK, text)
    if sum(map(str.isdigit, text)) < _fewest_digits(region):  # most texts; the rest costs 0.1 ms
        return text
    for start, end in sorted(_numbers(text, region), reverse=True):
        text = text[:start] + MASK + text[end:]
    return _SPREAD.sub(lambda found: MASK if _is_number(found[0], region) else found[0], text)


_SEPARATORS = re.compile(r"[._:-]")
_DIGITS = re.compile(r"\d{6,}")
_GROUP, _LETTERS = re.compile(r"\d+"), re.compile(r"[A-Za-z]+")
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_HOST = re.compile(r"[A-Za-z]\.[A-Za-z]{2}")  # t.me, gmail.com
_HEX = re.compile(r"(?=(?:\d*[a-f]){2})[\da-f]{16,}", re.IGNORECASE)  # UUIDs, random bytes
_UUID = re.compile(r"(.{8})(.{4})(.{4})(.{4})(.{12})")  # without its hyphens
_FEWEST_IN_HEX = 9  # a shorter number than a mobile one is chance
_MOST_DIGITS = 15  # of a number with its country code (E.164)


def is_plain_id(id: str, region: str) -> bool:
    """Return whether an id that a client made up is nothing more: letters, digits and separators of
    ids, with no phone number among its digits (UUIDs, ULIDs, counters, times) and no host's name.
    """
    if not _PLAIN_ID.fullmatch(id) or _HOST.search(id):
        return False
    joined = _SEPARATORS.sub("", id)
    if _HEX.fullmatch(joined):
        runs = _runs_of_hex(id, joined, region)
    else:
        digits = "".join(filter(str.isdigit, joined))
        runs = [*_DIGITS.findall(id), *_DIGITS.findall(joined), digits]
        if any(_is_valid(run, region) for run in _padded(id, region)):
            return False
    return not any(_is_number(run, region) for run in {*map(_bare, runs)} - {""})


def _padded(id: str, region: str) -> Iterator[str]:
    """What may be a number of the region among other digits: groups in a row with no letter between
    them (`1-90-123-45-67`), or its country code and what follows (`1998901234567`). Any nine digits
    of a time would often be one by chance.
    """
    code, lengths = str(country_code_for_region(region)), _lengths(region)
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


def _runs_of_hex(id: str, joined: str, region: str) -> list[str]:
    """The digits in which hexadecimal ids hold a number by intent: groups without a letter that are
    padded or a number of the region, and numbers with its country code. Searched as other ids are,
    3 % of random ones would hold one.
    """
    uuid = _UUID.fullmatch(id)
    groups = uuid.groups() if uuid else [*filter(None, _SEPARATORS.split(id))]
    whole = ("".join(run) for start in range(len(groups)) for run in accumulate(groups[start:]))
    found = (run for run in whole if run.isdigit())
    code = str(country_code_for_region(region))
    within = (run for run in _DIGITS.findall(joined) if _bare(run).startswith(code))
    runs = [*(run for run in found if run.startswith("0") or _is_valid(run, region)), *within]
    return [run for run in runs if len(_bare(run)) >= _FEWEST_IN_HEX]


def _bare(digits: str) -> str:
    """Without the zeros that fill it up; empty for what is no number by its length."""
    digits = digits.lstrip("0")
    return digits if _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS else ""


@cache
def _fewest_digits(region: str) -> int:
    """Of any number that may stand in a text."""
    return min(_FEWEST_DIGITS, *_lengths(region))


@cache
def _lengths(region: str) -> tuple[int, ...]:
    """Of the region's numbers, without its country code."""
    known = PhoneMetadata.metadata_for_region(region)
    return tuple(known.general_desc.possible_length) if known and known.general_desc else ()


def _numbers(text: str, region: str) -> Iterator[tuple[int, int]]:
    matches = PhoneNumberMatcher(text, region, leniency=Leniency.VALID, max_tries=len(text))
    for match in matches:
        yield match.start, match.end


def _is_number(text: str, region: str) -> bool:
    digits = "".join(character for character in text if character.isdigit() or character == "+")
    return _is_valid(digits, region) or _is_valid(f"+{digits}", region)


def _is_valid(digits: str, region: str) -> bool:
    try:
        return is_valid_number(parse(digits, region))
    except NumberParseException:
        return False
