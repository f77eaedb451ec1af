"""One run: what determines it, its folder on disk, and carrying it out.

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
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from gailbench.demonstrations import Demonstrations, Pairs
from gailbench.plumbing import checkpoints
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.files import remove_temporary, write_atomic
from gailbench.plumbing.locks import Lock
from gailbench.tasks import Task, get_task

if TYPE_CHECKING:
    from gailbench.training import Learner

# The computation's version: 2 since batches are the first episodes that hold the pairs. `gailbench report` reads both.
FORMAT = 2
EPISODES = 50
PAPER = "paper"
EVALUATION_COLUMNS = "episode,return,length"


@dataclass(frozen=True)
class RunSpec:
    """What determines a run's result, and its folder.

    Attributes:
        task: Short name.
        algorithm: "bc", "fem", "gtal" or "gail"; "constant" is our control.
        settings: Name of the settings: "paper", or how they differ from the paper's.
        trajectories: Size of the demonstrations; 0 without any.
        seed: Of all randomness.
        entropy_weight: lambda of GAIL, None for the others.
        batch: Pairs per iteration, None for BC.
        iterations: Iterations; gradient steps of BC.
        demonstrations_sha256: Hash of the demonstrations' content.
        expert_sha256: Hash of the expert's file that they were sampled from.
        format: Version of the computation; changes when results do.
    """

    task: str
    algorithm: str
    settings: str
    trajectories: int
    seed: int
    entropy_weight: float | None
    batch: int | None
    iterations: int
    demonstrations_sha256: str
    expert_sha256: str
    format: int = FORMAT

    def folder(self, results: Path) -> Path:
        """The run's folder; no two specs of the same demonstrations share one."""
        return (
            results
            / "runs"
            / f"task={self.task}"
            / f"algorithm={self.algorithm}"
            / f"settings={self.settings}"
            / f"trajectories={self.trajectories}"
            / f"seed={self.seed}"
        )

    def label(self) -> str:
        """A short name for progress lines."""
        settings = "" if self.settings == PAPER else f" {self.settings}"
        return f"{self.task} {self.algorithm} {self.trajectories} seed {self.seed}{settings}"

    @property
    def steps(self) -> int:
        """Environment steps of the training; none for BC."""
        return (self.batch or 0) * self.iterations


def make_spec(
    task: Task,
    algorithm: str,
    trajectories: int,
    seed: int,
    demonstrations: Demonstrations | None,
    *,
    entropy_weight: float = 0.0,
    batch: int | None = None,
    iterations: int | None = None,
    own_demonstrations: bool = False,
) -> RunSpec:
    """Return the spec of a run: the paper's settings but for what is given.

    Args:
        task: The task.
        algorithm: One of the registry's.
        trajectories: Size.
        seed: Seed.
        demonstrations: What it learns from; None for a constant reward, whose hashes are empty.
        entropy_weight: lambda; GAIL only.
        batch: Pairs per iteration, not used by BC.
        iterations: Iterations; gradient steps of BC.
        own_demonstrations: Whether the demonstrations are others than those of the shipped expert.
    """
    cloning = algorithm == "bc"
    paper_iterations = task.bc_steps if cloning else task.iterations
    values = {
        "batch": None if cloning else batch or task.batch,
        "entropy_weight": entropy_weight if algorithm == "gail" else None,
        "iterations": iterations or paper_iterations,
    }
    paper = {
        "batch": None if cloning else task.batch,
        "entropy_weight": 0.0 if algorithm == "gail" else None,
        "iterations": paper_iterations,
    }
    sha256 = demonstrations.sha256() if demonstrations is not None else ""
    differences = [
        f"{name}-{_exact(value)}" for name, value in values.items() if value is not None and value != paper[name]
    ]
    if own_demonstrations:
        differences.append(f"demonstrations-{sha256[:8]}")
    return RunSpec(
        task=task.name,
        algorithm=algorithm,
        settings=",".join(sorted(differences)) or PAPER,
        trajectories=trajectories,
        seed=seed,
        entropy_weight=values["entropy_weight"],
        batch=None if cloning else batch or task.batch,
        iterations=iterations or paper_iterations,
        demonstrations_sha256=sha256,
        expert_sha256=demonstrations.expert_sha256 if demonstrations is not None else "",
    )


def _exact(value: float) -> str:
    """The shortest text that gives the number back: "100", "0.001"."""
    return str(int(value)) if value == int(value) else repr(value)


Status = Literal["complete", "resumable", "new"]
Notice = Callable[[str], None]


def status(spec: RunSpec, results: Path, notice: Notice = lambda text: None) -> Status:
    """Say how far a run is; `notice` hears of a complete run that is damaged, which has to be done again.

    Raises:
        GailbenchError: Its folder holds a complete run of another spec, say with other demonstrations.
    """
    folder = spec.folder(results)
    if (folder / "checkpoint.safetensors").exists():
        return "resumable"  # or complete, but not tidied up
    return "new" if _complete_returns(spec, folder, notice) is None else "complete"


def _complete_returns(spec: RunSpec, folder: Path, notice: Notice) -> NDArray[np.float64] | None:
    """Return the evaluation's returns (EPISODES,) of a complete run; None if it is not complete, or damaged."""
    if not (folder / "evaluation.csv").exists():
        return None
    name = "spec.json"
    try:
        found = json.loads((folder / name).read_text())
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
        wanted = asdict(spec)
        if found != wanted:
            names = [name for name in wanted if found.get(name) != wanted[name]]
            raise GailbenchError(
                f"{folder} holds a run with another {', '.join(names)}; remove it or choose another --results"
            )
        name = "evaluation.csv"
        header, *lines = (folder / name).read_text().splitlines()
        returns = np.array([float(line.split(",")[1]) for line in lines])
        if header != EVALUATION_COLUMNS or len(returns) != EPISODES or not np.isfinite(returns).all():
            raise ValueError(f"it does not hold {EPISODES} finite returns")
        name = "curve.csv"
        last = (folder / name).read_text().splitlines()[-1]
        if int(last.split(",")[0]) != spec.iterations:
            raise ValueError(f"it does not end with iteration {spec.iterations}")
        name = "policy.safetensors"
        if damage := checkpoints.damage(folder / name, "policy"):
            raise ValueError(damage)
    except (OSError, ValueError, IndexError) as error:
        notice(f"{folder / name} is damaged ({first_line(error)}); the run is done again")
        return None
    return returns


def make_learner(spec: RunSpec, task: Task, expert: Pairs | None) -> Learner:
    """Return what the run trains, before its first iteration; a constant reward needs no expert."""
    from gailbench.algorithms import REWARDS, loop
    from gailbench.algorithms.bc import BcSettings, BehavioralCloning
    from gailbench.plumbing.streams import stream

    if spec.algorithm == "bc" and expert is not None:
        settings = BcSettings(spec.iterations, task.bc_validate_every)
        return BehavioralCloning(expert, settings, stream(spec.seed, "bc"))
    return loop.Learner(
        task,
        REWARDS[spec.algorithm](expert, task.reward_sign, stream(spec.seed, "reward")),
        loop.LoopSettings(batch=spec.batch or task.batch, entropy_weight=spec.entropy_weight or 0.0),
        spec.seed,
        None if expert is None else expert.observations,
    )


def execute(
    spec: RunSpec,
    demonstrations: Demonstrations | None,
    results: Path,
    on_row: Callable[[dict[str, float]], None] = lambda row: None,
    stop: Callable[[], bool] = lambda: False,
    checkpoint_every: float = 300.0,
    notice: Notice = lambda text: None,
) -> float:
    """Carry out a run, continuing from its checkpoint if there is one; return its mean evaluation return.

    Raises:
        Interrupted: `stop` or a signal said so; the same call continues.
        Locked: Another process is at it.
        GailbenchError: The folder cannot be written, or the demonstrations are too few.
    """
    folder = spec.folder(results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Lock(folder / "lock"):
            remove_temporary(folder / "*")
            returns = _complete_returns(spec, folder, notice)  # since it was planned
            if returns is None:
                returns = _carry_out(spec, demonstrations, folder, on_row, stop, checkpoint_every, notice)
            (folder / "checkpoint.safetensors").unlink(missing_ok=True)
            (folder / "error.txt").unlink(missing_ok=True)
    except OSError as error:
        raise GailbenchError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    return float(returns.mean())


def _carry_out(
    spec: RunSpec,
    demonstrations: Demonstrations | None,
    folder: Path,
    on_row: Callable[[dict[str, float]], None],
    stop: Callable[[], bool],
    checkpoint_every: float,
    notice: Notice,
) -> NDArray[np.float64]:
    """Train, evaluate and write the run's files; return the evaluation's returns."""
    from gailbench.plumbing.interrupts import interruptible
    from gailbench.plumbing.streams import stream
    from gailbench.plumbing.versions import command, versions
    from gailbench.policy import policy_bytes
    from gailbench.sampling import evaluate
    from gailbench.training import CheckpointFile, Training, curve_csv

    task = get_task(spec.task)
    expert = None if demonstrations is None else demonstrations.subset(spec.trajectories, task.keep_every)
    (folder / "evaluation.csv").unlink(missing_ok=True)  # of a damaged run
    write_atomic(folder / "spec.json", json.dumps(asdict(spec), indent=2) + "\n")
    checkpoint = CheckpointFile(folder / "checkpoint.safetensors", asdict(spec), checkpoint_every)
    training = Training(make_learner(spec, task, expert), spec.iterations)
    if checkpoint.path.exists():
        try:
            training.load(checkpoint)
        except GailbenchError as unusable:
            aside = checkpoint.path.with_name(f"unusable-{checkpoint.path.name}")
            checkpoint.path.replace(aside)
            notice(f"{unusable}; it is now {aside.name} and the run starts anew")
            training = Training(make_learner(spec, task, expert), spec.iterations)
    training.run(checkpoint, on_row, stop)
    policy = training.learner.policy

    started = time.monotonic()
    with interruptible():
        returns, lengths = evaluate(task, policy, EPISODES, stream(spec.seed, "evaluation"))
    timing = {
        "training_seconds": round(training.seconds, 2),
        "evaluation_seconds": round(time.monotonic() - started, 2),
    }
    write_atomic(folder / "curve.csv", curve_csv(training.rows))
    write_atomic(folder / "policy.safetensors", policy_bytes(policy))
    write_atomic(folder / "versions.json", json.dumps({**versions(), "command": command()}, indent=2) + "\n")
    write_atomic(folder / "timing.json", json.dumps(timing, indent=2) + "\n")
    write_atomic(folder / "evaluation.csv", evaluation_csv(returns, lengths))
    return returns


def evaluation_csv(returns: np.ndarray, lengths: np.ndarray) -> str:
    """Return evaluation trajectories as CSV: episode, return, length."""
    lines = [f"{k},{value!r},{length}" for k, (value, length) in enumerate(zip(returns.tolist(), lengths, strict=True))]
    return "\n".join((EVALUATION_COLUMNS, *lines)) + "\n"
