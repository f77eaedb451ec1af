"""The spec of a run: everything that determines its result. It also gives the name of the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gailbench.algorithms import BUILT_IN, Algorithm, get_algorithm
from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError
from gailbench.runs.settings import own_settings
from gailbench.tasks import TASKS, Task, get_task

# Version of the computation. Since version 2 a batch holds the first episodes, as few as hold the required pairs. The
# report reads both versions.
FORMAT = 2
FORMATS = (1, FORMAT)
# Name of the settings of a run without changed settings: on the paper's tasks, and on other tasks.
PAPER, DEFAULTS = "paper", "defaults"
Changes = tuple[tuple[str, Any], ...]
LONGEST_NAME = 255  # bytes of a folder's name, on common file systems


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines a run's result and its folder.

    Attributes:
        task: Name of the task.
        algorithm: Name of the algorithm.
        settings: Name of the settings: "paper", or how they differ from the paper's.
        trajectories: Size of the demonstrations; 0 without demonstrations.
        seed: Seed of all random numbers.
        entropy_weight: lambda; None for algorithms without an entropy weight.
        batch: State-action pairs per iteration; None if an iteration is a gradient step.
        iterations: Number of iterations or gradient steps.
        demonstrations_sha256: Hash of the demonstrations' content; empty without demonstrations.
        expert_sha256: Hash of the expert's file from which the demonstrations were sampled.
        format: Version of the computation. It is raised when results change.
        changes: Further settings that differ from the defaults, as (name, value), sorted by name.
        definition: The complete task, if it is not one of the paper's.
        own_settings: For an algorithm of another package, the values of all its own settings as JSON, since a later
            version of the package may have other defaults; empty without settings.
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
    own_settings: str = ""

    def folder(self, results: Path) -> Path:
        """Return the run folder. `definition`, `own_settings`, `format` and the hashes are not in its name: specs that
        only differ in these have the same folder, and `RunFolder.returns` refuses a run of another spec."""
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
        """Return a short name for progress lines."""
        settings = "" if self.settings in (PAPER, DEFAULTS) else f" {self.settings}"
        return f"{self.task} {self.algorithm} {self.trajectories} seed {self.seed}{settings}"

    def task_itself(self) -> Task:
        """Return the task: `definition`, or the paper's task with this name."""
        return self.definition or get_task(self.task)

    @property
    def steps(self) -> int:
        """Environment steps of the training; 0 if an iteration is a gradient step."""
        return (self.batch or 0) * self.iterations

    def as_json(self) -> dict[str, Any]:
        """Return the content of spec.json, without `changes`, `definition` and `own_settings` if they are empty."""
        content = asdict(self)
        content["changes"] = dict(self.changes)
        content["own_settings"] = json.loads(self.own_settings or "{}", parse_constant=str)  # no NaN: it equals nothing
        for name in ("changes", "definition", "own_settings"):
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
    """Return the spec of a run. Settings that are not given are the task's.

    Args:
        task: The task.
        algorithm: The algorithm, or its name.
        trajectories: Size of the demonstrations, in trajectories.
        seed: Seed.
        demonstrations: The demonstrations; None for an algorithm that needs none, and then their hashes are empty.
        entropy_weight: lambda; ignored by algorithms without an entropy weight.
        batch: State-action pairs per iteration; ignored if an iteration is a gradient step.
        iterations: Number of iterations or gradient steps.
        changes: Further settings by name, such as "gail.learning_rate" (see `gailbench.runs.settings`).
        own_demonstrations: Whether these are a user's demonstrations, not those of the task's expert.

    Raises:
        GailbenchError: The name of the settings is too long for a folder name, or the settings of another package's
            algorithm cannot be imported.
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
    own = {} if algorithm in BUILT_IN else own_settings(algorithm, task, changes or {})
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
        own_settings=json.dumps(own, skipkeys=True, default=lambda value: type(value).__name__) if own else "",
    )


def task_of(content: Mapping[str, Any]) -> Task:
    """Return the task of a run from the content of its spec.json.

    Raises:
        ValueError: The content does not describe a task. KeyError, TypeError and AttributeError say so too.
    """
    definition = content.get("definition")
    if definition is None:
        return get_task(content["task"])
    return Task(**{name: _as_tuples(value) for name, value in definition.items()})


def _as_tuples(value: Any) -> Any:
    """Turn JSON's lists back into tuples."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def exact(value: Any) -> str:
    """Return the shortest text that determines a setting's value: "100", "0.001", "100x100", "tanh". Other characters
    than letters, digits, "_", ".", "-" and "~" are escaped as in an address: "a%2Fb". So are "%" and "x" within a
    tuple's items."""
    if isinstance(value, tuple | list):
        return "x".join(quote(exact(item), safe="").replace("x", "%78") for item in value) if value else "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return quote(str(value), safe="", errors="surrogatepass")
    return str(int(value)) if value == int(value) else repr(value)
