"""What commands share: option types and printing. Heavy imports are inside functions, so that --help is fast."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gailbench.plumbing.errors import GailbenchError, nearest, one_line
from gailbench.tasks import TASKS, Task, find_task

if TYPE_CHECKING:
    from rich.console import Console

EXIT_ERROR, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 1, 3, 130


class Several(tuple[Any, ...]):
    """Several items given by one word of a list, such as 0-6."""


class CommaList(click.ParamType):
    """A comma-separated list. `item` converts one entry; it raises ValueError with a message if the entry is wrong."""

    name = "list"

    def __init__(self, item: Callable[[str], Any], metavar: str) -> None:
        self._item, self._metavar = item, metavar

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self._metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        if isinstance(value, list):
            return value
        items = []
        for word in str(value).split(","):
            try:
                items.append(self._item(word.strip()))
            except (ValueError, GailbenchError) as error:
                self.fail(str(error), param, ctx)
        flat = [one for item in items for one in (item if isinstance(item, Several) else (item,))]
        return list(dict.fromkeys(flat))


def one_of(kind: str, known: Sequence[str]) -> Callable[[str], str]:
    def convert(word: str) -> str:
        if word not in known:
            raise ValueError(f"unknown {kind} '{word}'{nearest(word, known)}")
        return word

    return convert


def number(kind: type[int] | type[float], least: float, below: float = 2**63) -> Callable[[str], float]:
    """Return a parser of numbers from `least` up to, but not including, `below`."""

    def convert(word: str) -> float:
        try:
            if not (word.isascii() and len(word) <= 40 and "_" not in word):
                raise ValueError
            value = kind(word)
        except ValueError:
            raise ValueError(f"'{word}' is not {'an integer' if kind is int else 'a number'}") from None
        if not least <= value < below:
            raise ValueError(f"{word} is out of range; it must be at least {least:g} and below {below:,.0f}")
        return value

    return convert


class Number(click.ParamType):
    """One number, as `number` reads it."""

    def __init__(self, kind: type[int] | type[float], least: float, below: float = 2**63) -> None:
        self.name = "integer" if kind is int else "number"
        self._read = number(kind, least, below)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if not isinstance(value, str):
            return float(value) if isinstance(value, float) else int(value)
        try:
            return self._read(value.strip())
        except ValueError as error:
            self.fail(str(error), param, ctx)


def whole_numbers(least: int) -> Callable[[str], Any]:
    """Return a parser of whole numbers and of ranges such as 0-6."""
    one = number(int, least)

    def convert(word: str) -> Any:
        first, dash, last = word.partition("-")
        if not (first.isascii() and first.isdigit() and dash and last.isascii() and last.isdigit()):
            return one(word)
        low, high = int(one(first)), int(one(last))
        if not low <= high < low + 10_000:
            raise ValueError(f"{word} is not a range from a smaller number to a larger one")
        return Several(range(low, high + 1))

    return convert


class Duration(click.ParamType):
    """A duration such as 2h30m, 45m or 90 (seconds), or in Slurm's form: 02:30:00, 1-12:00:00. Converts to seconds."""

    name = "duration"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "2h30m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        import re

        if slurm := re.fullmatch(r"(?:([0-9]{1,4})-)?([0-9]{1,4}):([0-9]{2})(?::([0-9]{2}))?", str(value).strip()):
            days, first, second, third = (int(n or 0) for n in slurm.groups())
            # Slurm reads two numbers without days as minutes and seconds.
            hours, minutes, rest = (first, second, third) if slurm[1] or slurm[4] else (0, first, second)
            if seconds := float(((days * 24 + hours) * 60 + minutes) * 60 + rest):
                return seconds
        found = re.fullmatch(
            r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)s?)?",
            str(value).strip(),
        )
        seconds = 0.0
        if found:
            seconds = sum(float(n or 0) * unit for n, unit in zip(found.groups(), (86400, 3600, 60, 1), strict=True))
        if not seconds:
            self.fail(f"'{value}' is not a time such as 2h30m, 45m, 90 (seconds) or 02:30:00", param, ctx)
        return seconds


class Shard(click.ParamType):
    """One of several equal parts, such as 2/8."""

    name = "shard"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "K/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        number, slash, of = str(value).partition("/")
        plain = all(part.isascii() and part.isdigit() and len(part) < 10 for part in (number, of))
        if not (slash and plain and 1 <= int(number) <= int(of)):
            self.fail(f"'{value}' is not K/N with K from 1 to N, such as 2/8", param, ctx)
        return int(number), int(of)


class Setting(click.ParamType):
    """A setting by name, such as gail.learning_rate=0.003."""

    name = "setting"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, equals, text = str(value).partition("=")
        if not (name.strip() and equals and text.strip()):
            self.fail(f"'{value}' is not NAME=VALUE, such as gail.learning_rate=0.003", param, ctx)
        return name.strip(), text.strip()


def _named_tasks(word: str) -> Any:
    return Several(TASKS.values()) if word == "all" else find_task(word)


def algorithm_name(word: str) -> str:
    """Check an algorithm's name. The registry is built only here, because it searches the installed packages."""
    from gailbench.algorithms import registry

    return one_of("algorithm", list(registry()))(word)


# Names of the paper's tasks, "all", Gymnasium ids, or TOML files.
TASK_LIST = CommaList(_named_tasks, "T,...")
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
POSITIVE = Number(int, 1, 2**31)
MILLION = Number(int, 1, 10**6 + 1)
THREADS = Number(int, 1, 1025)
SECONDS = Number(float, 0)
SEED = Number(int, 0)


def stderr() -> Console:
    from rich.console import Console

    class Tireless(Console):
        """A console that falls silent when its pipe is closed, instead of ending the program."""

        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Tireless(stderr=True)


# Replacements for characters that the encoding of the terminal or the pipe lacks.
_PLAIN = {"\u00b1": "+-", "\u2713": "=", "\u25b2": "^", "\u25bc": "v", "\u03bb": "lambda", "\u2013": "-"}
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


def one_task(tasks: Sequence[Task], option: str = "") -> Task:
    """Return the only task of --task.

    Raises:
        click.UsageError: There is not exactly one. `option` says which option names a single thing, for example
            "--out names one file".
    """
    if len(tasks) != 1:
        if option:
            raise click.UsageError(f"{option}, but there are {len(tasks)} tasks; give one --task")
        raise click.UsageError(f"--task names {len(tasks)} tasks; give one")
    return tasks[0]


def setting_option(help: str) -> Callable[[Any], Any]:
    """Return the option --set, which may be given several times."""
    return click.option("--set", "settings", type=Setting(), multiple=True, help=help, show_default=False)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    texts = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    # A pipe has no width. Cutting columns there would lose data.
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else sum(widths) + 2 * len(widths))
    for part in _fitting(widths, console.width):
        table = Table(box=None, pad_edge=False, header_style="bold")
        for index in part:
            table.add_column(columns[index], justify="left" if index == 0 else "right", no_wrap=True)
        for row in texts:
            table.add_row(*(row[index] for index in part))
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


def cores() -> int:
    """Return the number of cores that this process may use. A batch system may limit it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
