"""Whole characters, blank texts, and directions: by a table that holds for the scripts as well."""

import json
import shutil
import subprocess

import pytest

from holodrive.realtime.characters import closed, first, is_blank, isolated, one_line, within
from testing.parts import missing
from testing.patience import START
from testing.services import ROOT

TABLE = json.loads((ROOT / "testing" / "characters.json").read_text())
CHARACTERS = TABLE["characters"]
every_character = pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)


@every_character
def test_a_character_is_kept_or_left_out_as_a_whole(character):
    for before in range(6):
        text = "x" * before + character * 8
        for most in range(12):
            assert first(text, most) == ("x" * before)[:most] + character * min(8, most - before)


@every_character
def test_a_column_holds_as_many_whole_characters_as_fit(character):
    text = "x" + character * 8
    for points in range(len(character) + 1, len(text) + 2):
        kept = within(text, points)
        assert kept == "x" + character * min(8, (points - 1) // len(character))


@pytest.mark.parametrize(
    "text", ["", "Hello, how can I help you?", "Здравствуйте, где вы?", "👍" * 9]
)
def test_a_plain_text_is_cut_as_by_code_points(text):
    for most in range(40):
        assert first(text, most) == within(text, most) == text[:most]


def test_marks_by_the_hundred_share_the_room_of_their_neighbours():
    text = ("Z" + "\u0301" * 300) * 50
    assert first(text, 50) == ("Z" + "\u0301" * 300) * 2
    assert within(text, 300) == "Z" + "\u0301" * 299  # rather than nothing
    assert within(text, 601) == "Z" + "\u0301" * 300
    assert within(text, 0) == ""


@pytest.mark.parametrize("text", TABLE["blank"].values(), ids=TABLE["blank"])
def test_nothing_is_seen_of_it(text):
    assert is_blank(text)
    assert is_blank(text * 3)


@pytest.mark.parametrize("text", TABLE["seen"].values(), ids=TABLE["seen"])
def test_something_is_seen_of_it(text):
    assert not is_blank(text)
    assert not is_blank(f"\u200b {text}\u3164")


@pytest.mark.parametrize(("text", "alone"), TABLE["isolated"])
def test_a_direction_ends_where_its_text_ends(text, alone):
    assert isolated(text) == alone
    assert sum(map(alone.count, "\u2066\u2067\u2068")) == alone.count("\u2069")


def test_at_the_end_of_a_sentence_only_controls_are_isolated():
    assert isolated("محمد", at_end=True) == "محمد"
    assert isolated("\u202eevil", at_end=True) == "\u2068\u202eevil\u2069"
    assert isolated("محمد\u200f", at_end=True) == "\u2068محمد\u200f\u2069"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Sobirjon Bobojonov", "Sobirjon Bobojonov"),
        ("\u202eevil", "\u202eevil"),  # an element of the page ends it
        ("evil\u2069\u202eworse", "evil\u202eworse"),
        ("\u2067evil", "evil"),
        ("\u2067two\n\u202elines\u2069", "\u2067two \u202elines\u2069"),
        ("a\u2029b\r\nc\x85d", "a b c d"),
        ("a\u2028b\vc\fd\n\u2028e", "a b c d e"),
    ],
)
def test_a_name_stays_in_its_place(name, shown):
    assert one_line(name) == shown
    assert closed(shown) == shown


def test_the_scripts_of_the_admin_have_the_same_rules():
    node = shutil.which("node") or missing("The characters of the scripts", "node (Debian: nodejs)")
    rules = subprocess.run(
        [node, "--test", "--test-reporter=spec", "characters.test.mjs"],
        cwd=ROOT / "testing" / "node",
        capture_output=True,
        text=True,
        timeout=START,
    )
    assert rules.returncode == 0, rules.stdout
