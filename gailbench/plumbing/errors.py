"""The one exception that becomes a single line on stderr and exit code 1."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Characters of a word that a line shows whole, and of each end of a longer one.
_LONGEST_WORD, _KEPT = 1000, 100


class GailbenchError(Exception):
    """A user's mistake or a condition that the user can mend: what, which value was seen, what to do."""


def one_line(text: str) -> str:
    """Return text as one line of a terminal: what would break it, or cannot be printed, escaped; words of thousands of
    characters shortened."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return " ".join(
        word if len(word) <= _LONGEST_WORD else f"{word[:_KEPT]}...{word[-_KEPT:]}" for word in shown.split(" ")
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'walker'?" for a near miss, else the list of what is known."""
    names = list(known)
    matches = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else f"; known: {', '.join(names)}"
