"""Tells which digits are a telephone number, as it is dialled in one country. Pure."""

from functools import cache, lru_cache

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberType,
    country_code_for_region,
    is_valid_number,
    number_type,
    parse,
)

FEWEST_DIGITS = 6  # of a number with its country code: Austria's and Germany's shortest
MOST_DIGITS = 15  # of a number with its country code (E.164)
_FEWEST_ABROAD = 11  # without a "+": shorter ones are chance
_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
# Once one network: 8 goes before a number of another town, and +7 is dialled as 8 too.
_SOVIET = {"AM", "AZ", "BY", "GE", "KG", "KZ", "MD", "RU", "TJ", "TM", "UA", "UZ"}
_NEIGHBOURS = ("7", "992", "993", "994", "995", "996", "998", "373", "374", "375", "380")


class Numbering:
    """The ways of one region (ISO 3166, like "UZ") to write a number."""

    def __init__(self, region: str) -> None:
        known = PhoneMetadata.metadata_for_region(region)
        self.region = region
        self.code = str(country_code_for_region(region))
        self.lengths = _possible_lengths(known)
        self.counts = {*self.lengths, *(len(self.code) + one for one in self.lengths), 11}
        self._trunk = (known.national_prefix if known else None) or ""
        self.fewest_digits = min(FEWEST_DIGITS, *self.lengths) if self.lengths else FEWEST_DIGITS

    def is_bare(self, digits: str) -> bool:
        """Return whether this is a number without any prefix: `901234567`."""
        return len(digits) in self.lengths and _is_valid(digits, self.region)

    def dials(self, digits: str) -> bool:
        """Return whether this makes a call from the region, with a prefix or without."""
        return self.is_bare(digits) or self._has_prefix(digits)

    def _has_prefix(self, digits: str) -> bool:
        count = len(digits)
        if digits.startswith("00"):
            return is_international(digits[2:])
        if self.code_first(digits) == count:
            return True
        if digits.startswith(f"{self.code}0") and self.is_bare(digits[len(self.code) + 1 :]):
            return True
        if self._trunk and digits.startswith(self._trunk) and count - 1 in self.lengths:
            return _is_valid(digits, self.region)
        if self.region not in _SOVIET:
            return digits[0] == "0" and self.is_bare(digits[1:])
        return self._is_soviet(digits)

    def _is_soviet(self, digits: str) -> bool:
        if digits.startswith("810") and is_international(digits[3:]):
            return True
        if digits[0] in "08" and self.is_bare(digits[1:]):
            return True
        if len(digits) == 11 and digits[0] in "78":
            return is_international(f"7{digits[1:]}")
        return digits.startswith(_NEIGHBOURS[1:]) and is_mobile_abroad(digits)

    def code_first(self, digits: str) -> int:
        """Return how many of these digits are a number that begins with the region's own country
        code.
        """
        if digits.startswith(self.code):
            for length in self.lengths:
                whole = digits[: len(self.code) + length]
                if len(whole) == len(self.code) + length and is_international(whole):
                    return len(whole)
        return 0

    def is_mobile(self, digits: str) -> bool:
        """Leave landlines out: they would double what random digits match."""
        if self.is_bare(digits):
            return _is_mobile(digits, self.region)
        return self._has_prefix(digits)

    def takes_apart(self, digits: str) -> bool:
        """Return whether the digits are several numbers, one glued to the next."""
        ends = {0}
        for start in range(len(digits)):
            if start in ends:
                for count in self.counts:
                    piece = digits[start : start + count]
                    if len(piece) == count and self.is_mobile(piece):
                        ends.add(start + count)
        return len(digits) in ends


@cache
def numbering_of(region: str) -> Numbering:
    return Numbering(region)


def is_international(digits: str) -> bool:
    """Return whether this is a number of any country, with its code."""
    return _may_be_international(digits) and _is_valid(f"+{digits}", "")


def _may_be_international(digits: str) -> bool:
    """Judge by the length alone, in a tenth of the time."""
    if not FEWEST_DIGITS <= len(digits) <= MOST_DIGITS:
        return False
    for size in (1, 2, 3):
        if (count := len(digits) - size) in _lengths_with(digits[:size]):
            return True
        # `+44 (0) 7911 123456`
        if digits[size : size + 1] in ("0", "8") and count - 1 in _lengths_with(digits[:size]):
            return True
    return False


@cache
def _lengths_with(code: str) -> set[int]:
    """Return the lengths of numbers with this country code, which is not counted."""
    regions = COUNTRY_CODE_TO_REGION_CODE.get(int(code), ())
    known = [
        PhoneMetadata.metadata_for_nongeo_region(int(code))
        if region == "001"
        else PhoneMetadata.metadata_for_region(region)
        for region in regions
    ]
    return {length for one in known for length in _possible_lengths(one)}


def _possible_lengths(known: PhoneMetadata | None) -> tuple[int, ...]:
    return tuple(known.general_desc.possible_length) if known and known.general_desc else ()


@lru_cache(maxsize=16_384)
def is_mobile_abroad(digits: str) -> bool:
    """Return whether this is a mobile number with a country code: without a "+", any digits might
    be another number.
    """
    if not _FEWEST_ABROAD <= len(digits) <= MOST_DIGITS or not is_international(digits):
        return False
    return _is_mobile(f"+{digits}", "")


@lru_cache(maxsize=16_384)
def _is_mobile(digits: str, region: str) -> bool:
    return number_type(parse(digits, region or None)) in _MOBILE


@lru_cache(maxsize=16_384)
def _is_valid(digits: str, region: str) -> bool:
    try:
        return bool(is_valid_number(parse(digits, region or None)))
    except NumberParseException:
        return False
