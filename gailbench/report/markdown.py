"""The report in Markdown: table.md, RESULTS/README.md, and the block of numbers in another README."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.files import read_regular, write_atomic
from gailbench.report.controls import CONTROLS
from gailbench.report.failures import failures_text
from gailbench.report.findings import Findings
from gailbench.report.text import (
    LEGEND,
    NOTHING,
    Block,
    blocks,
    estimates,
    mean_and_std,
    score,
    seeds,
    symbol,
)

BEGIN = "<!-- results: written by 'gailbench report', not by hand -->"
END = "<!-- end of results -->"
OF_TASKS = ("curves_", "strips_", "other_curves_", "other_strips_")  # figures of one task


def table_markdown(findings: Findings) -> str:
    """Return the whole report as text: the headline, the claims, the tables, the statistics, the controls."""
    shown = findings.shown_tasks()
    parts = _headline(findings)
    if shown:
        parts += ["## The paper's claims", _claims(findings)]
        parts += [
            "## Returns",
            "Mean ± standard deviation, pooled over the evaluation trajectories of all seeds, and below it the "
            f"paper's (Ho & Ermon 2016, Table 3). {LEGEND}. Failed: runs under half of the median run's score, with "
            "Fisher's exact p that both sides fail as often.",
            *_blocks(findings.table, shown, _returns_cell),
            "## Normalized scores, ours / paper",
            "(return - random) / (expert - random): 0 is a uniformly random policy, 1 the expert, acting "
            "stochastically. Ours by our own random policy and experts, the paper's by the paper's (Table 1).",
            *_blocks(findings.table, shown, _normalized_cell),
            *_across_seeds(findings),
        ]
    parts += [part for part in (_others(findings),) if part]
    parts += ["## Controls", *_controls(findings)]
    return "\n\n".join([*parts, *_absent(findings)]) + "\n"


def readme(findings: Findings, report: str, files: Sequence[str]) -> str:
    """Return a README for the results folder.

    Args:
        report: The folder of the report, relative to the results folder.
        files: Names of the files in it. Pictures are shown.
    """
    written = [name for name in ("report.html", "table.md", "table.csv", "table.json", "table.tex") if name in files]
    pictures = [name for name in files if name.endswith(".png")]
    of_tasks = [name for name in pictures if name.startswith(OF_TASKS)]
    links = ", ".join(f"[{name}]({report}/{name})" for name in written)
    parts = [
        "# Results",
        BEGIN,
        f"The same as a page with every run behind every cell, and as data: {links}." if links else "",
        table_markdown(findings).replace("\n## ", "\n### ").strip(),
        *(_picture(report, name) for name in pictures if name not in of_tasks),
        *(["<details><summary>Learning curves and single trajectories of each task</summary>"] if of_tasks else []),
        *(_picture(report, name) for name in of_tasks),
        *(["</details>"] if of_tasks else []),
        "### Remarks\n\n" + "\n".join(f"- {escape(remark)}" for remark in findings.remarks) if findings.remarks else "",
        "Made by `gailbench report` from `runs/`; how verdicts are reached is written in `docs/report.md` of the "
        "source.",
        END,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def is_results_readme(text: str) -> bool:
    """Whether a text is a README that `readme` wrote, with nothing added before or after the marks."""
    return text.startswith(f"# Results\n\n{BEGIN}") and text.rstrip().endswith(END) and text.count(END) == 1


def _others(findings: Findings) -> str:
    """Return the section on runs that are not in the paper's grid: other settings, demonstrations and tasks."""
    if not len(findings.others):
        return ""
    rows = [
        [
            escape(str(row["task"])),
            escape(str(row["algorithm"])),
            escape(str(row["settings"])),
            str(row["trajectories"]),
            str(row["seeds"]),
            mean_and_std(row["mean"], row["std"]),
            score(row["normalized_mean"]),
        ]
        for _, row in findings.others.iterrows()
    ]
    heading = ["Task", "Algorithm", "Settings", "Trajectories", "Seeds", "Return", "Score"]
    return f"## Other runs\n\nNot of the paper's grid.\n\n{_markdown(heading, rows)}"


def summary(findings: Findings, results: str) -> str:
    """Return a short block for a project's README: the headline, the claims, the normalized scores.

    Args:
        results: The results folder, relative to this README.
    """
    parts = [*_headline(findings), _claims(findings)]
    if shown := findings.shown_tasks():
        parts.append(f"Normalized scores, ours / the paper's (0 is random, 1 the expert; {LEGEND}):")
        parts += _blocks(findings.table, shown, _normalized_cell)
    parts += _absent(findings)
    parts.append(f"Returns, statistics across seeds, controls and figures: [{results}/README.md]({results}/README.md).")
    return "\n\n".join(parts)


def fill_block(path: Path, content: str) -> None:
    """Write `content` between the two marks of a Markdown file.

    Raises:
        GailbenchError: The file cannot be read or written, or lacks the marks.
    """
    try:
        text = read_regular(path, "Markdown file").decode()
        if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
            raise GailbenchError(f"{path} lacks the lines {BEGIN} and {END}; add them where the results should be")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        write_atomic(path, f"{before}{BEGIN}\n\n{content}\n\n{END}{after}")
    except (OSError, UnicodeDecodeError) as error:
        raise GailbenchError(f"cannot write the results into {path} ({error})") from error


def escape(text: str) -> str:
    """Return a user's label escaped for Markdown, so that it is neither markup nor the end of a table's cell."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split())).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _picture(report: str, name: str) -> str:
    return f"![{name.removesuffix('.png')}]({report}/{name})"


def _headline(findings: Findings) -> list[str]:
    return [part for part in (findings.headline, findings.caveat) if part]


def _absent(findings: Findings) -> list[str]:
    shown = findings.shown_tasks()
    absent = [escape(task) for task in findings.table["task"].drop_duplicates() if task not in shown]
    return [f"No runs yet: {', '.join(absent)}."] if absent else []


def _claims(findings: Findings) -> str:
    rows = [
        [str(number), escape(claim.text), f"**{claim.ours}**", claim.paper, escape(claim.reasons())]
        for number, claim in enumerate(findings.claims, start=1)
    ]
    return _markdown(["", "The paper's claim", "Ours", "The paper's table", "Decided by"], rows)


def _across_seeds(findings: Findings) -> list[str]:
    across = findings.across
    if across.iqm.empty:
        return ["## Across seeds", *map(escape, across.remarks)]
    parts = [
        "## Across seeds",
        "Interquartile mean of the runs' normalized scores over tasks, by rank of the demonstration size, with 95 % "
        "stratified bootstrap intervals.",
        _estimates(across.iqm),
    ]
    if not across.improvement.empty:
        parts += [
            f"Probability that a run of {across.proposed} scores above a run of the other algorithm.",
            _estimates(across.improvement),
        ]
    return parts + [f"- {escape(note)}" for note in _notes(pd.concat([across.iqm, across.improvement]))]


def _estimates(frame: pd.DataFrame) -> str:
    table = estimates(frame)
    rows = [[row.rank, *row.cells, row.tasks] for row in table.rows]
    return _markdown(["Size", *map(escape, table.methods), "Tasks"], rows)


def _notes(frame: pd.DataFrame) -> list[str]:
    notes: dict[str, list[str]] = {}
    for _, row in frame[frame["note"] != ""].iterrows():
        ranks = notes.setdefault(row["note"], [])
        if row["rank"] not in ranks:
            ranks.append(row["rank"])
    return [f"{', '.join(ranks)}: {note}" for note, ranks in notes.items()]


def _controls(findings: Findings) -> list[str]:
    rows = [
        [
            row["task"],
            CONTROLS[row["control"]],
            mean_and_std(row["mean"], row["std"]),
            str(row["episodes"] or NOTHING),
            score(row["normalized_mean"]),
            mean_and_std(row["paper_mean"], row["paper_std"]),
        ]
        for _, row in findings.controls.iterrows()
    ]
    return [
        "Both ends of the normalized score, and what survival alone scores: TRPO on a constant reward of the task's "
        "sign, without demonstrations. The constant reward is ours, not the paper's.",
        _markdown(["Task", "Control", "Return", "Trajectories", "Normalized", "Paper"], rows),
    ]


def _blocks(table: pd.DataFrame, tasks: list[str], text: Callable[[pd.Series], str]) -> list[str]:
    return [_table_of(block, text) for block in blocks(table, tasks)]


def _table_of(block: Block, text: Callable[[pd.Series], str]) -> str:
    rows, before = [], ""
    for row in block.rows:
        cells = [NOTHING if cell is None else text(cell) for cell in row.cells]
        rows.append(["" if row.task == before else escape(row.task), str(row.trajectories), *cells])
        before = row.task
    return _markdown(["Task", "Trajectories", *map(escape, block.methods)], rows)


def _returns_cell(row: pd.Series) -> str:
    """Return a cell: `200.0 ± 0.0 (3/7 seeds) ?<br>paper 200.0 ± 0.0<br>failed 0/3, the paper's 1/7, p = 1`."""
    ours = NOTHING
    if row["seeds"]:
        ours = f"{mean_and_std(row['mean'], row['std'])} ({seeds(row)}) {symbol(row)}".strip()
    paper = mean_and_std(row["paper_mean"], row["paper_std"])
    lines = [ours, *([] if paper == NOTHING else [f"paper {paper}"])]
    return "<br>".join([*lines, *filter(None, [failures_text(row)])])


def _normalized_cell(row: pd.Series) -> str:
    pair = f"{score(row['normalized_mean'])} / {score(row['paper_normalized_mean'])}"
    return f"{pair} {symbol(row)}".strip()


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
