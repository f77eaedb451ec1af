"""Everything the report says, computed once; every format is a function of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gailbench.report.across_seeds import AcrossSeeds, across_seeds
from gailbench.report.claims import (
    Cell,
    Claim,
    Condition,
    Runs,
    RunsBelow,
    Scores,
    Status,
    label,
    our_runs,
    our_scores,
    paper_claims,
    paper_runs,
    paper_scores,
)
from gailbench.report.controls import controls_table
from gailbench.report.load import ADDED, CELL, Results, load_curves, load_expert_curves
from gailbench.report.table import other_settings_table, paper_table, run_scores, table_remarks
from gailbench.report.text import plural
from gailbench.report.verdicts import VERDICTS, cell_verdicts
from gailbench.tasks import ALGORITHMS, CONSTANT, TASKS


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its outcome on our table and on the paper's own, and the conditions that decide ours."""

    text: str
    ours: Status
    paper: Status
    deciding: list[Condition | RunsBelow]
    scores: Scores
    runs: Runs

    @property
    def missing(self) -> list[Cell]:
        """The cells that an open claim waits for; one whose runs are there and not sure waits for none."""
        if self.ours != "open":
            return []
        cells = [cell for condition in self.deciding for cell in condition.cells if cell not in self.scores]
        return list(dict.fromkeys(cells))

    def evidence(self, condition: Condition | RunsBelow) -> str:
        """Return a condition with the numbers that decide it."""
        return f"{condition.text} ({condition.evidence(self.scores, self.runs)})"

    def reasons(self, most: int = 3) -> str:
        """Return what decides the claim in words, at most so many conditions or cells."""
        if self.missing:
            names = [label(cell) for cell in self.missing]
            return f"waits for {plural(len(names), 'cell')}: {_some(names, most, ', ')}"
        said = [self.evidence(condition) for condition in self.deciding]
        if self.ours == "holds" and len(said) > most:
            return f"all {len(said)} conditions hold"
        return _some(said, most, "; ")


@dataclass(frozen=True)
class Findings:
    """What the report says.

    Attributes:
        results: The runs.
        baselines: Our random and expert means, by task.
        table: `paper_table` with `cell_verdicts`.
        others: `other_settings_table`.
        controls: `controls_table`.
        scores: `run_scores` of the runs in the table and of the constant reward.
        claims: The paper's claims, judged.
        across: Statistics across seeds.
        curves: Learning curves of the runs in the table, with the run's task, method, trajectories and seed.
        expert_curves: By task.
        remarks: What a reader has to know.
    """

    results: Results
    baselines: pd.DataFrame
    table: pd.DataFrame
    others: pd.DataFrame
    controls: pd.DataFrame
    scores: pd.DataFrame
    claims: list[JudgedClaim]
    across: AcrossSeeds
    curves: pd.DataFrame
    expert_curves: dict[str, pd.DataFrame]
    remarks: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """Number of the paper's cells by verdict, in the order of VERDICTS, and without runs."""
        published = self.table[self.table["published"]]
        counts = {verdict: int((published["verdict"] == verdict).sum()) for verdict in VERDICTS}
        return counts | {"no runs": int((published["verdict"] == "").sum())}

    @property
    def headline(self) -> str:
        """The answer in a sentence."""
        counts = self.counts
        total, covered = sum(counts.values()), sum(counts.values()) - counts["no runs"]
        if covered == 0:
            return f"None of the paper's {total} cells has runs yet."
        words = {
            "matches": ("matches the paper", "match the paper"),
            "better": ("is better", "are better"),
            "worse": ("is worse", "are worse"),
            "open": ("is open", "are open"),
        }
        said = [f"{counts[verdict]} {word[counts[verdict] > 1]}" for verdict, word in words.items() if counts[verdict]]
        claims = {status: sum(claim.ours == status for claim in self.claims) for status in ("holds", "fails", "open")}
        of_claims = ", ".join(
            f"{number} {'is open' if number == 1 else 'are open'}"
            if status == "open"
            else f"{number} {status if number == 1 else status[:-1]}"
            for status, number in claims.items()
            if number
        )
        return (
            f"Of the paper's {total} cells {covered} {'has' if covered == 1 else 'have'} runs: {_listed(said)}. "
            f"Of its {len(self.claims)} claims {of_claims}."
        )

    def shown_tasks(self) -> list[str]:
        """Tasks with runs in the table, in its order."""
        return list(self.table.loc[self.table["seeds"] > 0, "task"].drop_duplicates())


def find(results: Results, folder: Path, baselines: pd.DataFrame) -> Findings:
    """Compute everything.

    Args:
        results: The runs.
        folder: The results folder, for the experts' learning curves.
        baselines: Our random and expert means, by task.
    """
    table = cell_verdicts(results, paper_table(results, baselines), baselines)
    runs = results.runs[results.runs["of_paper"]]
    scores = run_scores(results, baselines)
    scores = scores[scores["run"].isin(runs["run"])].merge(results.runs[["run", "seed"]], on="run")
    imitated = scores[scores["algorithm"] != CONSTANT]
    ours, paper = (our_scores(table), our_runs(imitated)), (paper_scores(), paper_runs())
    curves, curve_remarks = load_curves(runs[runs["algorithm"] != "bc"])
    curves = curves.merge(scores[["run", "task", "method", "trajectories", "seed"]], on="run")
    expert_curves, expert_remarks = load_expert_curves(folder)
    across = across_seeds(imitated)
    return Findings(
        results=results,
        baselines=baselines,
        table=table,
        others=other_settings_table(results, baselines),
        controls=controls_table(results, baselines),
        scores=scores,
        claims=[_judge(claim, ours, paper) for claim in paper_claims()],
        across=across,
        curves=curves,
        expert_curves=expert_curves,
        remarks=[
            *results.remarks,
            *table_remarks(results, table),
            *curve_remarks,
            *expert_remarks,
            *across.remarks,
        ],
    )


def command(cell: pd.Series, runs: pd.DataFrame) -> str:
    """Return the command that makes a cell's runs: those there are, or as many as the paper has.

    Args:
        cell: A row of the table.
        runs: The cell's rows of `Results.runs`.
    """
    if len(runs) and (runs["settings"] == ADDED).all():
        return ""
    if cell["algorithm"] not in (*ALGORITHMS, CONSTANT) or cell["task"] not in TASKS:
        return ""
    wanted = TASKS[cell["task"]].training_runs
    seeds = sorted(set(runs["seed"]) if len(runs) else range(wanted))
    words = [f"gailbench run --task {cell['task']}"]
    if cell["algorithm"] != CONSTANT:
        words.append(f"--sizes {cell['trajectories']}")
    words.append(f"--algorithms {cell['algorithm']}")
    if cell["algorithm"] == "gail" and len(TASKS[cell["task"]].entropy_weights) > 1:
        words.append(f"--entropy-weight {cell['entropy_weight']:g}")
    return " ".join([*words, f"--seeds {','.join(map(str, seeds))}"])


def runs_of(cell: pd.Series, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `Results.runs` that are pooled in a row of the table."""
    chosen = runs["of_paper"]
    for column in CELL:
        same = runs[column] == cell[column]
        chosen = chosen & (same | (runs[column].isna() & _is_nan(cell[column])))
    return runs[chosen]


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _judge(claim: Claim, ours: tuple[Scores, Runs], paper: tuple[Scores, Runs]) -> JudgedClaim:
    return JudgedClaim(claim.text, claim.status(*ours), claim.status(*paper), claim.deciding(*ours), *ours)


def _some(words: list[str], most: int, between: str) -> str:
    more = f"{between}and {len(words) - most} more" if len(words) > most else ""
    return between.join(words[:most]) + more


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
