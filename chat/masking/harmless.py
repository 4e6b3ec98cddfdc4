"""Finds what is made of digits and no telephone number, in folded text: places, moments, amounts,
cards, addresses of machines. Pure.

A shape excuses only what it covers whole, so that none of them opens a way around.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from chat.masking.numbering import MOST_DIGITS, Numbering


class Shape(NamedTuple):
    start: int
    end: int
    certain: bool  # nothing but this is written so


# Places

_HALF = r"[-+−]?\d{1,3}[.,]\d{4,15}"
# With the zoom or the height that follows in links: `,17z`, `/16`, `!16z`.
_ZOOM = r"(?:[,/]\d{1,3}(?:\.\d{1,2})?(?!\d|\.\d)|!\d{1,2}z)?"
_PAIR = re.compile(
    rf"(?<!\d)(?<!\d\.)({_HALF})([^\d•]{{1,40}}|!\d[a-z])({_HALF})(?!\d|\.\d){_ZOOM}"
)
_ALONE = re.compile(r"(?<![\d+])(?<!\d[ .,])\d{2}\.\d{6,15}(?!\d|[ .,-]\d)")
_MAP = re.compile(
    r"(?<!\w)(?:geo:|(?:[a-z]{2,20}://)?(?:[\w-]{1,63}\.){0,4}(?:maps?|google|comgooglemaps|goo"
    r"|yandex\w{0,4}|2gis|dgis|waze|openstreetmap|osm|osmand|here|bing|omaps|organicmaps|mapy)[.:/])"
    r"[^\s•]+"
)
_SECONDS = r"\s?[0-5]?\d(?:[.,]\d{1,6})?(?:\"|”|''|′′)?"
_DEGREES = re.compile(rf"(\d{{1,3}})°\s?[0-5]?\d(?:['′’]{_SECONDS}|[.,]\d{{1,6}}['′’])(?!\d)")
_FARTHEST_NORTH = 75  # that anybody drives: beyond, it is a number spelled as a latitude
_UNEVEN = 3  # decimals: the noughts at the end of one half in a thousand
_MOBILE = range(88, 100)  # degrees that read as the code of a mobile number, in Siberia and Burma


def _places(text: str, numbering: Numbering) -> Iterator[Shape]:
    maps = [found.span() for found in _MAP.finditer(text)] if _PAIR.search(text) else []
    for found in _PAIR.finditer(text):
        halves = [abs(float(found[part].replace(",", ".").replace("−", "-"))) for part in (1, 3)]
        low, high = sorted(halves)
        plausible = low <= _FARTHEST_NORTH and high <= 180
        in_link = any(start <= found.start() < end for start, end in maps)
        if plausible and not _reads_as_mobile(found, numbering, in_link=in_link):
            yield Shape(*found.span(), certain=True)
    for found in _DEGREES.finditer(text):
        if int(found[1]) not in _MOBILE or not numbering.is_mobile(re.sub(r"\D", "", found[0])):
            yield Shape(*found.span(), certain=True)
    for found in _ALONE.finditer(text):  # one half of a place: no mobile number is one
        if not numbering.is_mobile(found[0].replace(".", "")):
            yield Shape(*found.span(), certain=False)


def _reads_as_mobile(pair: re.Match[str], numbering: Numbering, *, in_link: bool) -> bool:
    """Return whether a half has all digits of a mobile number, or both together the country's
    code as well. A link to a map may lead to Siberia: there it takes a half that is written more
    finely than the other.
    """
    halves = [re.split("[.,]", pair[part].lstrip("-+−")) for part in (1, 3)]
    with_code = "".join(halves[0] + halves[1]) if int(halves[0][0]) in _MOBILE else ""
    if any(map(numbering.code_first, (with_code, halves[0][1], halves[1][1]))):
        return True
    coarse, fine = sorted(halves, key=lambda half: len(half[1]))
    if len(fine[1]) - len(coarse[1]) >= _UNEVEN:
        return numbering.is_mobile("".join(fine)) or numbering.is_mobile(fine[1])
    fewest = min(numbering.lengths, default=MOST_DIGITS)
    return not in_link and any(
        int(degrees) in _MOBILE and len(degrees + decimals) >= fewest
        for degrees, decimals in halves
    )


# Moments

_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?"
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20)\d\d"
_DATE = (
    rf"(?:{_YEAR}([-./]){_MONTH}\1{_DAY}|(?<!\d-){_DAY}([-./]){_MONTH}\2(?:{_YEAR}|\d\d(?!-\d)))"
)
_MOMENTS = [
    re.compile(rf"(?<!\d)(?<!\d[./:]){_DATE}(?:[t ,]{{1,2}}{_CLOCK})?(?!\d|[./:]\d)"),
    re.compile(rf"(?<!\d)(?<!\d[.:]){_CLOCK}(?:\s?(?:z|[+-]\d\d:?\d\d))?(?![:\d])"),
    re.compile(
        rf"(?<!\d){_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])t?(?:[01]\d|2[0-3])[0-5]\d"
        r"(?:[0-5]\d)?(?!\d)"
    ),
]
_YEARS = re.compile(rf"(?<!\d){_YEAR}\s?[-–/]\s?{_YEAR}(?!\d)")
_OTHER_CLOCKS = [  # 18.30 and 18-30
    re.compile(rf"(?<!\d)(?<!\d[.,:{also}])(?:[01]?\d|2[0-3])[{mark}][0-5]\d(?![.,:{also}]?\d)")
    for mark, also in ((".", ""), ("-", "-"))
]


def _moments(text: str) -> Iterator[Shape]:
    for pattern in (*_MOMENTS, _YEARS):
        for found in pattern.finditer(text):
            yield Shape(*found.span(), certain=True)
    for pattern in _OTHER_CLOCKS:
        for found in pattern.finditer(text):
            yield Shape(*found.span(), certain=False)


# Amounts

_GROUPED = "|".join(rf"\d{{1,3}}(?:{mark}\d{{3}}){{1,5}}" for mark in (" ", r"\.", ",", "['’‘ʻʼ_]"))
_CENTS = r"(?:[.,]\d{1,2})?"
_AMOUNT = rf"(?:{_GROUPED}|\d{{1,15}}){_CENTS}(?!\d)"
_ENDING = r"[a-zа-яўқғҳ]{0,5}"
_CURRENCY = (
    rf"(?:[$€₽₸£¥₴₺]|(?:so['’‘ʻʼ]?m|soum|sum|сум|сўм|сом|uzs|usd|eur|rub|rur|kzt|руб|рубл|dollar"
    rf"|доллар|у\.?е|y\.?e|евро|euro|тенге|tenge|ming|минг|тыс|тысяч|mln|млн|million|миллион)"
    rf"{_ENDING}(?!\w)|р(?!\w))"
)
# A sign between digits, alike on both sides, is none of an amount: `90$123$45$67`.
_BETWEEN = r"(?!(?<=[$€₽₸£¥₴₺])(?:(?<=\d.)\d|(?<=\s.)\s?\d))"
_PRICED = re.compile(
    rf"(?<![\d+])(?<!\d[.,])({_AMOUNT})((?:\s?[-–—/~÷x×*+=]\s?{_AMOUNT}){{0,3}})\s{{0,2}}{_CURRENCY}"
    rf"{_BETWEEN}"
)
_PRICE = re.compile(rf"(?<!\w)(?<!\d\s){_CURRENCY}\s?:?\s?({_AMOUNT})(?!\s\d)")
_FIGURE = re.compile(_AMOUNT)
_BEGINS = r"(?<![\d.,:])(?<!(?<!\d)\+)"  # a plus after a digit adds
_THOUSANDS = re.compile(rf"{_BEGINS}(?:{_GROUPED})(?!\d|[.,]\d)")
_WITH_CENTS = re.compile(
    r"(?<![\d.,+])(?:\d{1,3}(?:[ '’]\d{3}){1,4}[.,]\d\d|\d{1,3}(?:,\d{3}){1,4}\.\d\d"
    r"|\d{1,3}(?:\.\d{3}){1,4},\d\d)(?![.,\s]?\d)"
)
# Several in a row, each of thousands: `45 350, 9 990`, sums and columns.
_THOUSAND = {
    mark: rf"[1-9]\d{{0,2}}(?:{mark}\d{{3}}){{1,3}}" for mark in (" ", r"\.", ",", "['’‘ʻʼ]")
}
_LISTED = [
    (
        re.compile(one),
        re.compile(
            rf"{_BEGINS}(?<!\d )(?:{one}(?: ?(?:[;+=/–—-]|, ) ?|\n)){{1,40}}{one}(?! ?\d|[.,]\d)"
        ),
    )
    for one in _THOUSAND.values()
]
_ROUND = re.compile(rf"{_BEGINS}[1-9]\d{{1,4}}00(?!\d|[.,]\d)")
_NOUGHTS = re.compile(r"\d{1,3}(?:\D000)+")


def _amounts(text: str, numbering: Numbering) -> Iterator[Shape]:
    for pattern in (_PRICED, _PRICE):
        for found in pattern.finditer(text):
            figures = [*_FIGURE.finditer(text, *found.span())]
            if _is_dialled([figure[0] for figure in figures], numbering):
                continue
            for figure in figures:
                if _is_amount(figure[0], numbering):
                    yield Shape(*figure.span(), certain=True)
    for found in _THOUSANDS.finditer(text):
        is_round = found[0].endswith("00") and not numbering.dials(re.sub(r"\D", "", found[0]))
        if is_round or _NOUGHTS.fullmatch(found[0]):
            yield Shape(*found.span(), certain=False)
    for one, several in _LISTED:
        for row in several.finditer(text):
            amounts = [*one.finditer(text, *row.span())]
            if not any(_is_split(*pair, numbering) for pair in pairwise(amounts)):
                yield from (Shape(*found.span(), certain=False) for found in amounts)
    for pattern in (_WITH_CENTS, _ROUND):
        for found in pattern.finditer(text):
            yield Shape(*found.span(), certain=False)


def _is_split(one: re.Match[str], next: re.Match[str], numbering: Numbering) -> bool:
    """Return whether two amounts are the halves of a number: `90 123, 4 567`."""
    digits = re.sub(r"\D", "", one[0] + next[0])
    return numbering.is_bare(digits) or numbering.code_first(digits) == len(digits)


def _is_dialled(figures: list[str], numbering: Numbering) -> bool:
    """Return whether figures in a row are a number with a currency after it: `90 123-45-67 sum`.
    No prices have so few digits beside each other, but a time may be ahead of one:
    `09-30 150 000 sum`.
    """
    if re.search(r"\D000$", figures[-1]):
        return False
    digits = [re.sub(r"\D", "", figure) for figure in figures]
    rows = (digits[start:] for start in range(len(digits) - 1))
    return any(
        (len(row) > 2 or min(map(len, row)) < 3) and numbering.dials("".join(row)) for row in rows
    )


def _is_amount(figure: str, numbering: Numbering) -> bool:
    """Judge a figure beside a currency: one that could be dialled is an amount only if round."""
    whole = re.sub(r"[.,]\d{1,2}$", "", figure)
    digits = re.sub(r"\D", "", whole)
    return not numbering.dials(digits) or digits.endswith("00" if digits != whole else "000")


# Cards, machines, parcels

_CARD = re.compile(
    r"(?<![\d+])(?=[3-6]|2[2-7]|8600|9860)(?:(?:\d{4}[ .-]{0,2}){3}\d{4}(?:[ -]?\d{3})?"
    r"|\d{4}[ -]?\d{6}[ -]?\d{5})(?!\d)"
)
_UZBEK_CARD = re.compile(r"(?<![\d+])(?:8600|9860|5614)(?:([ -])\d{4}\1\d{4}\1\d{4}(?!\d))")
_IBAN = re.compile(r"(?<!\w)[a-z]{2}\d\d(?: ?[\da-z]{4}){2,7}(?: ?[\da-z]{1,3})?(?!\w)")
_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_ADDRESS = re.compile(rf"(?<![\d.])(?:{_OCTET}\.){{3}}{_OCTET}(?::\d{{1,5}}|/\d\d?)?(?!\d|\.\d)")
_AS_A_NUMBER = re.compile(r"\d\d\.\d{3}\.\d\d\.\d\d")  # 90.123.45.67
_CHROME = re.compile(r"(?<![\d.])\d{2,3}\.0\.\d{4}\.\d{1,3}(?![.\d])")
_UUID = re.compile(
    r"(?<!\w)[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-(?=\d{0,11}[a-f])[\da-f]{12}(?!\w)"
)
_UPS = re.compile(r"(?<!\w)1z[\da-z]{16}(?!\w)")
_ACCOUNT = re.compile(r"(?<!\d)\d{5} \d{3} \d \d{8} \d{3}(?!\d)")  # at an Uzbek bank
_PARCEL = re.compile(r"(?<!\w)[a-z]{2}\s?(\d{3})\s?(\d{3})\s?(\d{3})\s?[a-z]{2}(?!\w)")


def _codes(text: str) -> Iterator[Shape]:
    for pattern, is_one in (
        (_CARD, _adds_up),
        (_IBAN, _is_account),
        (_ADDRESS, lambda address: not _AS_A_NUMBER.fullmatch(address)),
        (_CHROME, bool),
        (_UUID, bool),
        (_ACCOUNT, bool),
        (_UPS, bool),
        (_PARCEL, _is_parcel),
    ):
        for found in pattern.finditer(text):
            if is_one(found[0]):
                yield Shape(*found.span(), certain=True)
    for found in _UZBEK_CARD.finditer(text):  # a digit may be mistyped
        yield Shape(*found.span(), certain=False)


def _adds_up(card: str) -> bool:
    """Check a card by Luhn's rule (ISO/IEC 7812)."""
    digits = [int(one) for one in card if one.isdigit()][::-1]
    return sum(digits[::2] + [sum(divmod(2 * one, 10)) for one in digits[1::2]]) % 10 == 0


def _is_account(iban: str) -> bool:
    """Check the two digits that ISO 13616 prescribes."""
    code = iban.replace(" ", "")
    return int("".join(str(int(sign, 36)) for sign in code[4:] + code[:4])) % 97 == 1


def _is_parcel(code: str) -> bool:
    """Check the digit that the Universal Postal Union prescribes (S10)."""
    *digits, check = (int(one) for one in code if one.isdigit())
    rest = 11 - sum(a * b for a, b in zip(digits, (8, 6, 4, 2, 3, 5, 9, 7), strict=True)) % 11
    return check == {10: 0, 11: 5}.get(rest, rest)


# Links

_LINK = re.compile(r"(?:[a-z]{2,10}://|www\.|(?<![\w.-])(?:[\w-]{1,63}\.){1,4}[a-z]{2,10}/)[^\s•]+")
_SEGMENT = re.compile(r"[^/?&#]+")
_HASH = re.compile(
    r"(?<![^\W_])(?=\d{0,15}[a-f]+\d{1,15}[a-f]+\d{0,15}[a-f])[\da-f]{16,128}(?![^\W_])"
)
_LONG = re.compile(r"(?<!\d)\d{9,}(?!\d)")
_CALLS = re.compile(
    r"(?:phone|tel|number|mobile|whatsapp|wa|call|contact|msisdn|to|text|query|address)\w*=|q="
)


def _links(text: str, numbering: Numbering) -> Iterator[Shape]:
    """Find ids in links: not what stands right after the host, nor what has a country code."""
    for link in _LINK.finditer(text):
        begins = text.find("://", *link.span())
        begin = begins + 3 if begins >= 0 else link.start()
        for place, segment in enumerate([*_SEGMENT.finditer(text, begin, link.end())][1:]):
            alone = place == 0 and not any(map(str.isalpha, segment[0]))
            if alone or _CALLS.match(segment[0]):
                continue
            for found in _LONG.finditer(text, *segment.span()):
                if numbering.is_bare(found[0]) or not numbering.dials(found[0]):
                    yield Shape(*found.span(), certain=False)


def shapes(text: str, numbering: Numbering) -> list[Shape]:
    """Return the shapes in a folded text, in no order. They may overlap."""
    hashes = (Shape(*found.span(), certain=False) for found in _HASH.finditer(text))
    found = [
        *_places(text, numbering),
        *_moments(text),
        *_amounts(text, numbering),
        *_codes(text),
        *hashes,
    ]
    if "/" in text:
        found += _links(text, numbering)
    return found
