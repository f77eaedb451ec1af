"""What the pages show exists: commands that click parses, names that the code has, imports that the layers allow."""

from __future__ import annotations

import ast
import contextlib
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gailbench import algorithms
from gailbench.algorithms import GAIL, Algorithm
from gailbench.cli import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", flags=re.MULTILINE | re.DOTALL)
SHELLS = ("", "sh", "bash", "shell", "console")
COMMAND = re.compile(r"(?:^|[\s/(])gailbench[ ]+([^|>&;)]*)")
# FILE, TASK and the like; "..." for words left out; a module of the reader's own.
PLACEHOLDER = re.compile(r"(?<![\w$])[A-Z]{2,}(?![\w=])|(?<!\S)\.\.\.(?!\S)|\b\w+:\w+-v\d")
ITSELF = "demonstrations", "sampling"  # the one import upwards that docs/architecture.md names


def _commands(page: Path) -> Iterator[str]:
    """The arguments of every gailbench command in a page's code, without those that hold placeholders."""
    for language, code in FENCE.findall(page.read_text(encoding="utf-8")):
        if language not in SHELLS:
            continue
        for line in code.replace("\\\n", " ").splitlines():
            shown = line.partition(" #")[0]
            if not shown.lstrip().startswith("#"):
                yield from (found for found in COMMAND.findall(shown) if not PLACEHOLDER.search(found))


SHOWN = [(page.relative_to(ROOT).as_posix(), command.strip()) for page in PAGES for command in _commands(page)]


def test_the_pages_show_commands() -> None:
    pages = {page for page, _ in SHOWN}
    assert {"README.md", "CONTRIBUTING.md", "docs/reproduce.md", "docs/settings.md"} <= pages
    assert len(SHOWN) > 20


@pytest.mark.parametrize(("page", "shown"), SHOWN, ids=[f"{page}: {shown}" for page, shown in SHOWN])
def test_a_command_shown_on_a_page_parses(
    page: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A batch system's variables are numbers.
    words = shlex.split(re.sub(r"\$\{?\w+\}?", "1", shown))
    monkeypatch.chdir(tmp_path)
    for word in words:
        if word.endswith(".toml"):
            path = Path(word)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('environment = "Pendulum-v1"\n')
    # An algorithm that the page itself or the examples define is not installed here.
    sources = [ROOT / page, *(ROOT / "examples").rglob("*.py")]
    texts = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    own = re.findall(r'Algorithm\(\s*(?:name=)?"(\w+)"', texts)
    known = algorithms.registry() | {name: Algorithm(name, name, "module:make") for name in own}
    monkeypatch.setattr(algorithms, "registry", lambda: known)
    command: click.Command = cli
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    if isinstance(command, click.Group):
        assert all(word.startswith("-") for word in words[:1]), f"no command {words[0]}"
    with contextlib.suppress(click.exceptions.Exit):  # --help, --version
        command.make_context("gailbench", words)


def test_the_functions_that_how_it_works_names_exist() -> None:
    text = (DOCS / "how-it-works.md").read_text(encoding="utf-8")
    known = {name for path in (ROOT / "gailbench").rglob("*.py") for name in _defined(path)} | set(GAIL.columns)
    names = {name for name in re.findall(r"`([A-Za-z_.]+)`", text) if not name.endswith((".py", ".md"))}
    assert {"Gail.fit", "trust_region_step", "RewardLearner._advantages"} <= names
    assert names - known == set()


def _defined(path: Path) -> Iterator[str]:
    """Return a module's functions, classes, methods, attributes and arguments."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            yield node.name
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    yield f"{node.name}.{part.name}"
                elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                    yield f"{node.name}.{part.target.id}"
        elif isinstance(node, ast.FunctionDef):
            yield from (node.name, f"{path.stem}.{node.name}")
            yield from (argument.arg for argument in node.args.args)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield f"{ast.unparse(node.value)}.{node.attr}"


def test_the_python_reference_names_modules() -> None:
    named = {
        name
        for page in sorted((DOCS / "reference").glob("*.md"))
        for name in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    assert "gailbench.algorithms.gail" in named
    for name in named:
        assert importlib.import_module(name).__doc__, name


def test_modules_import_only_those_of_lower_rows_of_the_architecture() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8").partition("## What may import what")[2]
    rows = [re.findall(r"`(\w+)`", line) for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    row_of = {name: number for number, names in enumerate(rows) for name in names}
    package = ROOT / "gailbench"
    parts = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert set(row_of) == parts - {"__init__", "__main__"}
    for path in package.rglob("*.py"):
        own = path.relative_to(package).parts[0].removesuffix(".py")
        if own in ("__init__", "__main__"):
            continue
        for other in _imported(path):
            if other in row_of and other != own and (own, other) != ITSELF:
                assert row_of[own] < row_of[other], f"{path.relative_to(ROOT)} imports {other}"


def _imported(path: Path) -> Iterator[str]:
    """The parts of gailbench that a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "gailbench":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gailbench."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("gailbench."))
