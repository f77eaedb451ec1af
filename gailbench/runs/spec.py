"""What determines a run's result: its spec, and the name of its settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gailbench.algorithms import Algorithm, get_algorithm
from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.tasks import TASKS, Task, get_task

# The computation's version: 2 since batches are the first episodes that hold the pairs. The report reads both.
FORMAT = 2
FORMATS = (1, FORMAT)
# Names of the settings of a run that changes none: of the paper's tasks, and of others.
PAPER, DEFAULTS = "paper", "defaults"
Changes = tuple[tuple[str, Any], ...]
LONGEST_NAME = 255  # bytes of a folder's name, on the file systems in use


@dataclass(frozen=True)
class RunSpec:
    """What determines a run's result, and its folder.

    Attributes:
        task: Name.
        algorithm: Name.
        settings: Name of the settings: "paper", or how they differ from the paper's.
        trajectories: Size of the demonstrations; 0 without any.
        seed: Of all randomness.
        entropy_weight: lambda, None for algorithms without.
        batch: Pairs per iteration, None where an iteration is a gradient step.
        iterations: Iterations or gradient steps.
        demonstrations_sha256: Hash of the demonstrations' content.
        expert_sha256: Hash of the expert's file that they were sampled from.
        format: Version of the computation; changes when results do.
        changes: Further settings that differ from the defaults, as (name, value), sorted by name.
        definition: The task, where it is not one of the paper's.
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
    changes: Changes = ()
    definition: Task | None = None

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
        settings = "" if self.settings in (PAPER, DEFAULTS) else f" {self.settings}"
        return f"{self.task} {self.algorithm} {self.trajectories} seed {self.seed}{settings}"

    def task_itself(self) -> Task:
        """The task: the spec's own definition, or the paper's of that name."""
        return self.definition or get_task(self.task)

    @property
    def steps(self) -> int:
        """Environment steps of the training; none where an iteration is a gradient step."""
        return (self.batch or 0) * self.iterations

    def as_json(self) -> dict[str, Any]:
        """The content of spec.json; what a run of the paper's task and settings has not is left out."""
        content = asdict(self)
        content["changes"] = dict(self.changes)
        for name in ("changes", "definition"):
            if not content[name]:
                del content[name]
        return dict(json.loads(json.dumps(content)))


def make_spec(
    task: Task,
    algorithm: Algorithm | str,
    trajectories: int,
    seed: int,
    demonstrations: Demonstrations | None,
    *,
    entropy_weight: float = 0.0,
    batch: int | None = None,
    iterations: int | None = None,
    changes: Mapping[str, Any] | None = None,
    own_demonstrations: bool = False,
) -> RunSpec:
    """Return the spec of a run: the paper's settings but for what is given.

    Args:
        task: The task.
        algorithm: One of the registry's, or its name.
        trajectories: Size.
        seed: Seed.
        demonstrations: What it learns from; None for an algorithm without, whose hashes are empty.
        entropy_weight: lambda, not used by algorithms without.
        batch: Pairs per iteration, not used where an iteration is a gradient step.
        iterations: Iterations or gradient steps.
        changes: Further settings by name, such as "gail.learning_rate" (see `gailbench.runs.settings`).
        own_demonstrations: Whether the demonstrations are others than those of the shipped expert.

    Raises:
        GailbenchError: The name of the settings is too long for a folder's.
    """
    if isinstance(algorithm, str):
        algorithm = get_algorithm(algorithm)
    budget = algorithm.iterations(task)
    values: dict[str, Any] = {"iterations": iterations or budget}
    paper: dict[str, Any] = {"iterations": budget}
    if algorithm.takes_environment_steps:
        values["batch"], paper["batch"] = batch or task.batch, task.batch
    if algorithm.has_entropy_weight:
        values["entropy_weight"], paper["entropy_weight"] = entropy_weight, 0.0
    differences = [f"{name}-{exact(value)}" for name, value in values.items() if value != paper[name]]
    differences += [f"{name}-{exact(value)}" for name, value in (changes or {}).items()]
    own_task = TASKS.get(task.name) != task
    sha256 = demonstrations.sha256() if demonstrations is not None else ""
    if own_demonstrations:
        differences.append(f"demonstrations-{sha256[:8]}")
    settings = ",".join(sorted(differences)) or (DEFAULTS if own_task else PAPER)
    if len(f"settings={settings}".encode()) > LONGEST_NAME:
        raise GailbenchError(
            f"the run's settings, {settings[:60]}..., are {len(settings)} characters long, more than a folder's name "
            "can have; change fewer of them in one run, or to shorter values"
        )
    return RunSpec(
        task=task.name,
        algorithm=algorithm.name,
        settings=settings,
        trajectories=trajectories,
        seed=seed,
        entropy_weight=values.get("entropy_weight"),
        batch=values.get("batch"),
        iterations=values["iterations"],
        demonstrations_sha256=sha256,
        expert_sha256=demonstrations.expert_sha256 if demonstrations is not None else "",
        changes=tuple(sorted((changes or {}).items())),
        definition=task if own_task else None,
    )


def task_of_run(folder: Path) -> Task:
    """Return the task of the run in a folder.

    Raises:
        GailbenchError: It is not a run's folder, or its spec.json is damaged.
    """
    path = folder / "spec.json"
    try:
        content = json.loads(path.read_bytes())
        definition = content.get("definition")
        if definition is None:
            return get_task(content["task"])
        return Task(**{name: _as_tuples(value) for name, value in definition.items()})
    except OSError as error:
        raise GailbenchError(
            f"{folder} is not a run: {path.name} cannot be read ({error.strerror}); runs are "
            "RESULTS/runs/task=.../.../seed=..."
        ) from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise GailbenchError(f"{path} is damaged ({first_line(error)})") from None


def _as_tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def exact(value: Any) -> str:
    """The shortest text that gives a setting back: "100", "0.001", "100x100", "tanh"."""
    if isinstance(value, tuple | list):
        return "x".join(exact(item) for item in value) or "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return str(int(value)) if value == int(value) else repr(value)
