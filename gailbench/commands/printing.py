"""What commands print, and how: streams that never fail, tables, and numbers in words. Heavy imports are inside
functions, so that --help is fast."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from gailbench.plumbing.errors import one_line

if TYPE_CHECKING:
    from rich.console import Console


def stderr() -> Console:
    from rich.console import Console

    class Tireless(Console):
        """A console that falls silent when its pipe is closed, instead of ending the program."""

        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Tireless(stderr=True)


# Replacements for characters that the encoding of the terminal or the pipe lacks.
_PLAIN = {"\u00b1": "+-", "\u2713": "=", "\u25b2": "^", "\u25bc": "v", "\u03bb": "lambda", "\u2013": "-"}
_PLAIN |= {"\u2248": "=1", "\u25b3": "^1", "\u25bd": "v1"}  # verdicts by one run of each side
_PLAIN |= dict(zip("\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588", "12345678", strict=True))


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace characters that the encoding lacks, including lone surrogates in a path."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    failed = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c, c.encode("ascii", "backslashreplace").decode()) for c in failed), error.end


codecs.register_error("gailbench", _plain)


def prepare_streams() -> None:
    """Let standard output and error accept any text in any encoding. A closed one is replaced by the null device."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # otherwise the next opened file gets this number, and libraries would print into it
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            setattr(sys, name, open(number, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="gailbench")


def say(text: str) -> None:
    """Print a line on standard error. If that fails, do nothing."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(one_line(text), err=True)


@contextlib.contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Give a function that prints a line on standard output. If printing fails, the block still runs to its end, so
    that its files are written; then the error is raised."""
    lost: list[OSError] = []

    def tell(text: str) -> None:
        if not lost:
            try:
                click.echo(one_line(text))
            except OSError as error:
                lost.append(error)

    yield tell
    if lost:
        raise lost[0]


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    texts = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *texts, strict=True)]
    # A pipe has no width. Cutting columns there would lose data.
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else sum(widths) + 2 * len(widths))
    for part in _fitting(widths, console.width):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for index in part:
            table.add_column(Text(columns[index]), justify="left" if index == 0 else "right", no_wrap=True)
        for row in texts:
            table.add_row(*(Text(row[index]) for index in part))
        console.print(table)


def _fitting(widths: Sequence[int], width: int) -> list[list[int]]:
    """Divide columns among several tables, none wider than the terminal. Each table repeats the first column."""
    parts, used = [[0]], widths[0]
    for index, own in enumerate(widths[1:], start=1):
        if used + 2 + own > width and len(parts[-1]) > 1:
            parts.append([0])
            used = widths[0]
        parts[-1].append(index)
        used += 2 + own
    return parts


def print_json(content: object) -> None:
    click.echo(json.dumps(content, indent=2))


def duration(seconds: float) -> str:
    """Return a duration in words: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: float) -> str:
    """Return a large number in words: "1.5 million"."""
    for size, name in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return f"{number:.0f}"
