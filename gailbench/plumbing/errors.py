"""The exception for expected errors, which becomes one line on stderr and exit code 1, and the wording of messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Words up to the first number of characters are shown in full. Of longer words, this many characters of each end are.
_LONGEST_WORD, _KEPT = 1000, 100


class GailbenchError(Exception):
    """A mistake of the user, or a condition that the user can change. The message says what is wrong, which value was
    found, and what to do."""


def one_line(text: str) -> str:
    """Return text as one line for a terminal. Line breaks and unprintable characters are escaped, and very long words
    are shortened."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return " ".join(
        word if len(word) <= _LONGEST_WORD else f"{word[:_KEPT]}...{word[-_KEPT:]}" for word in shown.split(" ")
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its type if it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def nearest(word: str, known: Iterable[str], listed: bool = True) -> str:
    """Return "; did you mean 'walker'?" if a known name is similar. Otherwise return the list of known names, or an
    empty text unless `listed`."""
    names = list(known)
    if matches := difflib.get_close_matches(word, names, n=1, cutoff=0.5):
        return f"; did you mean '{matches[0]}'?"
    return f"; known: {', '.join(names)}" if listed else ""


def plural(number: int, noun: str) -> str:
    """Return a number with a noun: `1 cell`, `2 cells`, `2 trajectories`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
