"""Reading run folders into tidy data frames: one row per run, per evaluation trajectory, or per iteration.

A damaged folder is left out and named in a remark.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gailbench.algorithms import Algorithm, is_taken, registry
from gailbench.paper.tables import unpublished_results
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.files import LARGEST, LARGEST_TABLE, check_regular, read_regular, sha256
from gailbench.runs.folder import PARTITIONS, RunFolder, read_evaluation
from gailbench.runs.spec import DEFAULTS, PAPER
from gailbench.runs.spec import FORMATS as SPEC_FORMATS
from gailbench.tasks import TASKS, Task

CELL = ["task", "algorithm", "entropy_weight", "trajectories"]
DIAGNOSTICS = (
    "discriminator_loss",
    "expert_accuracy",
    "policy_accuracy",
    "jensen_shannon",
    "kl",
    "entropy",
)
# Standard deviations sum squares of returns. Squares of larger returns could be infinite.
LARGEST_RETURN = 1e100
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
_TEXTS = ("task", "algorithm", "settings", "demonstrations_sha256", "expert_sha256")
_NUMBERS = ("trajectories", "seed")
_CURVE_COLUMNS = ("iteration", "steps", "return_mean", *DIAGNOSTICS)


class Damaged(Exception):
    """The content of a run folder cannot be used. The message says which file and why."""


@dataclass(frozen=True)
class Results:
    """The complete runs under one results folder.

    Attributes:
        runs: One row per run: `run` (a number), the five partitions, entropy_weight (NaN if the algorithm has
            none), of_paper (whether the run belongs in the paper's table: its settings are the paper's or those of the
            authors' unpublished runs, or it was added), the two hashes, and folder (None for an added run).
        returns: One row per evaluation trajectory: run, return.
        remarks: What is left out, and why.
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
    for folder in _run_folders(results, remarks):
        name = str(folder.relative_to(results / "runs"))
        try:
            if not RunFolder(folder).complete:
                incomplete.append(name)
                continue
            spec, evaluation = _read_spec(folder, _partitions(folder)), _read_returns(folder)
        except (Damaged, OSError) as damage:
            reason = damage.strerror if isinstance(damage, OSError) else damage
            remarks.append(f"{name} is skipped: {reason}")
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
    """Take runs out of their cells, in place, if they differ from most runs of their task in what a cell must share:
    the demonstrations and the expert, and for a user's own task its definition. The name of their settings then says
    so. Return a remark for each task with such runs."""
    remarks = []
    for task in dict.fromkeys(run["task"] for run in runs):
        own = task not in TASKS
        # Settings that name the user's demonstrations are in other cells already.
        shared = [
            run
            for run in runs
            if run["task"] == task and (run["of_paper"] or (own and "demonstrations-" not in run["settings"]))
        ]
        learned = [run for run in shared if _learns(run["algorithm"])]
        sources = ("demonstrations", "expert")
        if odd := _rename_odd(learned, sources):
            remarks.append(
                f"{_count(odd, 'run')} of {task} learned from other demonstrations or another expert than most, cannot "
                "be compared with them, and stand apart"
            )
        if odd := _rename_odd(shared, ("definition",)):
            remarks.append(
                f"{_count(odd, 'run')} of {task} were made with another definition of the task than most, cannot be "
                "compared with them, and stand apart"
            )
    return remarks


def _rename_odd(runs: list[dict[str, Any]], sources: tuple[str, ...]) -> int:
    """Add the hashes of its sources to a run's settings, in place, if most runs have others. Return the number of such
    runs."""
    kinds = Counter(tuple(run[f"{source}_sha256"] for source in sources) for run in runs)
    if len(kinds) < 2:
        return 0
    usual = kinds.most_common(1)[0][0]
    for run in runs:
        differing = [
            f"{source}-{run[f'{source}_sha256'][:8]}"
            for source, hash_of_most in zip(sources, usual, strict=True)
            if run[f"{source}_sha256"] != hash_of_most
        ]
        if differing:
            kept = [] if run["settings"] in (PAPER, DEFAULTS) else [run["settings"]]
            run |= {"settings": ",".join(sorted([*kept, *differing])), "of_paper": False}
    return sum(kinds.values()) - kinds[usual]


def subset(results: Results, chosen: pd.Series) -> Results:
    """Return the runs where `chosen` is true, with their returns and without remarks."""
    runs = results.runs[chosen]
    return Results(runs, results.returns[results.returns["run"].isin(runs["run"])])


def add_results(results: Results, file: Path) -> Results:
    """Return the results with added runs of another method, from a CSV file of evaluation returns with ADDED_COLUMNS.

    Raises:
        GailbenchError: The file cannot be read, lacks a column, has a value that should be a number and is not, has an
            episode twice, or uses a name or heading of one of our algorithms.
    """
    text = {"task": "str", "algorithm": "str"}
    try:
        check_regular(file)
        if file.stat().st_size > LARGEST_TABLE:
            raise GailbenchError(f"{file} is larger than {LARGEST_TABLE:,} bytes; give the evaluation returns only")
        frame = pd.read_csv(
            file,
            dtype=text,
            keep_default_na=False,
            na_values={"return": [""]},
            skipinitialspace=True,
            compression=None,  # otherwise pandas guesses the compression from the file's name
            index_col=False,
            on_bad_lines="error",
            low_memory=False,  # otherwise a column may hold several types
        )
        frame.index = pd.Index(_lines(file))
    except OSError as error:
        raise GailbenchError(f"{file} cannot be read ({error.strerror})") from error
    except (ValueError, csv.Error) as error:
        raise GailbenchError(
            f"{file} is not a CSV file, uncompressed, with the columns {', '.join(ADDED_COLUMNS)} ({first_line(error)})"
        ) from error
    missing = [column for column in ADDED_COLUMNS if column not in frame]
    if missing:
        raise GailbenchError(f"{file} has no column '{missing[0]}'; it needs {', '.join(ADDED_COLUMNS)}")
    if frame.empty:
        raise GailbenchError(f"{file} has no rows")
    for column in ADDED_COLUMNS[2:]:
        numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
        wrong = ~np.isfinite(numbers) | (frame[column].dtype == bool)  # pandas reads true and false as such
        if column == "return":
            wrong |= np.abs(numbers) >= LARGEST_RETURN
        else:
            wrong |= (numbers < 0) | (np.floor(numbers) != numbers) | (numbers >= 2**31)
        if wrong.any():
            line, value = frame.index[wrong][0], frame[column][wrong].iloc[0]
            kind = f"a finite number below {LARGEST_RETURN:g}" if column == "return" else "a whole number below 2^31"
            raise GailbenchError(f"{file}, line {line}: {column} '{value}' is not {kind}")
        frame[column] = numbers if column == "return" else numbers.astype(np.int64)
    for column in ("task", "algorithm"):
        if (empty := frame[column] == "").any():
            raise GailbenchError(f"{file}, line {frame.index[empty][0]}: {column} is empty")
    for column in ("task", "algorithm"):
        for name in frame[column].unique():
            if not NAME.fullmatch(name):
                raise GailbenchError(
                    f"{file}: '{name[:40]}' cannot be the name of a {'method' if column == 'algorithm' else 'task'}: "
                    "printable characters, at most 60"
                )
    taken = {name.casefold() for name in results.runs["algorithm"]}
    ours = [n for n in frame["algorithm"].unique() if n.casefold() in taken or is_taken(n, registry().values())]
    if ours:
        raise GailbenchError(
            f"{file} uses the name '{ours[0]}', which is in the table already; give the method another name"
        )
    key = ["task", "algorithm", "trajectories", "seed"]
    if (twice := frame.duplicated([*key, "episode"])).any():
        raise GailbenchError(f"{file}, line {frame.index[twice][0]}: this episode is there twice")
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


NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,60}")


def _lines(file: Path) -> list[int]:
    """Return the lines in which the rows after the header end. Empty lines, which pandas skips, are no rows.

    Raises:
        ValueError: A row has more or fewer columns than the header, so that pandas would shift them; or the header has
            a column twice, of which pandas would rename one.
    """
    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.reader(stream, skipinitialspace=True)
        header: list[str] = next((row for row in rows if row), [])
        if twice := [name for number, name in enumerate(header) if name in header[:number]]:
            raise ValueError(f"the header has the column '{twice[0]}' twice")
        lines = []
        for row in rows:
            if row in ([], [""]):
                continue
            if len(row) != len(header):
                raise ValueError(f"line {rows.line_num} has {len(row)} columns, the header {len(header)}")
            lines.append(rows.line_num)
    return lines


def load_expert_curves(results: Path, tasks: Mapping[str, Task]) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Read the learning curves of tasks' experts, `results`/experts/TASK.csv. Curves of the trainings that an expert's
    training began with (TASK.before.csv, TASK.before.before.csv) come first; steps and iterations are counted on.

    Returns:
        By task, data frames with iteration, steps, and return_mean over the task's horizon; and remarks on curves that
        could not be read. If training episodes are longer than the task's, return_mean is the return per step times the
        horizon.
    """
    curves, remarks = {}, []
    for task in tasks:
        path = results / "experts" / f"{task}.csv"
        parts: list[pd.DataFrame] = []
        try:
            while path.exists():
                part = _read_columns(path, (*_CURVE_COLUMNS[:3], "length_mean"), required=_CURVE_COLUMNS[:3]).dropna()
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
            curve["return_mean"] *= length.clip(upper=tasks[task].horizon) / length
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
    # Concatenating with an empty frame would change the types of empty columns.
    return pd.concat(curves[1:] or curves, ignore_index=True).reindex(columns=curves[0].columns), remarks


def read_run(folder: Path) -> tuple[dict[str, Any], NDArray[np.float64] | None, pd.DataFrame]:
    """Read one run folder: its spec, its returns (None if there are none), its learning curve (empty if there is none).

    Raises:
        Damaged: A file cannot be used.
    """
    # Folder names are not checked, since the run may have been copied or be reached by a link.
    spec = _read_spec(folder, {})
    returns = _read_returns(folder) if RunFolder(folder).complete else None
    path = RunFolder(folder).curve
    if not path.exists():
        return spec, returns, pd.DataFrame(columns=list(_CURVE_COLUMNS), dtype="float64")
    # If an iteration is a gradient step, there are neither environment steps nor returns.
    curve = _read_columns(path, _CURVE_COLUMNS, required=_CURVE_COLUMNS[:1])
    return spec, returns, curve.reindex(columns=list(_CURVE_COLUMNS))


def _run_folders(results: Path, remarks: list[str]) -> list[Path]:
    """Return run folders in the order of their names (numbers by value), so that runs are always pooled in the same
    order. Folders that cannot be read are named in `remarks`."""
    folders = [results / "runs"]
    for partition in PARTITIONS:
        inner = []
        for folder in folders:
            try:
                inner += [path for path in folder.iterdir() if path.name.startswith(f"{partition}=") and path.is_dir()]
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                remarks.append(f"{folder} cannot be read ({error.strerror}); its runs are left out")
        folders = inner
    return sorted(folders, key=lambda folder: [_rank(value) for value in _partitions(folder).values()])


def _rank(value: str) -> tuple[int, str]:
    """Return the sort key of a partition's value. Numbers are sorted by value."""
    return (int(value), "") if value.isascii() and value.isdigit() and len(value) < 20 else (0, value)


def _partitions(folder: Path) -> dict[str, str]:
    return {
        partition: part.partition("=")[2]
        for partition, part in zip(PARTITIONS, folder.parts[-len(PARTITIONS) :], strict=True)
    }


def _read_spec(folder: Path, partitions: dict[str, str]) -> dict[str, Any]:
    """Read spec.json and check it against the folder's names. Return the entries for `Results.runs`."""
    try:
        spec = json.loads(content_of(RunFolder(folder).spec))
    except (ValueError, RecursionError) as error:
        raise Damaged("spec.json is not JSON") from error
    if not isinstance(spec, dict):
        raise Damaged("spec.json is not a JSON object")
    if spec.get("format") not in SPEC_FORMATS:
        known = " and ".join(map(str, SPEC_FORMATS))
        raise Damaged(f"spec.json has format {spec.get('format')}; this version reads {known}")
    for name in _TEXTS:
        text = spec.get(name, "" if name.endswith("sha256") else None)
        if not (isinstance(text, str) and text.isprintable()):
            raise Damaged(f"spec.json has no {name} that is a name")
    for name in _NUMBERS:
        number = spec.get(name)
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
            raise Damaged(f"spec.json has no {name} that is a number")
    for partition, value in partitions.items():
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
    if weight is not None and not (isinstance(weight, int | float) and 0 <= weight < LARGEST_RETURN):
        raise Damaged("spec.json has an entropy_weight that is not a number from 0")
    return {
        **{name: spec[name] for name in PARTITIONS},
        "entropy_weight": math.nan if weight is None else float(weight),
        "of_paper": expected is not None,
        **{name: spec.get(name, "") for name in ("demonstrations_sha256", "expert_sha256")},
        "definition_sha256": sha256(json.dumps(spec.get("definition"), sort_keys=True).encode()),
    }


@cache
def unpublished_weights(task: str) -> tuple[float, ...]:
    """Return the entropy weights of GAIL that the authors ran on a task and the paper does not print."""
    cells = unpublished_results()
    return tuple(sorted(cells.loc[cells["task"] == task, "entropy_weight"].unique()))


def _paper_settings(task_name: str, algorithm: str, settings: str) -> dict[str, Any] | None:
    """Return the entries that spec.json must have if these settings are in the paper's grid; None if they are not.

    One task has several entropy weights. Runs with non-zero ones have folders named after the weight.
    """
    task = TASKS.get(task_name)
    weights: dict[str, float | None] = {"paper": None}
    known_algorithm = _algorithm(algorithm)
    if known_algorithm is not None and known_algorithm.has_entropy_weight:
        weights = {"paper": 0.0}
        known = (*(task.entropy_weights if task else ()), *unpublished_weights(task_name))
        weights |= {f"entropy_weight-{w:g}": w for w in known if w}
    if settings not in weights:
        return None
    if known_algorithm is None:
        return {}
    expected: dict[str, Any] = {"entropy_weight": weights[settings]}
    if task and known_algorithm.takes_environment_steps:
        expected |= {"batch": task.batch, "iterations": task.iterations}
    return expected


def _algorithm(name: str) -> Algorithm | None:
    """Return the algorithm with a name; None if its package is not installed."""
    return registry().get(name)


def _learns(name: str) -> bool:
    """Return whether an algorithm learns from demonstrations. It may if the algorithm is not installed."""
    algorithm = _algorithm(name)
    return algorithm is None or algorithm.needs_demonstrations


def _read_returns(folder: Path) -> NDArray[np.float64]:
    """Read the evaluation returns (episodes,) of a run, after checking the run's checksums."""
    run = RunFolder(folder)
    try:
        if damaged := run.changed():
            raise Damaged(f"{damaged.name} does not have the checksum that it was written with")
        returns, _ = read_evaluation(run.evaluation)
    except GailbenchError as error:
        raise Damaged(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{run.evaluation.name}: {first_line(error)}") from error
    if not (np.abs(returns) < LARGEST_RETURN).all():
        raise Damaged(f"{run.evaluation.name} has a return beyond {LARGEST_RETURN:g}, which no statistic survives")
    return returns


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


def content_of(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a run's file.

    Raises:
        Damaged: The file cannot be read.
    """
    try:
        return read_regular(path, largest=largest)
    except GailbenchError as error:
        raise Damaged(f"{path.name} cannot be read ({error})") from None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
