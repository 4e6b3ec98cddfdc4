"""Masking on texts as people write them, in Uzbek, Russian and English: harmless.txt and
contacts.txt beside this file, and families of random ones. `-rP` prints how many of each it gets
wrong.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chat.masking import MASK, is_part, masked, masked_among, numbers
from chat.masking.numbering import numbering_of
from chat.masking.own import refusal

_MARKED = re.compile("⟦.*?⟧", re.DOTALL)
ORDERS = (r"4\d{8}", r"TR-\d{9}")


def lines(name: str) -> list[str]:
    text = (Path(__file__).parent / name).read_text()
    found = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [re.sub(r"\\(u[0-9a-f]{4}|n|t|\\)", _unescaped, line) for line in found]


def _unescaped(found: re.Match[str]) -> str:
    escape = found[1]
    return {"n": "\n", "t": "\t", "\\": "\\"}.get(escape) or chr(int(escape[1:], 16))


HARMLESS = lines("harmless.txt")
CONTACTS = lines("contacts.txt")


def without_marks(line: str) -> str:
    return line.replace("⟦", "").replace("⟧", "")


def shown(line: str) -> str:
    return _MARKED.sub(MASK, line)


def test_the_corpus_is_large_enough() -> None:
    assert len(set(HARMLESS)) >= 150
    assert len(set(CONTACTS)) >= 150


def test_nothing_harmless_is_hidden(record_property: Callable[[str, object], None]) -> None:
    wrong = [(text, found) for text in HARMLESS if (found := masked(text, "UZ")) != text]
    _say("false positives", len(wrong), len(HARMLESS), record_property)
    assert wrong == []


def test_every_contact_is_hidden_and_nothing_else(
    record_property: Callable[[str, object], None],
) -> None:
    wrong = [
        (without_marks(line), found)
        for line in CONTACTS
        if (found := masked(without_marks(line), "UZ")) != shown(line)
    ]
    _say("false negatives", len(wrong), len(CONTACTS), record_property)
    assert wrong == []


def _say(kind: str, wrong: int, of: int, record: Callable[[str, object], None]) -> None:
    print(f"{kind}: {wrong} of {of}")  # noqa: T201
    record(kind, f"{wrong} of {of}")


def test_contacts_amid_harmless_texts_are_hidden_alone() -> None:
    chance = _chance()
    wrong = []
    for line in CONTACTS:
        text = chance.choice(HARMLESS)
        before = f"{text}\n— a —\n{without_marks(line)}"
        if (found := masked(before, "UZ")) != f"{text}\n— a —\n{shown(line)}":
            wrong.append((before, found))
    assert wrong == []


def test_masking_twice_changes_nothing_more() -> None:
    chance = _chance()
    texts = [*HARMLESS, *map(without_marks, CONTACTS), *_soups(chance)]
    for glue in (" ", "", ", ", "\n"):
        for _ in range(150):
            several = chance.sample(texts, 3)
            texts.append(glue.join(several))
    for text in texts:
        once = masked(text, "UZ")
        assert masked(once, "UZ") == once, text


def _soups(chance: random.Random) -> Iterator[str]:
    """Digits and what may stand between them, without a plan."""
    pieces = [
        *"0123456789",
        "90",
        "998",
        "+",
        " ",
        " ",
        "-",
        "(",
        ")",
        ".",
        ", ",
        ":",
        "so'm",
        "000",
    ]
    for _ in range(500):
        yield "".join(chance.choice(pieces) for _ in range(chance.randint(5, 40)))


def _chance() -> random.Random:
    return random.Random(15)  # noqa: S311 - the same texts each time


# Families

CITIES = {
    "Tashkent": (41.2995, 69.2401),
    "Fergana": (40.3842, 71.7843),
    "Namangan": (40.9983, 71.6726),
    "Andijan": (40.7821, 72.3442),
    "Termez": (37.2242, 67.2783),
    "Samarkand": (39.6542, 66.9597),
    "Bukhara": (39.7681, 64.4556),
    "Nukus": (42.4602, 59.6166),
    "Moscow": (55.7558, 37.6173),
    "Saint Petersburg": (59.9343, 30.3351),
    "Novosibirsk": (55.0084, 82.9357),
    "Almaty": (43.2389, 76.8897),
    "Astana": (51.1605, 71.4704),
    "Bishkek": (42.8746, 74.5698),
    "Dushanbe": (38.5598, 68.7870),
    "Istanbul": (41.0082, 28.9784),
    "Dubai": (25.2048, 55.2708),
}
PINS = [
    "{lat},{lng}",
    "{lat}, {lng}",
    "{lat} {lng}",
    "{lat}; {lng}",
    "{lng},{lat}",
    "geo:{lat},{lng}",
    "https://maps.google.com/?q={lat},{lng}",
    "https://www.google.com/maps/@{lat},{lng},17z",
    "https://yandex.uz/maps/?ll={lng}%2C{lat}&z=17",
    "https://2gis.uz/geo/70030076137547862/{lng}%2C{lat}",
    "https://www.openstreetmap.org/#map=17/{lat}/{lng}",
    "https://maps.apple.com/?ll={lat},{lng}",
    "lat: {lat}\nlng: {lng}",
]


@pytest.mark.parametrize("city", CITIES)
def test_no_pin_in_a_city_loses_a_digit(city: str) -> None:
    chance = _chance()
    for _ in range(25):
        lat, lng = (f"{degrees + chance.uniform(-0.15, 0.15):.7f}" for degrees in CITIES[city])
        for pin in PINS:
            text = pin.format(lat=lat, lng=lng)
            assert masked(text, "UZ") == text


PRICES: list[Callable[[random.Random], str]] = [
    lambda chance: f"{chance.randrange(1, 2_000) * 500:,} so'm".replace(",", " "),
    lambda chance: f"{chance.randrange(1, 2_000_000) * 500:,} сум".replace(",", " "),
    lambda chance: f"{chance.randrange(1, 99_999_999) / 100:,.2f} UZS",
    lambda chance: f"{chance.randrange(1, 99_999_999) / 100:.2f} so'm",
    lambda chance: f"${chance.randrange(1, 99_999_999) / 100:,.2f}",
    lambda chance: f"{chance.randrange(5, 999)} 000 - {chance.randrange(5, 999)} 000 so'm",
    lambda chance: f"{chance.randrange(5, 999)}000-{chance.randrange(5, 999)}000 сум",
    lambda chance: f"{chance.randrange(5, 999)} 000 / {chance.randrange(5, 999)} 000",
    lambda chance: f"{chance.randrange(1, 999)} 000 000",
    lambda chance: f"Narxi {chance.randrange(1_000, 99_999_999)} so'm",
    lambda chance: (
        f"{chance.randrange(1, 99)}.{chance.randrange(999):03}.{chance.randrange(999):03} руб"
    ),
]


def test_prices_stay() -> None:
    chance = _chance()
    texts = [price(chance) for price in PRICES for _ in range(100)]
    assert [text for text in texts if masked(text, "UZ") != text] == []


def test_moments_stay() -> None:
    chance = _chance()
    for _ in range(200):
        day, month = chance.randrange(1, 29), chance.randrange(1, 13)
        hour, minute = chance.randrange(24), chance.randrange(60)
        for text in (
            f"{day:02}.{month:02}.2026 {hour:02}:{minute:02}",
            f"2026-{month:02}-{day:02} {hour:02}:{minute:02}:{day:02}",
            f"2026{month:02}{day:02}{hour:02}{minute:02}",
            f"{hour}:{minute:02}-{23 - hour}:{minute:02}, {day}/{month}/2026",
        ):
            assert masked(text, "UZ") == text


MOBILE = ["90", "91", "93", "94", "95", "97", "98", "99", "33", "88", "77", "50"]
WAYS = [
    "{0}{1}{2}{3}",
    "{0} {1} {2} {3}",
    "({0}) {1}-{2}-{3}",
    "+998{0}{1}{2}{3}",
    "+998 ({0}) {1} {2} {3}",
    "998-{0}-{1}-{2}-{3}",
    "8 {0} {1} {2} {3}",
    "{0}.{1}.{2}.{3}",
    "{0}|{1}|{2}|{3}",
    "{0}\u200b{1}\u200b{2}\u200b{3}",
    "{0} → {1} → {2} → {3}",
    "{0}\n{1}\n{2}\n{3}",
]


@pytest.mark.parametrize("way", WAYS)
def test_no_mobile_number_stays(way: str) -> None:
    chance = _chance()
    for _ in range(100):
        parts = chance.choice(MOBILE), *(f"{chance.randrange(10**n):0{n}}" for n in (3, 2, 2))
        text = way.format(*parts)
        if numbering_of("UZ").is_bare("".join(parts)):
            assert masked(f"call {text} now", "UZ") == f"call {MASK} now", text


@pytest.mark.parametrize(
    ("region", "text"),
    [
        ("RU", "8 (916) 123-45-67"),
        ("RU", "9161234567"),
        ("KZ", "8 701 123 45 67"),
        ("KG", "0555 123 456"),
        ("TJ", "93 123 4567"),
        ("TR", "0532 123 45 67"),
        ("US", "(650) 253-0000"),
        ("GB", "07911 123456"),
        ("GB", "+44 (0)7911 123456"),
        ("DE", "0151 23456789"),
    ],
)
def test_a_number_is_found_as_it_is_dialled_in_its_region(region: str, text: str) -> None:
    assert masked(f"call {text}", region) == f"call {MASK}"


# The host's own numbers


def test_numbers_of_the_host_stay_where_it_says_how_they_look() -> None:
    chance = _chance()
    for _ in range(500):
        number = f"4{chance.randrange(10**8):08}"
        for text in (f"order {number}", f"№{number}, 3 kishi", f"TR-9{number[1:]}"):
            assert masked(text, "UZ", ORDERS) == text


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("90 4123456 7", ORDERS),
        ("+998901234567", (r"9\d{8}",)),
        ("998 901234567", (r"9\d{8}",)),
        ("8 901234567", (r"9\d{8}",)),
        ("+905321234567", (r"\d{12}",)),
        ("90 123 45 67", (r"\d{2,3}",)),
        ("TR-90123456 7", ORDERS),
        ("order 901234567", ORDERS),
    ],
)
def test_numbers_of_the_host_open_no_way_around(text: str, patterns: tuple[str, ...]) -> None:
    assert MASK in masked(text, "UZ", patterns)


@pytest.mark.parametrize(
    "pattern",
    [
        *("(", "[", "", "|", "4|", ".{0,18}", r"\+?\d{9,12}", r"[\w+]{1,18}", "1" * 101),
        *(r"\d+", r"\d*", r"\d{3,}", r"\d{99999999999}", r"(?=\d)4\d{8}", r"(\d)\1{8}"),
        *(r"(\d{1,9}){1,9}", r"(\d)?x", r"\d{0,9}" * 12 + "x", r"\d?" * 20 + "x"),
        *(r"(?:\d{1,9}){1,9}", r"4\d{8", r"4\d{8,", r"4\d{x}", "(?P<a>1)x", "(?:(?i)4)"),
    ],
)
def test_an_expression_that_fits_too_much_or_takes_too_long_is_refused(pattern: str) -> None:
    problem = refusal(pattern)
    assert problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    "pattern", [*ORDERS, r"[A-Z]{2}\d{4,9}", r"\d{9}", r"(TR|ZK)-\d{6}", r"(?:TR|ZK)-\d{6}"]
)
def test_an_expression_of_numbers_is_accepted(pattern: str) -> None:
    assert refusal(pattern) == ""


@pytest.mark.parametrize("pattern", [r"\d{0,9}" * 5 + "x", "(1|1)" * 17 + "x", r"\d?" * 5 + "x"])
def test_the_worst_expression_that_is_accepted_ends(pattern: str) -> None:
    assert refusal(pattern) == ""
    began = time.process_time()
    masked("1" * 18, "UZ", (pattern,))
    assert time.process_time() - began < 5  # a repeat inside a repeat takes minutes


# Parts


@pytest.mark.parametrize("text", ["90 123", "45", "9️⃣", "+998 90", "(90)", "45-67."])
def test_a_few_digits_may_be_a_part_of_a_number(text: str) -> None:
    assert is_part(text)


@pytest.mark.parametrize("text", ["", "ok", "5 daqiqa", "kod 45", "?!", "9" * 12, "1" + " " * 60])
def test_other_texts_are_no_part_of_a_number(text: str) -> None:
    assert not is_part(text)


@pytest.mark.parametrize(
    ("before", "text", "after", "expected"),
    [
        (["90 123"], "45 67", [], MASK),
        (["+998 90", "123"], "4567", [], MASK),
        ([*"90123456"], "7", [], MASK),
        ([], "90 123", ["45 67"], MASK),
        (["90"], "123", ["4567"], MASK),
        (["90 123", "45 67"], "12", [], "12"),
        (["901234567"], "12", [], "12"),
        (["18:30"], "15", [], "15"),
        (["95 000"], "1500", [], "1500"),
        (["12"], "45 67", [], "45 67"),
        (["12"], "901234567", [], MASK),
        (["so " * 1300 + "my number is 90 123"], "45 67", [], MASK),
    ],
)
def test_a_number_in_several_texts_is_hidden_where_it_is_complete(
    before: list[str], text: str, after: list[str], expected: str
) -> None:
    assert masked_among(before, text, after, "UZ") == expected


def test_parts_are_not_read_with_all_of_what_is_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It happens under the lock of a stream: a second for the worst texts, if all were read."""
    read: list[str] = []
    find = numbers.spans

    def spans(text: str, *more: Any) -> Iterator[tuple[int, int]]:
        read.append(text)
        return find(text, *more)

    monkeypatch.setattr(numbers, "spans", spans)
    words, few = "so " + "1 000 " * 600, ["55 000 55 00"] * 11
    assert masked_among([words, *few], "45 67", [*few, words], "UZ") == "45 67"
    assert max(map(len, read)) < 300
    assert len(read) < 20
