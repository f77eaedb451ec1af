"""The folder of one run: what its files are called, and whether it is complete.

DIR/runs/task=T/algorithm=A/settings=S/trajectories=N/seed=K/
    spec.json           what determines the run
    curve.csv           the learning curve, one row per iteration
    policy.safetensors  the policy after the last iteration (BC: its best snapshot)
    versions.json       what it was made with, and the command
    timing.json         wall times
    checksums.json      SHA-256 of the other files, evaluation.csv included
    evaluation.csv      returns and lengths of the deterministic policy; written last, so a folder with it is
                        complete
    checkpoint.safetensors, error.txt, lock   of a run that is not complete
    unusable-checkpoint.safetensors           a checkpoint that could not be continued
    events.out.tfevents.*                     the curve for TensorBoard, where it was asked for
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
from gailbench.runs.spec import RunSpec

EPISODES = 50
EVALUATION_COLUMNS = "episode,return,length"
PARTITIONS = ("task", "algorithm", "settings", "trajectories", "seed")

Status = Literal["complete", "resumable", "new"]
Notice = Callable[[str], None]


@dataclass(frozen=True)
class RunFolder:
    """Where a run's files are."""

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
        """Whether the file that is written last is there."""
        return self.evaluation.exists()

    def returns(self, spec: RunSpec, notice: Notice) -> NDArray[np.float64] | None:
        """Return the evaluation's returns (EPISODES,) of a complete run; None if it is not complete, or damaged.

        Raises:
            GailbenchError: The folder holds a run of another spec, or a file that cannot be read and may be whole.
        """
        if not self.complete:
            return None
        path = self.spec
        try:
            found = json.loads(read_regular(path))
            if not isinstance(found, dict):
                raise ValueError("it is not a JSON object")
            if others := _differing(found, spec):
                raise _AnotherRun(
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
        except (Unreadable, _AnotherRun):
            raise
        except (GailbenchError, ValueError, IndexError, TypeError, RecursionError) as error:
            notice(f"{path} is damaged ({first_line(error)}); the run is done again")
            return None
        return returns

    def changed(self) -> Path | None:
        """Return the first file that is not as it was written; None if all are, or none has a checksum (runs of
        earlier versions).

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
        """Write a complete run's files by name, the one that makes it complete last.

        Raises:
            OSError: One cannot be written.
        """
        spec = {self.spec.name: self.spec.read_bytes()}
        digests = {name: sha256(encoded(content)) for name, content in {**spec, **contents}.items() if name in CHECKED}
        last = self.evaluation.name
        for name in (name for name in contents if name != last):
            write_atomic(self.path / name, contents[name])
        write_atomic(self.checksums, json.dumps(digests, indent=2) + "\n")
        write_atomic(self.evaluation, contents[last])


class _AnotherRun(GailbenchError):
    """A folder holds a complete run of another spec."""


def _differing(found: dict[str, Any], spec: RunSpec) -> list[str]:
    """Names of what a stored spec has otherwise."""
    wanted = spec.as_json()
    for name in ("demonstrations_sha256", "expert_sha256"):
        if not wanted[name]:  # not known before they are sampled
            wanted[name] = found.get(name, "")
    return [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]


# What the report and a later run rely on.
CHECKED = ("spec.json", "curve.csv", "policy.safetensors", "evaluation.csv")
_RETURN = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")


def read_evaluation(path: Path, episodes: int | None = None) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the returns and lengths (episodes,) that an evaluation.csv holds; there must be EPISODES by default.

    Raises:
        GailbenchError: It cannot be read.
        ValueError: It is not exactly what `evaluation_csv` writes.
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
    """Say how far a run is; `notice` hears of a complete run that is damaged, which has to be done again.

    Raises:
        GailbenchError: Its folder holds a complete run of another spec, say with other demonstrations.
    """
    folder = folder_of(spec, results)
    if folder.checkpoint.exists():
        return "resumable"  # or complete, but not tidied up
    return "new" if folder.returns(spec, notice) is None else "complete"


def evaluation_csv(returns: NDArray[np.float64], lengths: NDArray[np.int64]) -> str:
    """Return evaluation trajectories as CSV: episode, return, length."""
    lines = [f"{k},{value!r},{length}" for k, (value, length) in enumerate(zip(returns.tolist(), lengths, strict=True))]
    return "\n".join((EVALUATION_COLUMNS, *lines)) + "\n"
