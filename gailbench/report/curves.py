"""Learning curves of runs and experts: read into data frames, and thinned for drawing."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from gailbench.plumbing.files import LARGEST_TABLE
from gailbench.report.load import LARGEST_RETURN, Damaged, content_of
from gailbench.runs.folder import PARTITIONS, RunFolder

DIAGNOSTICS = (
    "discriminator_loss",
    "expert_accuracy",
    "policy_accuracy",
    "jensen_shannon",
    "kl",
    "entropy",
)
POINTS = 60  # points of a drawn curve; a panel has fewer pixels than a run has iterations
_COLUMNS = ("iteration", "steps", "return_mean", *DIAGNOSTICS)


def load_expert_curves(results: Path, horizons: Mapping[str, int]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Read the learning curves of tasks' experts, `results`/experts/TASK.csv. Curves of the trainings that an expert's
    training began with (TASK.before.csv, TASK.before.before.csv) come first; steps and iterations are counted on.

    Args:
        results: The results folder.
        horizons: The tasks, each with its horizon.

    Returns:
        By task, data frames with iteration, steps, and return_mean over the task's horizon; and remarks on curves that
        could not be read. If training episodes are longer than the task's, return_mean is the return per step times the
        horizon.
    """
    curves, remarks = {}, []
    for task, horizon in horizons.items():
        path = results / "experts" / f"{task}.csv"
        parts: list[pd.DataFrame] = []
        try:
            while path.exists():
                part = _read_columns(path, (*_COLUMNS[:3], "length_mean"), required=_COLUMNS[:3]).dropna()
                if len(part):
                    parts.insert(0, part)
                path = path.with_suffix(".before.csv")
        except (Damaged, OSError) as damage:
            remarks.append(f"the {task} expert's learning curve is not shown: {damage}")
            continue
        if not parts:
            continue
        for earlier, part in pairwise(parts):
            part[["iteration", "steps"]] += earlier[["iteration", "steps"]].max()
        curve = pd.concat(parts, ignore_index=True)
        if "length_mean" in curve:
            length = curve.pop("length_mean")
            curve["return_mean"] *= length.clip(upper=horizon) / length
        curves[task] = curve
    return curves, remarks


def load_curves(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Read the learning curves of these runs.

    Returns:
        One row per run and iteration (run, iteration, steps, return_mean, and DIAGNOSTICS, NaN if the algorithm
        has none), and remarks on curves that could not be read. The Jensen-Shannon divergence is log 2 - loss / 2 of
        the discriminator. It is at most the true divergence: a lower bound in nats. It is clipped to [0, log 2], the
        range of a divergence.
    """
    curves: list[pd.DataFrame] = [pd.DataFrame(columns=["run", *_COLUMNS], dtype="float64")]
    remarks: list[str] = []
    for run, folder in zip(runs["run"], runs["folder"], strict=True):
        if not isinstance(folder, Path):
            continue
        try:
            curve = _read_columns(folder / "curve.csv", _COLUMNS, required=_COLUMNS[:3])
            if not np.isfinite(curve[["iteration", "steps"]].to_numpy()).all():
                raise Damaged("curve.csv has rows without an iteration or steps")
        except Damaged as damage:
            name = Path(*folder.parts[-len(PARTITIONS) :])
            remarks.append(f"{name} is in the table, but not in the learning curves: {damage}")
            continue
        if "jensen_shannon" in curve:
            curve["jensen_shannon"] = curve["jensen_shannon"].clip(0.0, math.log(2))
        curves.append(curve.assign(run=run))
    # Concatenating with an empty frame would change the types of empty columns.
    return pd.concat(curves[1:] or curves, ignore_index=True).reindex(columns=curves[0].columns), remarks


def read_curve(folder: Path) -> pd.DataFrame:
    """Read the learning curve of one run folder; it is empty if there is none.

    Raises:
        Damaged: The file cannot be used.
    """
    path = RunFolder(folder).curve
    if not path.exists():
        return pd.DataFrame(columns=list(_COLUMNS), dtype="float64")
    # If an iteration is a gradient step, there are neither environment steps nor returns.
    curve = _read_columns(path, _COLUMNS, required=_COLUMNS[:1])
    return curve.reindex(columns=list(_COLUMNS))


def rows_per_point(length: int) -> int:
    """Return how many rows of a curve of this length are averaged in one point, so that there are at most POINTS."""
    return max(1, math.ceil(length / POINTS))


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """Return a curve with at most POINTS rows: averages of consecutive rows, without missing values."""
    return curve.groupby(np.arange(len(curve)) // rows_per_point(len(curve))).mean()


def _read_columns(path: Path, columns: tuple[str, ...], required: tuple[str, ...]) -> pd.DataFrame:
    content = io.BytesIO(content_of(path, LARGEST_TABLE))
    try:
        frame = pd.read_csv(content, usecols=lambda name: name in columns, dtype=dict.fromkeys(columns, np.float64))
    except ValueError as error:  # parser errors of pandas, or text in place of numbers
        raise Damaged(f"{path.name} cannot be read as numbers") from error
    missing = [column for column in required if column not in frame]
    if missing:
        raise Damaged(f"{path.name} has no column '{missing[0]}'")
    if (frame.abs() >= LARGEST_RETURN).any(axis=None):
        raise Damaged(f"{path.name} has a number beyond {LARGEST_RETURN:g}")
    return frame
