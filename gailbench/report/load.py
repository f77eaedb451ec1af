"""Reads run folders into tidy frames: one row per run, one per evaluation trajectory, one per iteration.

A folder that cannot be trusted is named in a remark and left out; nothing here turns damage into a number.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gailbench.paper import unpublished_results
from gailbench.plumbing.errors import GailbenchError
from gailbench.tasks import ALGORITHMS, CONSTANT, TASKS

PARTITIONS = ("task", "algorithm", "settings", "trajectories", "seed")
CELL = ["task", "algorithm", "entropy_weight", "trajectories"]
DIAGNOSTICS = (
    "discriminator_loss",
    "expert_accuracy",
    "policy_accuracy",
    "jensen_shannon",
    "kl",
    "entropy",
)
SPEC_FORMATS = (1, 2)
ADDED = "added"  # the settings of runs from a file of --add
ADDED_COLUMNS = ("task", "algorithm", "trajectories", "seed", "episode", "return")

_RUN_TYPES = {
    "run": "int64",
    "task": "str",
    "algorithm": "str",
    "settings": "str",
    "trajectories": "int64",
    "seed": "int64",
    "entropy_weight": "float64",
    "of_paper": "bool",
    "demonstrations_sha256": "str",
    "expert_sha256": "str",
    "folder": "object",
}
_CURVE_COLUMNS = ("iteration", "steps", "return_mean", *DIAGNOSTICS)


class Damaged(Exception):
    """A run folder whose content cannot be used; the message says which file and why."""


@dataclass(frozen=True)
class Results:
    """The complete runs under one results folder.

    Attributes:
        runs: One row per run: `run` (a number), the five partitions, entropy_weight (NaN where the algorithm
            has none), of_paper (whether its settings are in the paper's grid or the authors' unpublished
            runs, or it was added to that table), the two hashes, and folder (None for an added run).
        returns: One row per evaluation trajectory: run, return.
        remarks: What was left out, and why.
    """

    runs: pd.DataFrame
    returns: pd.DataFrame
    remarks: list[str] = field(default_factory=list)


def load_results(results: Path) -> Results:
    """Read spec.json and evaluation.csv of every complete run under `results`/runs."""
    runs: list[dict[str, Any]] = []
    returns: list[NDArray[np.float64]] = []
    remarks: list[str] = []
    incomplete: list[str] = []
    for folder in _run_folders(results):
        name = str(folder.relative_to(results / "runs"))
        if not (folder / "evaluation.csv").exists():  # it is written last
            incomplete.append(name)
            continue
        try:
            spec, evaluation = _read_spec(folder), _read_returns(folder / "evaluation.csv")
        except Damaged as damage:
            remarks.append(f"{name} is skipped: {damage}")
            continue
        runs.append({"run": len(runs), **spec, "folder": folder})
        returns.append(evaluation)

    if incomplete:
        some = ", ".join(incomplete[:3]) + (", ..." if len(incomplete) > 3 else "")
        remarks.append(f"{_count(len(incomplete), 'incomplete run')} (no evaluation.csv) not counted: {some}")
    if not runs:
        absent = "" if (results / "runs").is_dir() else " (it has no folder 'runs')"
        remarks.insert(0, f"no complete runs in the results folder{absent}")
    remarks += _set_apart(runs)
    lengths = [len(evaluation) for evaluation in returns]
    return Results(
        runs=pd.DataFrame(runs, columns=list(_RUN_TYPES)).astype(_RUN_TYPES),
        returns=pd.DataFrame(
            {
                "run": np.repeat(np.arange(len(runs), dtype=np.int64), lengths),
                "return": np.concatenate([np.empty(0), *returns]),
            }
        ),
        remarks=remarks,
    )


def _set_apart(runs: list[dict[str, Any]]) -> list[str]:
    """Take runs that learned from other demonstrations, or another expert's, than most runs of their task out of the
    paper's cells, in place: they get a settings name that says so. Return a remark for each task with such runs."""
    remarks = []
    sources = ("demonstrations", "expert")
    for task in dict.fromkeys(run["task"] for run in runs):
        learned = [run for run in runs if run["task"] == task and run["of_paper"] and run["algorithm"] != CONSTANT]
        kinds = Counter(tuple(run[f"{source}_sha256"] for source in sources) for run in learned)
        if len(kinds) < 2:
            continue
        usual = kinds.most_common(1)[0][0]
        for run in learned:
            differing = [
                f"{source}-{run[f'{source}_sha256'][:8]}"
                for source, hash_of_most in zip(sources, usual, strict=True)
                if run[f"{source}_sha256"] != hash_of_most
            ]
            if differing:
                kept = [] if run["settings"] == "paper" else [run["settings"]]
                run |= {"settings": ",".join(sorted([*kept, *differing])), "of_paper": False}
        remarks.append(
            f"{_count(sum(kinds.values()) - kinds[usual], 'run')} of {task} learned from other demonstrations or "
            "another expert than most, cannot be compared with them, and stand apart"
        )
    return remarks


def subset(results: Results, chosen: pd.Series) -> Results:
    """Return the runs where `chosen` is true, with their returns and without remarks."""
    runs = results.runs[chosen]
    return Results(runs, results.returns[results.returns["run"].isin(runs["run"])])


def add_results(results: Results, file: Path) -> Results:
    """Return the results with someone else's runs: a CSV of evaluation returns, ADDED_COLUMNS.

    Raises:
        GailbenchError: The file cannot be read, lacks a column, holds anything but numbers where they belong, has
            an episode twice, or uses the name of an algorithm of ours.
    """
    text = {"task": "str", "algorithm": "str"}
    try:
        frame = pd.read_csv(file, dtype=text, keep_default_na=False, na_values={"return": [""]}, skipinitialspace=True)
    except OSError as error:
        raise GailbenchError(f"{file} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise GailbenchError(f"{file} is not a CSV file with the columns {', '.join(ADDED_COLUMNS)}") from error
    missing = [column for column in ADDED_COLUMNS if column not in frame]
    if missing:
        raise GailbenchError(f"{file} has no column '{missing[0]}'; it needs {', '.join(ADDED_COLUMNS)}")
    if frame.empty:
        raise GailbenchError(f"{file} has no rows")
    for column in ADDED_COLUMNS[2:]:
        numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
        wrong = ~np.isfinite(numbers)
        if column != "return":
            wrong |= (numbers < 0) | (np.floor(numbers) != numbers)
        if wrong.any():
            line = int(np.argmax(wrong))
            kind = "a finite number" if column == "return" else "a whole number"
            raise GailbenchError(f"{file}, line {line + 2}: {column} '{frame[column].iloc[line]}' is not {kind}")
        frame[column] = numbers if column == "return" else numbers.astype(np.int64)
    for column in ("task", "algorithm"):
        if (frame[column] == "").any():
            line = int(np.argmax((frame[column] == "").to_numpy()))
            raise GailbenchError(f"{file}, line {line + 2}: {column} is empty")
    taken = {name.casefold() for name in (*ALGORITHMS, CONSTANT, *results.runs["algorithm"])}
    if ours := [name for name in frame["algorithm"].unique() if name.casefold() in taken]:
        raise GailbenchError(
            f"{file} uses the name '{ours[0]}', which is in the table already; give the method another"
        )
    key = ["task", "algorithm", "trajectories", "seed"]
    if (twice := frame.duplicated([*key, "episode"])).any():
        raise GailbenchError(f"{file}, line {int(np.argmax(twice.to_numpy())) + 2}: this episode is there twice")
    runs, returns = [results.runs], [results.returns]
    first = int(results.runs["run"].max()) + 1 if len(results.runs) else 0
    for number, (names, rows) in enumerate(frame.groupby(key, sort=False), start=first):
        spec = {"run": number, "settings": ADDED, "entropy_weight": math.nan, "of_paper": True, "folder": None}
        spec |= {"demonstrations_sha256": "", "expert_sha256": "", **dict(zip(key, names, strict=True))}
        runs.append(pd.DataFrame([spec], columns=list(_RUN_TYPES)).astype(_RUN_TYPES))
        returns.append(pd.DataFrame({"run": number, "return": rows["return"].to_numpy()}))
    remarks = list(results.remarks)
    if foreign := sorted(set(frame["task"]) - set(TASKS)):
        remarks.append(f"{file.name} has tasks that are not the paper's: {', '.join(foreign)}")
    return Results(pd.concat(runs, ignore_index=True), pd.concat(returns, ignore_index=True), remarks)


def load_expert_curves(results: Path) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Read the experts' learning curves, `results`/experts/TASK.csv, and remarks.

    Returns:
        By task: iteration, steps, and return_mean over the task's horizon. Training episodes may be longer than the
        task's; of those it is the return per step times the horizon. And remarks on what could not be read.
    """
    curves, remarks = {}, []
    for task in TASKS:
        path = results / "experts" / f"{task}.csv"
        if not path.exists():
            continue
        try:
            curve = _read_columns(path, (*_CURVE_COLUMNS[:3], "length_mean"), required=_CURVE_COLUMNS[:3])
        except Damaged as damage:
            remarks.append(f"the {task} expert's learning curve is not shown: {damage}")
            continue
        curve = curve.dropna()
        if "length_mean" in curve:
            length = curve.pop("length_mean")
            curve["return_mean"] *= length.clip(upper=TASKS[task].horizon) / length
        curves[task] = curve
    return curves, remarks


def load_curves(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Read the learning curves of these runs.

    Returns:
        One row per run and iteration (run, iteration, steps, return_mean, and DIAGNOSTICS, NaN where the
        algorithm has none), and remarks on the curves that could not be read. The Jensen-Shannon divergence is
        log 2 - loss / 2 of a discriminator, at most the true one: a lower bound in nats, which under 0 says nothing.
        It is clipped to what a divergence can be, [0, log 2].
    """
    curves: list[pd.DataFrame] = [pd.DataFrame(columns=["run", *_CURVE_COLUMNS], dtype="float64")]
    remarks: list[str] = []
    for run, folder in zip(runs["run"], runs["folder"], strict=True):
        if not isinstance(folder, Path):
            continue
        try:
            curve = _read_columns(folder / "curve.csv", _CURVE_COLUMNS, required=_CURVE_COLUMNS[:3])
            if not np.isfinite(curve[["iteration", "steps"]].to_numpy()).all():
                raise Damaged("curve.csv has rows without an iteration or steps")
        except Damaged as damage:
            name = Path(*folder.parts[-len(PARTITIONS) :])
            remarks.append(f"{name} is in the table, but not in the learning curves: {damage}")
            continue
        if "jensen_shannon" in curve:
            curve["jensen_shannon"] = curve["jensen_shannon"].clip(0.0, math.log(2))
        curves.append(curve.assign(run=run))
    # An all-empty column joined to an all-empty frame would lose its type.
    return pd.concat(curves[1:] or curves, ignore_index=True).reindex(columns=curves[0].columns), remarks


def read_run(folder: Path) -> tuple[dict[str, Any], NDArray[np.float64] | None, pd.DataFrame]:
    """Read one run's folder: its spec, its returns (None without them), its learning curve (empty without one).

    Raises:
        Damaged: A file cannot be used.
    """
    # The absolute path has the partitions, however the folder was named.
    folder = folder.resolve()
    spec = _read_spec(folder)
    returns = _read_returns(folder / "evaluation.csv") if (folder / "evaluation.csv").exists() else None
    path = folder / "curve.csv"
    if not path.exists():
        return spec, returns, pd.DataFrame(columns=list(_CURVE_COLUMNS), dtype="float64")
    return spec, returns, _read_columns(path, _CURVE_COLUMNS, required=_CURVE_COLUMNS[:3])


def _run_folders(results: Path) -> list[Path]:
    """Run folders in the order of their names, numbers by value, so that pooling has one order."""
    pattern = "/".join(f"{partition}=*" for partition in PARTITIONS)
    folders = (folder for folder in (results / "runs").glob(pattern) if folder.is_dir())
    return sorted(
        folders,
        key=lambda folder: [
            (int(value), "") if value.isdecimal() else (0, value) for value in _partitions(folder).values()
        ],
    )


def _partitions(folder: Path) -> dict[str, str]:
    return {
        partition: part.partition("=")[2]
        for partition, part in zip(PARTITIONS, folder.parts[-len(PARTITIONS) :], strict=True)
    }


def _read_spec(folder: Path) -> dict[str, Any]:
    """Read and check spec.json; return what the runs frame needs of it."""
    try:
        spec = json.loads((folder / "spec.json").read_bytes())
    except OSError as error:
        raise Damaged(f"spec.json cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise Damaged("spec.json is not JSON") from error
    if not isinstance(spec, dict):
        raise Damaged("spec.json is not a JSON object")
    if spec.get("format") not in SPEC_FORMATS:
        known = " and ".join(map(str, SPEC_FORMATS))
        raise Damaged(f"spec.json has format {spec.get('format')}; this version reads {known}")
    for partition, value in _partitions(folder).items():
        if str(spec.get(partition)) != value:
            raise Damaged(f"spec.json disagrees with its folder: {partition} {spec.get(partition)}, not {value}")

    expected = _paper_settings(spec["task"], spec["algorithm"], spec["settings"])
    for key, value in (expected or {}).items():
        if spec.get(key) != value:
            raise Damaged(
                f"spec.json disagrees with its folder: {key} {spec.get(key)}, "
                f"but settings={spec['settings']} means {value}"
            )
    weight = spec.get("entropy_weight")
    try:
        entropy_weight = math.nan if weight is None else float(weight)
        if math.isinf(entropy_weight) or (weight is not None and math.isnan(entropy_weight)):
            raise ValueError
        return {
            "task": spec["task"],
            "algorithm": spec["algorithm"],
            "settings": spec["settings"],
            "trajectories": int(spec["trajectories"]),
            "seed": int(spec["seed"]),
            "entropy_weight": entropy_weight,
            "of_paper": expected is not None,
            "demonstrations_sha256": str(spec.get("demonstrations_sha256")),
            "expert_sha256": str(spec.get("expert_sha256")),
        }
    except (TypeError, ValueError) as error:
        raise Damaged("spec.json has trajectories, seed or entropy_weight that are not numbers") from error


@cache
def unpublished_weights(task: str) -> tuple[float, ...]:
    """Return the entropy weights of GAIL that the authors ran on a task and the paper does not print."""
    cells = unpublished_results()
    return tuple(sorted(cells.loc[cells["task"] == task, "entropy_weight"].unique()))


def _paper_settings(task_name: str, algorithm: str, settings: str) -> dict[str, Any] | None:
    """Return what spec.json must hold if these settings are in the paper's grid; None if they are not.

    The grid has several entropy weights on one task; the non-zero ones live in folders of their own name.
    """
    task = TASKS.get(task_name)
    weights: dict[str, float | None] = {"paper": None}
    if algorithm == "gail":
        weights = {"paper": 0.0}
        known = (*(task.entropy_weights if task else ()), *unpublished_weights(task_name))
        weights |= {f"entropy_weight-{w:g}": w for w in known if w}
    if settings not in weights:
        return None
    if algorithm not in (*ALGORITHMS, CONSTANT):
        return {}
    expected: dict[str, Any] = {"entropy_weight": weights[settings]}
    if task and algorithm != "bc":  # behavioral cloning has neither
        expected |= {"batch": task.batch, "iterations": task.iterations}
    return expected


def _read_returns(path: Path) -> NDArray[np.float64]:
    """Read the evaluation trajectories' returns [episodes]."""
    evaluation = _read_columns(path, ("return", "length"), required=("return", "length"))
    if evaluation.empty:
        raise Damaged(f"{path.name} has no rows")
    if not np.isfinite(evaluation.to_numpy()).all():
        raise Damaged(f"{path.name} has missing or non-finite numbers")
    return evaluation["return"].to_numpy()


def _read_columns(path: Path, columns: tuple[str, ...], required: tuple[str, ...]) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, usecols=lambda name: name in columns, dtype=dict.fromkeys(columns, np.float64))
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from error
    except ValueError as error:  # pandas' parser errors and text where numbers belong
        raise Damaged(f"{path.name} cannot be read as numbers") from error
    missing = [column for column in required if column not in frame]
    if missing:
        raise Damaged(f"{path.name} has no column '{missing[0]}'")
    return frame


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
