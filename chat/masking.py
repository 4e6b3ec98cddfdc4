"""Hides phone numbers and e-mail addresses in a text. Pure.

What is spelled out in words is not found: this keeps an honest rider's number from a driver, and
makes the rest an effort.
"""

import re
from collections.abc import Iterator
from functools import cache

from phonenumbers import (
    Leniency,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberMatcher,
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


@cache
def _fewest_digits(region: str) -> int:
    """Of any number that may stand in a text."""
    known = PhoneMetadata.metadata_for_region(region)
    lengths = known.general_desc.possible_length if known and known.general_desc else ()
    return min(_FEWEST_DIGITS, *lengths)


def _numbers(text: str, region: str) -> Iterator[tuple[int, int]]:
    matches = PhoneNumberMatcher(text, region, leniency=Leniency.VALID, max_tries=len(text))
    for match in matches:
        yield match.start, match.end


def _is_number(text: str, region: str) -> bool:
    digits = "".join(character for character in text if character.isdigit() or character == "+")
    for candidate in (digits, f"+{digits}"):
        try:
            if is_valid_number(parse(candidate, region)):
                return True
        except NumberParseException:
            continue
    return False
