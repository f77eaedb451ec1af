"""The folder of one run: the names of its files, and whether it is complete.

DIR/runs/task=T/algorithm=A/settings=S/trajectories=N/seed=K/
    spec.json           what determines the run
    curve.csv           the learning curve, one row per iteration
    policy.safetensors  the policy after the last iteration (BC: the policy with the lowest validation loss)
    versions.json       versions, kind of processor, commit, command
    timing.json         wall times
    checksums.json      SHA-256 of spec.json, curve.csv, policy.safetensors and evaluation.csv
    evaluation.csv      returns and lengths of the deterministic policy; written last, so a folder with it is
                        complete
    checkpoint.safetensors, error.txt, lock   only while the run is not complete
    unusable-checkpoint.safetensors           a checkpoint that could not be continued
    events.out.tfevents.*                     the learning curve for TensorBoard, with --tensorboard
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gailbench.plumbing import checkpoints
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.files import (
    LARGEST_TABLE,
    Unreadable,
    encoded,
    read_regular,
    sha256,
    sha256_of,
    write_atomic,
)
from gailbench.runs.spec import RunSpec, task_of
from gailbench.tasks import Task

EPISODES = 50
EVALUATION_COLUMNS = "episode,return,length"
PARTITIONS = ("task", "algorithm", "settings", "trajectories", "seed")

Status = Literal["complete", "resumable", "new"]
Notice = Callable[[str], None]


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run's files."""

    path: Path

    @property
    def spec(self) -> Path:
        return self.path / "spec.json"

    @property
    def curve(self) -> Path:
        return self.path / "curve.csv"

    @property
    def policy(self) -> Path:
        return self.path / "policy.safetensors"

    @property
    def versions(self) -> Path:
        return self.path / "versions.json"

    @property
    def timing(self) -> Path:
        return self.path / "timing.json"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation.csv"

    @property
    def checksums(self) -> Path:
        return self.path / "checksums.json"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def events(self) -> list[Path]:
        return sorted(self.path.glob("events.out.tfevents.*"))

    @property
    def error(self) -> Path:
        return self.path / "error.txt"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def complete(self) -> bool:
        """Whether the run is complete: the file that is written last exists."""
        return self.evaluation.exists()

    def task(self) -> Task:
        """Return the run's task.

        Raises:
            GailbenchError: The folder is not a run folder, or its spec.json is damaged.
        """
        try:
            content = read_regular(self.spec)
        except GailbenchError as error:
            raise GailbenchError(
                f"{self.path} is not a run: {self.spec.name} cannot be read ({error}); runs are "
                "RESULTS/runs/task=.../.../seed=..."
            ) from None
        try:
            return task_of(json.loads(content))
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise GailbenchError(f"{self.spec} is damaged ({first_line(error)})") from None

    def returns(self, spec: RunSpec, notice: Notice) -> NDArray[np.float64] | None:
        """Return the evaluation returns (EPISODES,) of a complete run. Return None if the run is incomplete or damaged.

        Raises:
            GailbenchError: The folder holds a run of another spec, or a file that may be undamaged cannot be read.
        """
        if not self.complete:
            return None
        path = self.spec
        try:
            found = json.loads(read_regular(path))
            if not isinstance(found, dict):
                raise ValueError("it is not a JSON object")
            if others := _differing(found, spec):
                raise AnotherRun(
                    f"{self.path} holds a run with another {', '.join(others)}; remove it or choose another --results"
                )
            path = self.evaluation
            returns, _ = read_evaluation(path)
            path = self.curve
            last = read_regular(path, largest=LARGEST_TABLE).decode("ascii").splitlines()[-1]
            if int(last.split(",")[0]) != spec.iterations:
                raise ValueError(f"it does not end with iteration {spec.iterations}")
            path = self.policy
            arrays, _ = checkpoints.read(path, "policy")
            if not arrays or not all(np.isfinite(array).all() for array in arrays.values()):
                raise ValueError("it does not hold finite numbers")
            path = self.checksums
            if damaged := self.changed():
                path = damaged
                raise ValueError("it does not have the checksum that it was written with")
        except (Unreadable, AnotherRun):
            raise
        except (GailbenchError, ValueError, IndexError, TypeError, RecursionError) as error:
            notice(f"{path} is damaged ({first_line(error)}); the run is done again")
            return None
        return returns

    def changed(self) -> Path | None:
        """Return the first file whose content does not match its checksum. Return None if there is no such file, or if
        there are no checksums (runs of earlier versions).

        Raises:
            GailbenchError: A file cannot be read.
            ValueError: checksums.json is damaged.
        """
        if not self.checksums.exists():
            return None
        found = json.loads(read_regular(self.checksums))
        if not isinstance(found, dict):
            raise ValueError(f"{self.checksums.name} is not a JSON object")
        for name in CHECKED:
            if found.get(name) != sha256_of(self.path / name):
                return self.path / name
        return None

    def write_result(self, contents: dict[str, str | bytes]) -> None:
        """Write the files of a complete run, given by name. evaluation.csv is written last.

        Raises:
            OSError: A file cannot be written.
        """
        spec = {self.spec.name: self.spec.read_bytes()}
        digests = {name: sha256(encoded(content)) for name, content in {**spec, **contents}.items() if name in CHECKED}
        last = self.evaluation.name
        for name in (name for name in contents if name != last):
            write_atomic(self.path / name, contents[name])
        write_atomic(self.checksums, json.dumps(digests, indent=2) + "\n")
        write_atomic(self.evaluation, contents[last])


class AnotherRun(GailbenchError):
    """A folder holds a complete run of another spec."""


def _differing(found: dict[str, Any], spec: RunSpec) -> list[str]:
    """Return the names of the entries in which a stored spec differs."""
    wanted = spec.as_json()
    if "own_settings" not in found:  # a run of an earlier version
        wanted.pop("own_settings", None)
    for name in ("demonstrations_sha256", "expert_sha256"):
        if not wanted[name]:  # unknown until the demonstrations are sampled
            wanted[name] = found.get(name, "")
    return [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]


# The files with checksums: those that the report and later runs read.
CHECKED = ("spec.json", "curve.csv", "policy.safetensors", "evaluation.csv")
_RETURN = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")


def read_evaluation(path: Path, episodes: int | None = None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the returns and lengths (episodes,) in an evaluation.csv. By default it must have `EPISODES` episodes.

    Raises:
        GailbenchError: The file cannot be read.
        ValueError: The file does not have exactly the form that `evaluation_csv` writes.
    """
    header, *lines = read_regular(path).decode("ascii").splitlines() or [""]
    if header != EVALUATION_COLUMNS:
        raise ValueError(f"its columns are not {EVALUATION_COLUMNS}")
    if not lines:
        raise ValueError("it has no rows")
    rows = [line.split(",") for line in lines]
    episodes = EPISODES if episodes is None else episodes
    if [row[0] for row in rows] != [str(k) for k in range(episodes)]:
        raise ValueError(f"it does not hold the {episodes} episodes 0 to {episodes - 1} once each")
    for row in rows:
        if len(row) != 3 or not _RETURN.fullmatch(row[1]) or not (row[2].isdigit() and 0 < int(row[2]) < 2**31):
            raise ValueError(f"episode {row[0]} is not a return and a length")
    returns = np.array([float(row[1]) for row in rows])
    if not np.isfinite(returns).all():
        raise ValueError("it holds a return that is not finite")
    return returns, np.array([int(row[2]) for row in rows], dtype=np.int64)


def folder_of(spec: RunSpec, results: Path) -> RunFolder:
    """Return the folder of a run in a results folder."""
    return RunFolder(spec.folder(results))


def status(spec: RunSpec, results: Path, notice: Notice = lambda text: None) -> Status:
    """Return the status of a run. If a complete run is damaged and must be done again, `notice` gets a message.

    Raises:
        GailbenchError: Its folder holds a complete run of another spec, for example with other demonstrations.
    """
    folder = folder_of(spec, results)
    if folder.checkpoint.exists():
        return "resumable"  # it may be complete, with a checkpoint that was not removed
    return "new" if folder.returns(spec, notice) is None else "complete"


def evaluation_csv(returns: NDArray[np.float64], lengths: NDArray[np.int64]) -> str:
    """Return evaluation trajectories as CSV: episode, return, length."""
    lines = [f"{k},{value!r},{length}" for k, (value, length) in enumerate(zip(returns.tolist(), lengths, strict=True))]
    return "\n".join((EVALUATION_COLUMNS, *lines)) + "\n"
