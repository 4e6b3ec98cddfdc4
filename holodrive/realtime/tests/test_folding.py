"""One spelling for all that are read alike, by a table that every search is tried with as well."""

import unicodedata

import pytest

from holodrive.realtime import folding
from holodrive.realtime.folding import fold, joined, phrases, stored, words
from holodrive.realtime.tests.test_characters import TABLE
from testing.spellings import SPELLINGS

TEXTS = sorted({text for stored_text, query, _ in SPELLINGS for text in (stored_text, query)})


@pytest.mark.parametrize(("text", "query", "is_found"), SPELLINGS)
def test_a_query_finds_what_is_read_alike(text, query, is_found):
    assert any(phrase in stored(text) for phrase in phrases(query)) is is_found


@pytest.mark.parametrize("text", TEXTS)
def test_folding_twice_changes_nothing_more(text):
    assert fold(fold(text)) == fold(text)
    assert joined(joined(fold(text))) == joined(fold(text))


@pytest.mark.parametrize("text", TEXTS)
def test_it_does_not_matter_how_a_text_is_composed(text):
    forms = {fold(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")}
    assert forms == {fold(text)}


def test_a_text_of_marks_alone_leaves_nothing():
    for text in (*TABLE["blank"].values(), "\u0301\u0302", "''", "\u2019"):
        assert (fold(text), stored(text), phrases(text)) == ("", "", ())
        assert all(word.typed and not word.phrases for word in words(text))


def test_a_query_has_nothing_that_a_database_refuses():
    for text in ("Oʻz\x00bek", "\x00", "90 123\x00 45 67"):
        assert words(text) == words(text.replace("\x00", ""))


def test_what_is_stored_is_bounded():
    for sign in ("\ufdfa", "a", "1 ", "\u0301", "1(", "👍"):
        assert len(stored(sign * 100_000)) <= folding.LONGEST


def test_texts_of_one_column_do_not_run_into_one_another():
    assert stored("Blue", "bag 12 34-5") == "blue\nbag 12 34-5\nbag 12345"
    assert stored("same", "same") == "same"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("blue bag", [["blue"], ["bag"]]),
        ('"blue bag" red', [["blue bag"], ["red"]]),
        ("O'zbek tili", [["ozbek"], ["tili"]]),
        ('"', [['"']]),
        ("90 123 45 67", [["90 123 45 67", "901234567"]]),
        ("+998 90 123-45-67", [["+998 90 123-45-67", "998901234567", "901234567"]]),
        ("call 1234", [["call"], ["1234"]]),
        ("  ", []),
    ],
)
def test_a_query_is_taken_apart_into_words(query, expected):
    assert [list(word.phrases) for word in words(query)] == expected
