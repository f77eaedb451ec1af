"""The folder of one run: what its files are called, and whether it is complete.

DIR/runs/task=T/algorithm=A/settings=S/trajectories=N/seed=K/
    spec.json           what determines the run
    curve.csv           the learning curve, one row per iteration
    policy.safetensors  the policy after the last iteration (BC: its best snapshot)
    versions.json       what it was made with, and the command
    timing.json         wall times
    evaluation.csv      returns and lengths of the deterministic policy; written last, so a folder with it is
                        complete
    checkpoint.safetensors, error.txt, lock   of a run that is not complete
    unusable-checkpoint.safetensors           a checkpoint that could not be continued
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gailbench.plumbing import checkpoints
from gailbench.plumbing.errors import GailbenchError, first_line
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
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def unusable_checkpoint(self) -> Path:
        return self.path / "unusable-checkpoint.safetensors"

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
            GailbenchError: The folder holds a run of another spec.
        """
        if not self.complete:
            return None
        path = self.spec
        try:
            found = json.loads(path.read_text())
            if not isinstance(found, dict):
                raise ValueError("it is not a JSON object")
            wanted = spec.as_json()
            if found != wanted:
                names = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
                raise GailbenchError(
                    f"{self.path} holds a run with another {', '.join(names)}; remove it or choose another --results"
                )
            path = self.evaluation
            header, *lines = path.read_text().splitlines()
            returns = np.array([float(line.split(",")[1]) for line in lines])
            if header != EVALUATION_COLUMNS or len(returns) != EPISODES or not np.isfinite(returns).all():
                raise ValueError(f"it does not hold {EPISODES} finite returns")
            path = self.curve
            last = path.read_text().splitlines()[-1]
            if int(last.split(",")[0]) != spec.iterations:
                raise ValueError(f"it does not end with iteration {spec.iterations}")
            path = self.policy
            if damage := checkpoints.damage(path, "policy"):
                raise ValueError(damage)
        except (OSError, ValueError, IndexError) as error:
            notice(f"{path} is damaged ({first_line(error)}); the run is done again")
            return None
        return returns


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
