"""Reading run folders into tidy data frames: one row per run, or per evaluation trajectory.

A damaged folder is left out and named in a remark.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gailbench.algorithms import Algorithm, registry
from gailbench.paper.tables import unpublished_results
from gailbench.plumbing.errors import GailbenchError, first_line, plural
from gailbench.plumbing.files import LARGEST, read_regular, sha256
from gailbench.runs.folder import PARTITIONS, RunFolder, read_evaluation
from gailbench.runs.spec import DEFAULTS, PAPER
from gailbench.runs.spec import FORMATS as SPEC_FORMATS
from gailbench.tasks import TASKS

# Standard deviations sum squares of returns. Squares of larger returns could be infinite.
LARGEST_RETURN = 1e100
RUN_TYPES = {
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
        remarks.append(f"{plural(len(incomplete), 'incomplete run')} (no evaluation.csv) not counted: {some}")
    if not runs:
        absent = "" if (results / "runs").is_dir() else " (it has no folder 'runs')"
        remarks.insert(0, f"no complete runs in the results folder{absent}")
    remarks += _set_apart(runs)
    lengths = [len(evaluation) for evaluation in returns]
    return Results(
        runs=pd.DataFrame(runs, columns=list(RUN_TYPES)).astype(RUN_TYPES),
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
    the demonstrations and the expert, the rule of batches, and for a user's own task its definition. The name of their
    settings then says so. Return a remark for each task with such runs."""
    remarks = []
    for task in dict.fromkeys(run["task"] for run in runs):
        own = task not in TASKS
        # Settings that name the user's demonstrations are in other cells already.
        shared = [
            run
            for run in runs
            if run["task"] == task and (run["of_paper"] or (own and "demonstrations-" not in run["settings"]))
        ]
        for concerns, sources, words in _SHARED:
            if odd := _rename_odd([run for run in shared if concerns(run["algorithm"])], sources):
                remarks.append(
                    f"{plural(odd, 'run')} of {task} {words} than most, cannot be compared with them, and stand apart"
                )
    return remarks


def _rename_odd(runs: list[dict[str, Any]], sources: tuple[str, ...]) -> int:
    """Add the values of its sources to a run's settings, in place, if most runs have others. Return the number of such
    runs."""
    kinds = Counter(tuple(run[source] for source in sources) for run in runs)
    if len(kinds) < 2:
        return 0
    usual = kinds.most_common(1)[0][0]
    for run in runs:
        differing = [
            f"{source.removesuffix('_sha256')}-{str(run[source])[:8]}"
            for source, of_most in zip(sources, usual, strict=True)
            if run[source] != of_most
        ]
        if differing:
            kept = [] if run["settings"] in (PAPER, DEFAULTS) else [run["settings"]]
            run |= {"settings": ",".join(sorted([*kept, *differing])), "of_paper": False}
    return sum(kinds.values()) - kinds[usual]


def subset(results: Results, chosen: pd.Series) -> Results:
    """Return the runs where `chosen` is true, with their returns and without remarks."""
    runs = results.runs[chosen]
    return Results(runs, results.returns[results.returns["run"].isin(runs["run"])])


def read_run(folder: Path) -> tuple[dict[str, Any], NDArray[np.float64] | None]:
    """Read one run folder: its spec, and its returns (None if there are none).

    Raises:
        Damaged: A file cannot be used.
    """
    # Folder names are not checked, since the run may have been copied or be reached by a link.
    spec = _read_spec(folder, {})
    return spec, _read_returns(folder) if RunFolder(folder).complete else None


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
        "format": spec["format"],
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


def takes_environment_steps(name: str) -> bool:
    """Return whether an algorithm's iterations are batches of environment steps. They may be if it is not installed."""
    algorithm = _algorithm(name)
    return algorithm is None or algorithm.takes_environment_steps


# What the runs of a cell must share: which algorithms it concerns, the entries of a run, and a remark on other runs.
_SHARED: tuple[tuple[Callable[[str], bool], tuple[str, ...], str], ...] = (
    (
        _learns,
        ("demonstrations_sha256", "expert_sha256"),
        "learned from other demonstrations or another expert",
    ),
    (lambda name: True, ("definition_sha256",), "were made with another definition of the task"),
    (takes_environment_steps, ("format",), "were made by a version with another rule of batches"),
)


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


def content_of(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a run's file.

    Raises:
        Damaged: The file cannot be read.
    """
    try:
        return read_regular(path, largest=largest)
    except GailbenchError as error:
        raise Damaged(f"{path.name} cannot be read ({error})") from None
