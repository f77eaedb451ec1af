"""The HTML page: one file that needs no other, made from the templates beside this module.

Jinja escapes every name that comes from a file. The data for the charts is JSON in a script element; it is escaped so
that no text can end the element early. The script inserts labels as text only.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gailbench.algorithms import CONSTANT
from gailbench.paper.tables import CELL, published_baselines, published_runs
from gailbench.plumbing.errors import plural
from gailbench.report import text
from gailbench.report.across_seeds import RANKS
from gailbench.report.add import ADDED
from gailbench.report.controls import CONTROLS
from gailbench.report.curves import DIAGNOSTICS, thinned
from gailbench.report.data import plain, records
from gailbench.report.failures import failures_text
from gailbench.report.findings import Findings, command, runs_of
from gailbench.report.load import takes_environment_steps
from gailbench.report.table import OTHER_COLUMNS, cell_key, heading, short_method
from gailbench.report.verdicts import MARGIN
from gailbench.tasks import TASKS

SCRIPTS = ("chart.js", "details.js", "table.js")  # each uses those before it
QUANTITIES = ("return_mean", *DIAGNOSTICS)
REASON = "settings, demonstrations or a task that are not the paper's"
NO_CURVE = "{} takes no environment steps, so it has no curve of returns."
WORDS = {
    "matches": "matches the paper",
    "better": "better than the paper",
    "worse": "worse than the paper",
    "open": "open",
    "": "no runs",
}


def page(findings: Findings) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("gailbench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # keys keep their order
    environment.filters |= {"score": text.score, "with_interval": text.with_interval}
    assert environment.loader is not None

    def raw(name: str) -> Markup:
        assert environment.loader is not None
        return Markup(environment.loader.get_source(environment, name)[0])

    tasks = list(findings.table["task"].drop_duplicates())
    layout = text.blocks(findings.table, tasks)
    return environment.get_template("page.html").render(
        style=raw("page.css"),
        scripts=[raw(name) for name in SCRIPTS],
        findings=findings,
        blocks=[_block(block) for block in layout],
        absent=_absent(layout),
        tasks=tasks,
        algorithms=list(findings.table["algorithm"].drop_duplicates()),
        words=WORDS,
        symbols=text.SYMBOLS,
        single_symbols=text.SINGLE_SYMBOLS,
        margin=MARGIN,
        iqm=text.estimates(findings.across.iqm),
        improvement=text.estimates(findings.across.improvement),
        controls=_controls(findings),
        uncontrolled=list(findings.controls.loc[findings.controls["mean"].isna(), "task"].drop_duplicates()),
        aside=len(findings.others) > 0 or not set(tasks) <= set(TASKS),
        others=[
            {
                **row,
                "number": len(findings.table) + position,
                "label": f"{row['task']}, {heading(row['algorithm'])}, {plural(row['trajectories'], 'trajectory')}, "
                f"{row['settings']}",
                "returns": text.mean_and_std(row["mean"], row["std"]),
                "normalized": text.score(row["normalized_mean"]),
            }
            for position, row in enumerate(records(findings.others[OTHER_COLUMNS]))
        ],
        data=_data(findings),
    )


def _block(block: text.Block) -> dict[str, Any]:
    headings = []
    for index, method in enumerate(block.methods):
        cells = [row.cells[index] for row in block.rows]
        headings.append({"method": method, "algorithm": next(c["algorithm"] for c in cells if c is not None)})
    return {
        "headings": headings,
        "rows": [
            {
                "task": row.task,
                "trajectories": row.trajectories,
                "absent": _is_absent(row),
                "cells": [None if cell is None else _cell(cell) for cell in row.cells],
            }
            for row in block.rows
        ],
    }


def _is_absent(row: text.Row) -> bool:
    """Return whether a row has no runs of ours."""
    return not any(cell is not None and cell["seeds"] for cell in row.cells)


def _absent(layout: list[text.Block]) -> dict[str, Any]:
    """Return how many rows have no runs of ours, and their tasks."""
    rows = [row for block in layout for row in block.rows if _is_absent(row)]
    return {"number": len(rows), "tasks": list(dict.fromkeys(row.task for row in rows))}


def _cell(cell: pd.Series) -> dict[str, Any]:
    return {
        "number": cell.name,
        "method": cell["method"],
        "algorithm": cell["algorithm"],
        "verdict": cell["verdict"],
        "symbol": text.symbol(cell),
        "sort": plain(cell["normalized_mean"]),
        "score": text.score(cell["normalized_mean"]),
        "returns": text.mean_and_std(cell["mean"], cell["std"]),
        "seeds": text.seeds(cell) if cell["seeds"] else "",
        "partial": bool(cell["seeds"]) and cell["seeds"] < cell["training_runs"],
        "paper_score": text.score(cell["paper_normalized_mean"]),
        "paper": text.mean_and_std(cell["paper_mean"], cell["paper_std"]),
    }


def _controls(findings: Findings) -> list[dict[str, Any]]:
    return [
        {
            "task": row["task"],
            "name": CONTROLS[row["control"]],
            "returns": text.mean_and_std(row["mean"], row["std"]),
            "episodes": row["episodes"] or text.NOTHING,
            "normalized": text.score(row["normalized_mean"]),
            "paper": text.mean_and_std(row["paper_mean"], row["paper_std"]),
        }
        for row in _rows(findings.controls)
        if not math.isnan(row["mean"])
    ]


def _styles(findings: Findings) -> dict[str, str]:
    """Return each method's color. Black becomes the color of the text, which is white on a dark page."""
    shown = {*findings.table["method"], *findings.others["method"]}
    return {
        name: "var(--ink)" if color == "#000000" else color
        for name, (color, _) in findings.styles.items()
        if name in shown
    }


def _data(findings: Findings) -> dict[str, Any]:
    """Return the data for the charts and for the details of cells: the cells of the table, then the other runs."""
    returns = {run: values.to_numpy() for run, values in findings.results.returns.groupby("run")["return"]}
    scores = pd.concat([findings.scores, findings.other_scores]).set_index("run")
    curves = {int(str(run)): _curve(curve) for run, curve in findings.curves.groupby("run")}
    paper = published_baselines()
    paper_runs = {cell_key(of): means for of, means in published_runs().groupby(CELL, dropna=False)["mean"]}
    cells = []
    others = findings.others.reindex(columns=[*findings.table.columns, "settings"]).assign(verdict="", reason=REASON)
    others[["paper_mean", "paper_std", "paper_normalized_mean"]] = math.nan
    rows = [row for frame in (findings.table, others) for _, row in frame.iterrows()]
    for number, cell in enumerate(rows):
        other = number >= len(findings.table)
        runs = runs_of(cell, findings.results.runs)
        has_curve = takes_environment_steps(cell["algorithm"])
        cells.append(
            {
                "number": number,
                **{key: plain(cell[key]) for key in ("task", "method", "algorithm", "trajectories", "seeds")},
                **{key: plain(cell[key]) for key in ("verdict", "reason", "episodes", "training_runs")},
                "mean": _short(cell["mean"]),
                "std": _short(cell["std"]),
                "score": _short(cell["normalized_mean"]),
                "paper_mean": _short(cell["paper_mean"]),
                "paper_std": _short(cell["paper_std"]),
                "paper_score": _short(cell["paper_normalized_mean"]),
                "paper_runs": [] if other else [_short(mean) for mean in paper_runs.get(cell_key(cell[CELL]), ())],
                "failures": failures_text(cell),
                "difference": [_short(cell[key]) for key in ("difference", "low", "high")],
                "command": "" if other else command(cell, runs),
                "aside": other or cell["task"] not in TASKS,
                "short": short_method(cell["method"]).replace(" = ", " "),
                "no_curve": "" if has_curve else NO_CURVE.format(heading(cell["algorithm"])),
                "added": bool(len(runs)) and bool((runs["settings"] == ADDED).all()),
                "runs": [
                    {
                        "seed": int(run["seed"]),
                        "mean": _short(scores.loc[run["run"], "mean"]),
                        "score": _short(scores.loc[run["run"], "normalized_mean"]),
                        "returns": [_short(value) for value in returns[run["run"]]],
                        "curve": curves.get(run["run"]),
                    }
                    for run in _rows(runs)
                ],
            }
        )
    constant = findings.controls[findings.controls["control"] == CONSTANT.name].set_index("task")["mean"]
    tasks = {
        task: {
            "random": _short(findings.baselines["random_mean"].get(task, math.nan)),
            "expert": _short(findings.baselines["expert_mean"].get(task, math.nan)),
            "constant": _short(constant.get(task, math.nan)),
            "paper_expert": _short(paper["expert_mean"].get(task, math.nan)),
        }
        for task in dict.fromkeys([*findings.table["task"], *findings.others["task"]])
    }
    return {
        "cells": cells,
        "tasks": tasks,
        "styles": _styles(findings),
        "words": WORDS,
        "ranks": list(RANKS),
        "iqm": records(findings.across.iqm),
        "profiles": {
            name: [[_short(row["threshold"]), _short(row["value"])] for row in _rows(profile)]
            for name, profile in findings.across.profiles.groupby("method", sort=False)
        },
        "experts": {task: _curve(curve) for task, curve in findings.expert_curves.items()},
    }


def _curve(curve: pd.DataFrame) -> dict[str, list[float | None]]:
    """Return a learning curve as averages of consecutive iterations, steps in millions."""
    columns = [name for name in QUANTITIES if name in curve and curve[name].notna().any()]
    drawn = thinned(curve[["steps", *columns]])
    drawn["steps"] /= 1e6
    return {str(name): [_short(value, 4) for value in values] for name, values in drawn.items()}


def _short(value: float, digits: int = 6) -> float | None:
    return None if math.isnan(value) else float(f"{value:.{digits}g}")


def _rows(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    return frame.to_dict("records")
