"""docs/your-task.md, your-algorithm.md and cluster.md: their commands parse, their tables are the code's, and the
smallest algorithm that is shown runs."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import click
import pandas as pd
import pytest
from cli_helpers import launch

import gailbench.algorithms as algorithms
from gailbench.algorithms import Algorithm, Assignment, registry
from gailbench.cli import EXIT_CODES, cli
from gailbench.experts.recipes import SETTINGS, recipe_for
from gailbench.plumbing.interrupts import STOP
from gailbench.tasks import Task, own_task

ROOT = Path(__file__).parents[2]
FILES = {
    "your-task": ROOT / "docs" / "your-task.md",
    "your-algorithm": ROOT / "docs" / "your-algorithm.md",
    "cluster": ROOT / "docs" / "cluster.md",
    "own-algorithms": ROOT / "examples" / "own-algorithms" / "README.md",
}
PAGES = {name: path.read_text() for name, path in FILES.items()}


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The gailbench commands of a page: in blocks, and with their options in running text."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += [" ".join(code.split()) for code in re.findall(r"`(gailbench [^`]+ --[^`]+)`", prose)]
    return [line for line in lines if line.startswith("gailbench ")]


def table(text: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table under a heading, by the key in their first cell."""
    below = text.split(f"\n{heading}\n")[1]
    (rows, *_) = re.findall(r"(?:^\|.*\n)+", below, re.MULTILINE)
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows.splitlines()[2:]]
    return {row[0].strip("| `"): row[1:] for row in cells}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The algorithms that the pages name."""
    names = ("airl", "dagger", "nearest")
    points = [
        SimpleNamespace(name=name, value=name, load=lambda name=name: Algorithm(name, name, "nowhere:make"))
        for name in names
    ]
    monkeypatch.setattr(algorithms, "entry_points", lambda group: points)
    monkeypatch.chdir(ROOT)
    registry.cache_clear()
    yield
    registry.cache_clear()


# Commands


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("page", PAGES)
def test_every_command_parses(page: str) -> None:
    found = commands(PAGES[page])
    assert found
    for line in found:
        words = shlex.split(line)[1:]
        command: click.Command = cli
        while words and isinstance(command, click.Group) and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        if words or command.params:
            command.make_context("gailbench", words)  # raises a usage error


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = PAGES[page]
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(r"\b((?:examples|tests|docs)/[\w./-]*\w)", text)
    assert linked or named
    assert all((FILES[page].parent / path).exists() for path in linked)
    assert all((ROOT / path).exists() for path in named)


def test_the_pages_exit_codes_and_signals_are_those_of_the_code() -> None:
    cluster = PAGES["cluster"]
    assert set(table(cluster, "## Exit codes")) == set(re.findall(r"\b(\d+) ", EXIT_CODES))
    first_row = cluster.split("| signal or limit |")[1].splitlines()[2]
    assert set(re.findall(r"SIG\w+", first_row)) == {number.name for number in STOP}


# Tables


def test_the_keys_of_a_tasks_file_are_all_in_the_table_and_no_others() -> None:
    from gailbench.tasks import _FILE_FIELDS

    assert set(table(PAGES["your-task"], "## Keys of the file")) == set(_FILE_FIELDS)


def test_the_keys_of_an_experts_table_are_all_in_the_table_and_no_others() -> None:
    assert set(table(PAGES["your-task"], "### `[expert]`")) == set(SETTINGS)


TASK = own_task("Pendulum-v1")  # 200 steps


@pytest.mark.parametrize("heading", ["## Keys of the file", "### `[expert]`"])
def test_the_defaults_in_the_tables_are_the_codes(heading: str) -> None:
    usual: Task | object = TASK if "Keys" in heading else recipe_for(TASK)
    literal = 0
    for key, (default, *_) in table(PAGES["your-task"], heading).items():
        value = getattr(usual, key)
        if default.startswith("`"):
            literal += 1
            given = tomllib.loads(f"x = {default.strip('`')}")["x"]
            assert (tuple(given) if isinstance(given, list) else given) == value, key
        elif default == "none" and key != "environment":
            assert value in ((), None), key
        elif default == "the task's":
            assert value == getattr(TASK, key), key
    assert literal >= 5


def test_the_defaults_that_are_in_words_are_the_codes() -> None:
    words = {key: row[0] for key, row in table(PAGES["your-task"], "## Keys of the file").items()}
    assert (words["horizon"], TASK.horizon) == ("the environment's time limit, or 1,000", 200)
    assert (words["demonstrations"], TASK.demonstrations) == ("the largest size", 25)
    assert (words["keep_every"], TASK.keep_every) == ("a 50th of the horizon", 200 // 50)
    assert words["batch"] == "ten horizons, at least 5,000"
    assert [own_task("Pendulum-v1", {"horizon": horizon}).batch for horizon in (200, 900)] == [5_000, 9_000]


@pytest.mark.parametrize(
    ("heading", "owner"),
    [("## The fields of an Algorithm", Algorithm), ("## The fields of an Assignment", Assignment)],
)
def test_the_fields_in_the_tables_are_the_codes(heading: str, owner: type) -> None:
    assert list(table(PAGES["your-algorithm"], heading)) == [field.name for field in fields(owner)]


# The smallest algorithm


def test_the_smallest_algorithm_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = PAGES["your-algorithm"]
    project = tomllib.loads(blocks(page, "toml")[0])["project"]
    value, reward = blocks(page, "python")
    package, information = tmp_path / "my_algorithms", tmp_path / "my_algorithms-0.1.0.dist-info"
    for folder in (package, information):
        folder.mkdir()
    (package / "__init__.py").write_text(value)
    (package / "nearest.py").write_text(reward)
    points = project["entry-points"]["gailbench.algorithms"]
    lines = [f"{name} = {place}" for name, place in points.items()]
    (information / "entry_points.txt").write_text("\n".join(["[gailbench.algorithms]", *lines, ""]))
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    (line,) = (line for line in commands(page) if "nearest" in line)
    budget = ("--sizes", 1, "--batch", 1000, "--iterations", 8, "--jobs", 1)
    finished = launch(*shlex.split(line)[1:], *budget, folder=tmp_path)
    assert finished.code == 0, finished.err
    (curve,) = (pd.read_csv(path) for path in tmp_path.rglob("curve.csv"))
    assert "nearest.scale-0.5" in str(next(tmp_path.rglob("curve.csv")))
    assert curve["return_mean"].iloc[-1] > 2 * curve["return_mean"].iloc[0]
