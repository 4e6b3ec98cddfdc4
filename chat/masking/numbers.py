"""Finds telephone numbers in folded text, however their digits are spread. Pure.

Digits are read in runs: groups with no letter between them. A group is pushed on a stack; where
groups on its top are a number, they are hidden and leave the stack. What is left holds no number
even once the hidden ones are gone, so masking twice changes nothing more; and each group is looked
at with the few before it, so the time is linear.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from chat.masking import own
from chat.masking.harmless import Shape, shapes
from chat.masking.numbering import (
    MOST_DIGITS,
    Numbering,
    is_international,
    is_mobile_abroad,
    numbering_of,
)

_WIDEST_GAP = 6  # characters between two groups: " ... "
# Names of separators, as a number is dictated.
_SPOKEN = re.compile(
    r"(?:[\W_]|(?<![^\W_])(?:tire|defis|probel|minus|pl[uy]u?s|nuqta|тире|дефис|пробел|минус|плюс"
    r"|точка|dash|hyphen|space|dot)(?![^\W_]))+"
)
# "9O l23": Latin, Cyrillic and Greek letters that look like a digit, beside one.
_ALIKE = re.compile(r"(?<![^\W_])(?=[oоοilіз]{0,9}\d)[\doоοilіз]+(?![^\W_])")
_LETTERS = str.maketrans("oоοilіз", "0001113")
_DIGITS = re.compile(r"[0-9]+")
_LIST = re.compile(r"[,;\n]")
# "2026-12345"; in Uzbekistan 20 is the code of mobile numbers, too.
_YEAR = re.compile(r"20[0-3]\d")
# `5 000 + 650` and `5000+650` are sums: after three to eight digits.
_PLUS = re.compile(r"(?:(?<!\d{3})|(?<=\d{9}))(?:(?<!\d\s)\+[\s(]{0,2}|\+\(?)$")
_OPENING = re.compile(r"(?:\(\s?)?\+[\s(]{0,2}$|\($")
MOST_JOINED = 24  # digits: two numbers
_MOST_GROUPS = 5  # of a number with another country's code and no plus
_TWO = range(18, MOST_JOINED + 1)
_GLUED = range(18, 61)  # digits of two numbers or more: of fewer, chance makes one
# Digits in the groups of a number, without a prefix: in Uzbekistan, in Russia.
_USUAL = {(2, 3, 2, 2), (2, 3, 4), (2, 7), (2, 4, 3), (3, 3, 3), (3, 3, 2, 2), (3, 3, 4), (3, 7)}


class Group(NamedTuple):
    start: int
    end: int
    digits: str
    plus: bool
    in_a_word: bool  # a letter right before or after


def spans(text: str, region: str, patterns: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Find them in folded text. `patterns` are those of the host's own numbers."""
    numbering = numbering_of(region)
    if not _DIGITS.search(text):
        return
    alike = _ALIKE.sub(lambda found: found[0].translate(_LETTERS), text)
    for reading in dict.fromkeys((alike, text)):  # `901234567o` has a letter more, no nought
        # Most texts have fewer; the rest costs more.
        if sum(map(str.isdigit, reading)) >= numbering.fewest_digits:
            yield from _spans_as_read(reading, numbering, patterns)


def _spans_as_read(
    text: str, numbering: Numbering, patterns: Sequence[str]
) -> Iterator[tuple[int, int]]:
    known = Known(shapes(text, numbering), own.spans(text, patterns))
    for run in _runs(text):
        if sum(len(group.digits) for group in run) >= numbering.fewest_digits:
            gaps = {
                index: text[run[index - 1].end : run[index].start] for index in range(1, len(run))
            }
            for first, last in _Search(run, gaps, numbering, known).found():
                yield _span(text, run[first], run[last])


def _runs(text: str) -> Iterator[list[Group]]:
    run: list[Group] = []
    for found in _DIGITS.finditer(text):
        start, end = found.span()
        if run and not _joins(text[run[-1].end : start]):
            yield run
            run = []
        plus = bool(_PLUS.search(text, max(0, start - 3), start))
        in_a_word = text[start - 1 : start].isalpha() or text[end : end + 1].isalpha()
        run.append(Group(start, end, found[0], plus, in_a_word))
    if run:
        yield run


def _joins(gap: str) -> bool:
    if not any(map(str.isalnum, gap)):
        return len(gap) <= _WIDEST_GAP
    return len(gap) <= 20 and bool(_SPOKEN.fullmatch(gap))


class Known:
    """Knows what is no number, by the place of each character that a shape covers."""

    def __init__(self, found: Sequence[Shape], owned: Iterator[tuple[int, int]]) -> None:
        self._shapes: dict[int, Shape] = {}
        for shape in sorted(found, key=lambda shape: (shape.certain, shape.end - shape.start)):
            self._shapes.update(dict.fromkeys(range(shape.start, shape.end), shape))
        self._owned: dict[int, tuple[int, int]] = {}
        for span in owned:
            self._owned.update(dict.fromkeys(range(*span), span))

    def shape(self, group: Group) -> Shape | None:
        shape = self._shapes.get(group.start)
        return shape if shape and shape.end >= group.end else None

    def excuses(self, groups: Sequence[Group], digits: str, code: str) -> bool:
        """Return whether these are something else. Shapes that cover only some of the groups do so
        where nothing looks like a number: `90 123 12:34` is one.
        """
        owner = self._owned.get(groups[0].start)
        if owner and owner[1] >= groups[-1].end and not groups[0].plus:
            return True
        covers = [self.shape(group) for group in groups]
        certain = [bool(cover and cover.certain) for cover in covers]
        if groups[0].plus or (code and digits.startswith(code)):
            return all(certain)
        return all(covers) or (any(certain) and not _is_usual(groups))


def _is_usual(groups: Sequence[Group]) -> bool:
    sizes = tuple(len(group.digits) for group in groups)
    return sizes in _USUAL or (sizes[0] <= 2 and sizes[1:] in _USUAL)


class _Search:
    """Looks for the numbers in one run."""

    def __init__(
        self, run: list[Group], gaps: dict[int, str], numbering: Numbering, known: Known
    ) -> None:
        self._run, self._numbering, self._known = run, numbering, known
        self._gaps = gaps  # in front of each group but the first

    def found(self) -> Iterator[tuple[int, int]]:
        """Yield the first and last group of each."""
        stack: list[int] = []
        place = 0
        while place < len(self._run):
            stack.append(place)
            if number := self._number(stack):
                begin, place = self._with_shapes(*number)
                yield begin, place
                while stack and stack[-1] >= begin:
                    stack.pop()
            place += 1

    def _number(self, stack: Sequence[int]) -> tuple[int, int] | None:
        """Return the longest that ends in the top of the stack, or goes on from there."""
        last = stack[-1]
        if self._holds_several(self._run[last]):
            return last, last
        digits, longest = "", None
        for depth in range(1, len(stack) + 1):
            digits = self._run[stack[-depth]].digits + digits
            chosen = stack[-depth:]
            if len(digits) in _TWO and depth > 1 and self._are_glued(digits, chosen):
                return chosen[0], last
            if self._is_number(digits, chosen):
                longest = chosen
            if len(digits) >= MOST_JOINED:
                break
        return self._likeliest(longest) if longest else None

    def _likeliest(self, chosen: Sequence[int]) -> tuple[int, int]:
        """Choose among the numbers that begin in these groups. In `2024 90 123 45 67` the first
        nine digits could be dialled as well.
        """
        best = (chosen[0], self._end(chosen))
        if self._is_sure(*best):
            return best
        for skipped in range(1, len(chosen)):
            other = (chosen[skipped], self._end(chosen[skipped:]))
            if other[1] > chosen[-1] and self._is_sure(*other):
                return other
        return best

    def _is_sure(self, begin: int, last: int) -> bool:
        groups = self._run[begin : last + 1]
        digits = "".join(group.digits for group in groups)
        prefixed = groups[0].plus or (self._code and digits.startswith(self._code))
        return bool(prefixed) or _is_usual(groups) or len(groups) == len(digits)

    def _end(self, chosen: Sequence[int]) -> int:
        """Look ahead: `7 916 123 45` is a landline until the next group makes it Russian. One
        grouped as usual ends, or `33 624 64 00, 99 534 30 17` would begin with a French one.
        """
        last = chosen[-1]
        longer = [*chosen]
        digits = "".join(self._run[index].digits for index in chosen)
        for following in range(last + 1, len(self._run)):
            longer.append(following)
            digits += self._run[following].digits
            if len(digits) > MOST_DIGITS:
                break
            if self._is_number(digits, longer):
                last = following
        sure = self._is_sure(chosen[0], chosen[-1]) and not self._is_sure(chosen[0], last)
        return chosen[-1] if sure else last

    def _is_number(self, digits: str, chosen: Sequence[int]) -> bool:
        if len(digits) < self._numbering.fewest_digits or not self._may_be(digits, chosen):
            return False
        groups = [self._run[index] for index in chosen]
        if self._known.excuses(groups, digits, self._code):
            return False
        chance = self._is_of_a_list(chosen) or _YEAR.fullmatch(groups[0].digits)
        return not chance or self._is_sure(chosen[0], chosen[-1])

    def _is_of_a_list(self, chosen: Sequence[int]) -> bool:
        """Return whether the row goes on alike: four of `109, 98, 45, 134, 67` may be a number."""
        gaps = {self._gaps[index] for index in chosen[1:]}
        around = {self._gaps.get(chosen[0]), self._gaps.get(chosen[-1] + 1)}
        return any(gap and _LIST.search(gap) for gap in gaps & around)

    def _may_be(self, digits: str, chosen: Sequence[int]) -> bool:
        if self._run[chosen[0]].plus and is_international(digits):
            return True
        if self._numbering.dials(digits):
            return True
        # A number with the country code, and more digits at its end.
        if self._code and digits.startswith(self._code):
            last = len(self._run[chosen[-1]].digits)
            if self._numbering.code_first(digits) > len(digits) - last:
                return True
        return self._is_written_as_one(chosen) and is_mobile_abroad(digits)

    def _is_written_as_one(self, chosen: Sequence[int]) -> bool:
        """Ask for few groups with little between, none of them something else: `44 7911 123456`."""
        groups = [self._run[index] for index in chosen]
        if len(groups) > _MOST_GROUPS or any(map(self._known.shape, groups)):
            return False
        near = all(next.start - group.end <= 2 for group, next in pairwise(groups))
        return near and not any(group.in_a_word for group in groups)

    @property
    def _code(self) -> str:
        """The region's country code, if it is too long to stand there by chance."""
        return self._numbering.code if len(self._numbering.code) > 1 else ""

    def _holds_several(self, group: Group) -> bool:
        """Return whether numbers are glued together here, or one is padded with digits."""
        digits, code = group.digits, self._code
        if len(digits) <= len(code) + max(self._numbering.lengths, default=MOST_DIGITS):
            return False
        if self._known.shape(group):
            return False
        inner = bool(code) and any(
            self._numbering.code_first(digits[found.start() :])
            for found in re.finditer(f"(?={code})", digits)
        )
        return inner or (len(digits) in _GLUED and self._numbering.takes_apart(digits))

    def _are_glued(self, digits: str, chosen: Sequence[int]) -> bool:
        """Return whether these are two numbers, of which one begins in the group that ends the
        other.
        """
        groups = [self._run[index] for index in chosen]
        ends = {*accumulate(len(group.digits) for group in groups)}
        return (
            any(
                first not in ends and self._numbering.dials(digits[:first])
                for first in self._numbering.counts
            )
            and self._numbering.takes_apart(digits)
            and not any(map(self._known.shape, groups))
        )

    def _with_shapes(self, begin: int, last: int) -> tuple[int, int]:
        """Add the rest of the shapes that the ends are part of: a rest might read as something
        else.
        """
        shape = self._known.shape(self._run[begin])
        while begin > 0 and shape and self._known.shape(self._run[begin - 1]) == shape:
            begin -= 1
        shape = self._known.shape(self._run[last])
        while last + 1 < len(self._run) and shape:
            if self._known.shape(self._run[last + 1]) != shape:
                break
            last += 1
        return begin, last


def _span(text: str, first: Group, last: Group) -> tuple[int, int]:
    """Add the plus, and brackets of which the number has one half."""
    start, end = first.start, last.end
    if opening := _OPENING.search(text, max(0, start - 4), start):
        inside = text[start:end]
        bracket = inside.count(")") > inside.count("(")
        start = opening.start() if bracket or first.plus else start
        if not bracket and text[start] == "(":
            start = text.index("+", start)
    inside = text[start:end]
    if inside.count("(") > inside.count(")") and text[end : end + 1] == ")":
        end += 1
    return start, end
