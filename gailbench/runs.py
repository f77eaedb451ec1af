"""One run: what determines it, its folder on disk, and carrying it out.

DIR/runs/task=T/algorithm=A/settings=S/trajectories=N/seed=K/
    spec.json           what determines the run
    curve.csv           the learning curve, one row per iteration
    policy.safetensors  the policy after the last iteration (BC: its best snapshot)
    versions.json       what it was made with, and the command
    timing.json         wall times
    evaluation.csv      returns and lengths of the deterministic policy; written last, so a folder with it is
                        complete
    checkpoint.safetensors, error.txt   of a run that is not complete
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gailbench.demonstrations import Demonstrations, Pairs
from gailbench.errors import GailbenchError
from gailbench.files import write_atomic
from gailbench.tasks import Task, get_task

FORMAT = 1
EPISODES = 50
PAPER = "paper"


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


def status(spec: RunSpec, results: Path) -> Status:
    """Say how far a run is.

    Raises:
        GailbenchError: Its folder holds a complete run of another spec, say with other demonstrations.
    """
    folder = spec.folder(results)
    if (folder / "evaluation.csv").exists():
        try:
            found = json.loads((folder / "spec.json").read_text())
        except (OSError, ValueError):
            return "new"
        wanted = asdict(spec)
        if found != wanted:
            names = [name for name in wanted if found.get(name) != wanted[name]]
            raise GailbenchError(
                f"{folder} holds a run with another {', '.join(names)}; remove it or choose another --results"
            )
        return "complete"
    return "resumable" if (folder / "checkpoint.safetensors").exists() else "new"


def make_reward(algorithm: str, expert: Pairs | None, task: Task, generator: np.random.Generator) -> Any:
    """Return the algorithm's reward."""
    from gailbench.algorithms import REWARDS

    return REWARDS[algorithm](expert, task.reward_sign, generator)


def execute(
    spec: RunSpec,
    demonstrations: Demonstrations | None,
    results: Path,
    on_row: Callable[[dict[str, float]], None] = lambda row: None,
    stop: Callable[[], bool] = lambda: False,
    checkpoint_every: float = 300.0,
) -> float:
    """Carry out a run, continuing from its checkpoint if there is one; return its mean evaluation return.

    Raises:
        Interrupted: `stop` said so; the same call continues.
        GailbenchError: The folder cannot be written, or the demonstrations are too few.
    """
    from gailbench.algorithms.bc import BcSettings, BehavioralCloning
    from gailbench.algorithms.loop import Learner, LoopSettings
    from gailbench.policy import policy_bytes
    from gailbench.sampling import evaluate
    from gailbench.streams import stream
    from gailbench.training import CheckpointFile, Interrupted, Training, curve_csv
    from gailbench.versions import command, versions

    task = get_task(spec.task)
    expert = None if demonstrations is None else demonstrations.subset(spec.trajectories, task.keep_every)
    folder = spec.folder(results)
    checkpoint = CheckpointFile(folder / "checkpoint.safetensors", asdict(spec), checkpoint_every)
    started = time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "spec.json", json.dumps(asdict(spec), indent=2) + "\n")
        if spec.algorithm == "bc" and expert is not None:
            settings = BcSettings(spec.iterations, task.bc_validate_every)
            cloning = BehavioralCloning(expert, settings, stream(spec.seed, "bc"))
            rows = []
            for row in cloning.train():
                rows.append(row)
                on_row(row)
                if stop():
                    raise Interrupted
            policy, seconds = cloning.policy, time.monotonic() - started
        else:
            reward = make_reward(spec.algorithm, expert, task, stream(spec.seed, "reward"))
            learner = Learner(
                task,
                reward,
                LoopSettings(batch=spec.batch or task.batch, entropy_weight=spec.entropy_weight or 0.0),
                spec.seed,
                None if expert is None else expert.observations,
            )
            training = Training(learner, spec.iterations)
            training.run(checkpoint, on_row, stop)
            policy, rows, seconds = learner.policy, training.rows, training.seconds
        evaluation_started = time.monotonic()
        returns, lengths = evaluate(task, policy, EPISODES, stream(spec.seed, "evaluation"))
        timing = {
            "training_seconds": round(seconds, 2),
            "evaluation_seconds": round(time.monotonic() - evaluation_started, 2),
        }
        write_atomic(folder / "curve.csv", curve_csv(rows))
        write_atomic(folder / "policy.safetensors", policy_bytes(policy))
        write_atomic(folder / "versions.json", json.dumps({**versions(), "command": command()}, indent=2) + "\n")
        write_atomic(folder / "timing.json", json.dumps(timing, indent=2) + "\n")
        write_atomic(folder / "evaluation.csv", evaluation_csv(returns, lengths))
    except OSError as error:
        raise GailbenchError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    checkpoint.path.unlink(missing_ok=True)
    (folder / "error.txt").unlink(missing_ok=True)
    return float(returns.mean())


def evaluation_csv(returns: np.ndarray, lengths: np.ndarray) -> str:
    """Return evaluation trajectories as CSV: episode, return, length."""
    lines = [f"{k},{value!r},{length}" for k, (value, length) in enumerate(zip(returns.tolist(), lengths, strict=True))]
    return "\n".join(("episode,return,length", *lines)) + "\n"
