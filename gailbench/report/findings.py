"""The content of the report, computed once. Every format is a function of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gailbench.algorithms import CONSTANT, registry
from gailbench.experts import own_horizons
from gailbench.paper import ALGORITHMS, PROPOSED
from gailbench.paper.claims import paper_claims
from gailbench.paper.tables import CELL
from gailbench.report.across_seeds import AcrossSeeds, across_seeds
from gailbench.report.add import ADDED
from gailbench.report.claims import JudgedClaim, judge, our_table, published_table
from gailbench.report.controls import controls_table
from gailbench.report.curves import load_curves, load_expert_curves
from gailbench.report.load import Results, takes_environment_steps
from gailbench.report.styles import Styles, styles_of
from gailbench.report.table import other_scores, other_settings_table, paper_table, run_scores, table_remarks
from gailbench.report.verdicts import VERDICTS, cell_verdicts, rests_on_single_runs
from gailbench.tasks import TASKS


@dataclass(frozen=True)
class Findings:
    """The content of the report.

    Attributes:
        results: The runs.
        baselines: Our random and expert means, by task.
        table: Result of `paper_table`, with the columns of `cell_verdicts`.
        others: Result of `other_settings_table`.
        controls: Result of `controls_table`.
        scores: Result of `run_scores` for the runs in the table and of the constant reward.
        other_scores: Result of the function `other_scores` for the runs in `others`.
        claims: The paper's claims with their outcomes.
        across: Statistics across seeds.
        curves: Learning curves of the runs in the table and in `others`, with each run's task, method, trajectories and
            seed.
        expert_curves: Learning curves of experts, by task.
        remarks: Remarks for the reader.
    """

    results: Results
    baselines: pd.DataFrame
    table: pd.DataFrame
    others: pd.DataFrame
    controls: pd.DataFrame
    scores: pd.DataFrame
    other_scores: pd.DataFrame
    claims: list[JudgedClaim]
    across: AcrossSeeds
    curves: pd.DataFrame
    expert_curves: dict[str, pd.DataFrame]
    remarks: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of the paper's cells by verdict, in the order of VERDICTS, and the number without runs."""
        published = self.table[self.table["published"]]
        counts = {verdict: int((published["verdict"] == verdict).sum()) for verdict in VERDICTS}
        return counts | {"no runs": int((published["verdict"] == "").sum())}

    @property
    def headline(self) -> str:
        """The result of the comparison in a sentence."""
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

    @property
    def caveat(self) -> str:
        """How many of the decided cells rest on one run of each side, in a sentence; empty if there are none."""
        counts = self.counts
        decided = sum(counts.values()) - counts["open"] - counts["no runs"]
        alone = int((self.table["published"] & rests_on_single_runs(self.table)).sum())
        if alone == 0:
            return ""
        return (
            "Decided by one run of ours against one of the paper's, which does not show how much runs differ: "
            f"{alone} of the {decided} verdicts that are not open."
        )

    def shown_tasks(self) -> list[str]:
        """The tasks with runs in the table, in its order."""
        return list(self.table.loc[self.table["seeds"] > 0, "task"].drop_duplicates())

    @property
    def styles(self) -> Styles:
        """Color and marker of every method, for all figures."""
        return styles_of({*self.table["method"], *self.scores["method"], *self.others["method"]})

    def others_beside(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the rows for the figures of the other runs, in the columns of `table` and `scores`. These are the
        other runs, labelled by their settings, and the table's cells of the same tasks and algorithms; for tasks that
        are not in the table, all rows."""
        pairs = set(zip(self.others["task"], self.others["algorithm"], strict=True))

        def beside(frame: pd.DataFrame) -> pd.DataFrame:
            of_pairs = [pair in pairs for pair in zip(frame["task"], frame["algorithm"], strict=True)]
            return frame[np.array(of_pairs, dtype=bool) | ~frame["task"].isin(TASKS)]

        others = self.others.drop(columns=["paper_mean", "paper_std", "paper_normalized_mean"])
        table = pd.concat([beside(self.table), others], ignore_index=True)
        return table, pd.concat([beside(self.scores), self.other_scores], ignore_index=True)


def find(
    results: Results,
    folder: Path,
    baselines: pd.DataFrame,
) -> Findings:
    """Compute the content of the report.

    Args:
        results: The runs.
        folder: The results folder, for the experts' learning curves.
        baselines: Our random and expert means, by task.
    """
    table = cell_verdicts(results, paper_table(results, baselines), baselines)
    runs = results.runs[results.runs["of_paper"]]
    scores = run_scores(results, baselines)
    scores = scores[scores["run"].isin(runs["run"])].merge(results.runs[["run", "seed"]], on="run")
    imitated = scores[scores["algorithm"] != CONSTANT.name]
    ours, paper = our_table(table, imitated), published_table()
    others = other_scores(results, baselines)
    curves, curve_remarks = load_curves(
        results.runs[results.runs["algorithm"].map(takes_environment_steps).astype(bool)]
    )
    of_run = ["run", "task", "method", "trajectories", "seed"]
    curves = curves.merge(pd.concat([scores[of_run], others[of_run]]), on="run")
    horizons = {name: task.horizon for name, task in TASKS.items()}
    with_runs = set(results.runs["task"])
    horizons |= {name: horizon for name, horizon in own_horizons(folder).items() if name in with_runs}
    expert_curves, expert_remarks = load_expert_curves(folder, horizons)
    across = across_seeds(imitated, TASKS, ALGORITHMS, PROPOSED)
    return Findings(
        results=results,
        baselines=baselines,
        table=table,
        others=other_settings_table(results, baselines),
        controls=controls_table(results, baselines, TASKS),
        scores=scores,
        other_scores=others,
        claims=[judge(claim, ours, paper) for claim in paper_claims()],
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
    """Return the command that makes a cell's runs: the existing ones, or as many as the paper has.

    Args:
        cell: A row of the table.
        runs: The rows of `Results.runs` for this cell.
    """
    if len(runs) and (runs["settings"] == ADDED).all():
        return ""
    algorithm = registry().get(cell["algorithm"])
    if algorithm is None or cell["task"] not in TASKS:
        return ""
    wanted = TASKS[cell["task"]].training_runs
    seeds = sorted(set(runs["seed"]) if len(runs) else range(wanted))
    words = [f"gailbench run --task {cell['task']}"]
    if algorithm.needs_demonstrations:
        words.append(f"--sizes {cell['trajectories']}")
    words.append(f"--algorithms {algorithm.name}")
    if algorithm.has_entropy_weight and len(TASKS[cell["task"]].entropy_weights) > 1:
        words.append(f"--entropy-weight {cell['entropy_weight']:g}")
    return " ".join([*words, f"--seeds {','.join(map(str, seeds))}"])


def runs_of(cell: pd.Series, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `Results.runs` that are pooled in a row of the table or of `others`."""
    chosen = ~runs["of_paper"] & (runs["settings"] == cell["settings"]) if "settings" in cell else runs["of_paper"]
    for column in CELL:
        same = runs[column] == cell[column]
        chosen = chosen & (same | (runs[column].isna() & _is_nan(cell[column])))
    return runs[chosen]


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
