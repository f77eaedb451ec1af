"""What commands share: option types and exit codes. Heavy imports are inside functions, so that --help is fast."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from gailbench.plumbing.errors import GailbenchError, nearest
from gailbench.tasks import TASKS, Task, find_task

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


class TaskList(CommaList):
    """Names of the paper's tasks, "all", Gymnasium ids, or TOML files.

    Files and folders are named after tasks, so no two tasks may have the same name.
    """

    def __init__(self) -> None:
        super().__init__(_named_tasks, "T,...")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        tasks = super().convert(value, param, ctx)
        names = [task.name for task in tasks]
        if twice := [name for name in names if names.count(name) > 1]:
            self.fail(f"two different tasks have the name '{twice[0]}'; give one of them another name", param, ctx)
        return tasks


TASK_LIST = TaskList()
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
POSITIVE = Number(int, 1, 2**31)
MILLION = Number(int, 1, 10**6 + 1)
THREADS = Number(int, 1, 1025)
SECONDS = Number(float, 0)
SEED = Number(int, 0)


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


overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an existing file.")


def check_free(path: Path, overwrite: bool) -> None:
    """Check that a command may write a file.

    Raises:
        GailbenchError: The file exists, and --overwrite is not given.
    """
    if path.exists() and not overwrite:
        raise GailbenchError(f"{path} exists already; give another --out, or --overwrite")


def cores() -> int:
    """Return the number of cores that this process may use. A batch system may limit it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
