"""What MkDocs builds from other files: included pages, the command reference, links that leave these pages.

A page asks for it by a comment: `<!-- include: FILE -->` is a file of the repository without its title,
`<!-- include: FILE NAME -->` its part between the comments that begin with `NAME:` and `end of NAME`, and
`<!-- commands -->` every command with its help text.
"""

from __future__ import annotations

import html
import inspect
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gailbench.cli import cli

ROOT = Path(__file__).parents[1]
INCLUDE = re.compile(r"<!-- include: (\S+)(?: (\S+))? -->")
LINK = re.compile(r"(!?)\[([^\]]+)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what the page asks for; a link to a file that is no page becomes its text."""
    own = f"docs/{page.file.src_uri}"
    markdown = _with_links(markdown, own, own)
    markdown = INCLUDE.sub(lambda found: _with_links(_included(found[1], found[2]), found[1], own), markdown)
    return markdown.replace("<!-- commands -->", "\n".join(_command(cli, None, "gailbench")))


def _included(name: str, part: str | None) -> str:
    text = (ROOT / name).read_text(encoding="utf-8")
    if part is None:
        return text.partition("\n")[2].strip()
    found = re.search(rf"<!-- {part}:.*?-->(.*)<!-- end of {part} -->", text, flags=re.DOTALL)
    if found is None:
        raise ValueError(f"{name} has no part '{part}'")
    return found[1].strip()


def _with_links(text: str, source: str, page: str) -> str:
    """Links of a file as they are on a page; both are paths in the repository."""

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[3]))
        if not (target.startswith("docs/") and (ROOT / target).is_file()):
            return found[2]
        return f"{found[1]}[{found[2]}]({posixpath.relpath(target, posixpath.dirname(page))}{found[4] or ''})"

    return LINK.sub(link, text)


def _command(command: click.Command, parent: click.Context | None, name: str) -> Iterator[str]:
    """The lines of a command and of those below it."""
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    depth = context.command_path.count(" ")
    yield f"{'#' * max(depth + 1, 2)} {context.command_path}\n"
    *said, example = _paragraphs(command.help or "")
    yield from said
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
    options = [option for option in command.params if isinstance(option, click.Option)]
    if records := [record for option in options if (record := option.get_help_record(context)) is not None]:
        yield "| option | meaning |\n|---|---|"
        yield from (f"| {_code(names)} | {_plain(text)} |" for names, text in records)
        yield ""
    yield example
    yield from _paragraphs(command.epilog or "")
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _command(command.commands[below], context, below)


def _paragraphs(text: str) -> list[str]:
    """A help text as Markdown, the example last; one that click keeps as it is (\\b) is a caption and its lines."""
    said, example = [], ""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if not paragraph.startswith("\b"):
            said.append(f"{_plain(' '.join(paragraph.split()))}\n")
            continue
        caption, *lines = paragraph.removeprefix("\b\n").splitlines()
        if all(line.startswith("  ") for line in lines):
            code = "\n".join(line.removeprefix("  ") for line in lines)
            example = f"{_plain(caption)}\n\n```sh\n{code}\n```\n"
        else:
            said.append(f"{_plain(' '.join((caption, *lines)))}\n")
    return [*said, example]


def _code(names: str) -> str:
    """An option's names and values as code; a bar would end the cell."""
    return "<code>" + html.escape(names.replace("INTEGER RANGE", "INTEGER")).replace("|", "&#124;") + "</code>"


def _plain(text: str) -> str:
    """Text as it is, but for ranges without an end."""
    text = re.sub(rf"(\d+)<=x<={2**63 - 1}", r"from \1", text)
    return html.escape(re.sub(r"([\\`*_|\[\]])", r"\\\1", text), quote=False)
