"""Finds numbers of the host's own, such as orders and trips, which it describes by regular
expressions: they are no telephone numbers. Pure.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache

# What is tried may be no longer, and an expression has no more repeats: without one inside another
# (refused as well) the worst takes some milliseconds.
_LONGEST = 18
_MOST_REPEATS = 5
_MOST = 100  # characters of an expression
_TOKEN = re.compile(r"(?<![\w+])[^\W_]+(?:[-/_.][^\W_]+)*(?!\w)")
_GROUP = re.compile(r"(?<!\\)\)[*+?{]|\\\d|\(\?(?!:)")  # (?:a|b) only groups
_OPEN_BRACE = re.compile(r"(?<!\\)\{(?!\d*(?:,\d*)?\})(?![^\[]*\])")  # literal, to re
_UNBOUNDED = re.compile(r"(?<!\\)(?:[*+]|\{\d*,\})(?![^\[]*\])")
_REPEAT = re.compile(r"(?<!\\)(?:\{\d*,\d*\}|\?)(?![^\[]*\])")
# No token has these: quotes, commas between expressions, and slashes at an end, as other languages
# put them.
_NEVER = re.compile(r"""^/|/$|[,;'"](?![^\[{]*[\]}])""")
_ANYTHING = ("", "a", "salom", "+998901234567")


def refusal(pattern: str) -> str:
    """Return why an expression cannot be used, or nothing."""
    if len(pattern) > _MOST:
        return f"an expression may have {_MOST} characters"
    if _GROUP.search(pattern):
        return "groups may be neither repeated nor referred to"
    if _UNBOUNDED.search(pattern):
        return "say how many with {m,n} in place of * and +"
    if _OPEN_BRACE.search(pattern):
        return "a brace does not end"
    if len(_REPEAT.findall(pattern)) > _MOST_REPEATS:
        return f"an expression may repeat {_MOST_REPEATS} times"
    if never := _NEVER.search(pattern):
        return f"no number has {never[0]} there (expressions are separated by spaces)"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of [[:digit:]], which is something else here
            found = re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, FutureWarning) as wrong:
        return f"no regular expression: {wrong}"
    if any(map(found.fullmatch, _ANYTHING)):
        return "it fits texts that are no number"
    return ""


def spans(text: str, patterns: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Find words of a folded text that one of the expressions fits from end to end."""
    if patterns:
        for token in _TOKEN.finditer(text):
            if token.end() - token.start() <= _LONGEST and _is_own(token[0], tuple(patterns)):
                yield token.span()


@lru_cache(maxsize=4096)
def _is_own(token: str, patterns: tuple[str, ...]) -> bool:
    return any(re.fullmatch(pattern, token, re.IGNORECASE) for pattern in patterns)
