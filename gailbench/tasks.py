"""Tasks: the class, and finding a task by its name in the paper, by a Gymnasium id or by a TOML file.

All numbers of the paper's nine tasks are in `paper/tasks.csv`. They come from Ho & Ermon (2016), Tables 1 to 3 and
Appendix B, and from the settings of the authors' runs.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_type_hints

from gailbench.paper import ALGORITHMS
from gailbench.plumbing.errors import GailbenchError, first_line, nearest, plural
from gailbench.plumbing.files import read_toml
from gailbench.plumbing.typed import CountOrZero, typed

RewardSign = Literal["positive", "negative"]
Named = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Task:
    """An imitation task: an environment with settings.

    Attributes:
        name: Name on the command line, in folders and in tables. For the paper's tasks it is a short name.
        environment: Gymnasium id.
        horizon: Time limit of an episode, in steps. It is part of the problem: values are 0 after it.
        sizes: Demonstration sizes, in trajectories.
        demonstrations: Number of trajectories in the full set. A size N is its first N trajectories.
        keep_every: k; every k-th pair of a demonstrated trajectory is kept.
        batch: State-action pairs per iteration.
        iterations: Number of iterations of GAIL, FEM and GTAL.
        bc_steps: Gradient steps of behavioral cloning.
        bc_validate_every: Gradient steps between two validations of behavioral cloning.
        reward_sign: "positive" if episodes end early on failure, "negative" if they end early on success.
        training_runs: Number of training runs behind each of the paper's cells; 0 for other tasks.
        algorithms: Names of algorithms; for the paper's tasks, those in its table.
        entropy_weights: GAIL's weights of the policy's entropy (lambda); for the paper's tasks, those in its table.
        kwargs: Keyword arguments of `gymnasium.make`, as (name, value).
        settings: Settings that differ from the algorithms' defaults, as (name, value): ("gail.learning_rate", 0.003).
        expert: Settings of the expert's training, as (name, value); see `gailbench.experts.recipes.Recipe`.
    """

    name: str
    environment: str
    horizon: int
    sizes: tuple[int, ...]
    demonstrations: int
    keep_every: int
    batch: int
    iterations: int
    bc_steps: int
    bc_validate_every: int
    reward_sign: RewardSign
    training_runs: int
    algorithms: tuple[str, ...] = ALGORITHMS
    entropy_weights: tuple[float, ...] = (0.0,)
    kwargs: Named = ()
    settings: Named = ()
    expert: Named = ()


def _paper_tasks() -> dict[str, Task]:
    """Return the tasks of `paper/tasks.csv`, in its order. Items of a tuple are separated by spaces there."""
    read: dict[Any, Callable[[str], Any]] = {
        int: int,
        tuple[int, ...]: lambda text: tuple(map(int, text.split())),
        tuple[float, ...]: lambda text: tuple(map(float, text.split())),
        tuple[str, ...]: lambda text: tuple(text.split()),
    }
    kinds = get_type_hints(Task)
    with (files("gailbench.paper") / "tasks.csv").open(encoding="utf-8") as stream:
        rows = [
            {name: read.get(kinds[name], str)(text) for name, text in row.items()} for row in csv.DictReader(stream)
        ]
    return {row["name"]: Task(**row) for row in rows}


TASKS: dict[str, Task] = _paper_tasks()


# Other names of the paper's tasks: "Hopper-v5", "Hopper", "HalfCheetah".
ALIASES = {
    alias.casefold(): name
    for name, task in TASKS.items()
    for alias in (task.environment, task.environment.partition("-v")[0])
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def get_task(name: str) -> Task:
    """Return one of the paper's tasks by its short name.

    Raises:
        GailbenchError: There is no such task. The message names the nearest one.
    """
    if name not in TASKS:
        raise GailbenchError(f"unknown task '{name}'{nearest(name, TASKS)}")
    return TASKS[name]


def as_option(task: Task) -> str:
    """Return the option that names a task on the command line. A user's own task does not know the id or file that it
    was given as, so TASK stands for it."""
    return f"--task {task.name if task.name in TASKS else 'TASK'}"


def find_task(name: str) -> Task:
    """Return one of the paper's tasks by its name or Gymnasium id, or another task by a TOML file or Gymnasium id.

    Raises:
        GailbenchError: There is no such task, or the file does not describe a task.
    """
    if name in TASKS:
        return TASKS[name]
    if name.casefold() in ALIASES:
        return TASKS[ALIASES[name.casefold()]]
    if name.endswith(".toml"):
        return task_from_file(Path(name))
    if "-v" in name or "/" in name or ":" in name:
        return own_task(name)
    raise GailbenchError(
        f"unknown task '{name}'{nearest(name, TASKS)}; give other tasks by a Gymnasium id (Pendulum-v1) or a .toml file"
    )


def own_task(environment: str, values: Mapping[str, Any] | None = None) -> Task:
    """Return a task with any Gymnasium environment. Values that are not given have defaults.

    By default the horizon is the environment's own time limit (1,000 without one), about 50 pairs of a demonstrated
    trajectory are kept, 25 trajectories are sampled, and the sizes are the paper's for MuJoCo.

    Raises:
        GailbenchError: Gymnasium does not know the id, or values do not fit together.
    """
    given = dict(values or {})
    horizon = int(given.get("horizon") or _time_limit(environment))
    sizes = tuple(given.get("sizes") or (4, 11, 18, 25))
    defaults: dict[str, Any] = {
        "name": environment.rpartition(":")[2].replace("/", "_"),
        "horizon": horizon,
        "sizes": sizes,
        "demonstrations": max(sizes),
        "keep_every": max(1, horizon // 50),
        "batch": max(5_000, 10 * horizon),
        "iterations": 300,
        "bc_steps": 10_000,
        "bc_validate_every": 500,
        "reward_sign": "positive",
        "training_runs": 0,
    }
    task = Task(environment=environment, **{**defaults, **given})
    if max(task.sizes) > task.demonstrations:
        fewer = plural(task.demonstrations, "demonstration")
        raise GailbenchError(
            f"'{task.name}' has the size {max(task.sizes)} and only {fewer}; give smaller sizes or more demonstrations"
        )
    if not _NAME.fullmatch(task.name):
        raise GailbenchError(
            f"'{task.name}' cannot be the name of a task: use letters, digits, dots, dashes and underscores, at most 80"
        )
    if task.name in TASKS:
        raise GailbenchError(f"'{task.name}' is the name of one of the paper's tasks; choose another name")
    return task


def _time_limit(environment: str) -> int:
    import gymnasium

    try:
        module, _, _ = environment.rpartition(":")
        if module:
            __import__(module)
        spec = gymnasium.spec(environment.rpartition(":")[2])
    except gymnasium.error.Error:
        known = [name for name in gymnasium.registry if name not in ("GymV21Environment-v0", "GymV26Environment-v0")]
        hint = nearest(environment, known, listed=False)
        raise GailbenchError(f"Gymnasium knows no environment '{environment}'{hint}") from None
    except Exception as error:  # importing a user's module can raise anything
        raise GailbenchError(f"cannot import the module of '{environment}': {first_line(error)}") from None
    return int(spec.max_episode_steps or 1_000)


# Keys of a task's file: the fields of `Task`, except the one that only the paper's tasks have.
_FILE_FIELDS = {field.name: field for field in fields(Task) if field.name != "training_runs"}
_TABLES = ("kwargs", "settings", "expert")


def task_from_file(path: Path) -> Task:
    """Return the task that a TOML file describes. Only `environment` is required; see docs/your-task.md.

    Raises:
        GailbenchError: The file cannot be read, or has an unknown key or a value of a wrong type.
    """
    content: dict[str, Any] = {"name": path.stem, **read_toml(path, "task")}
    for name in content:
        if name not in _FILE_FIELDS:
            raise GailbenchError(f"{path}: a task has no '{name}'{nearest(name, list(_FILE_FIELDS))}")
    if not isinstance(content.get("environment"), str):
        raise GailbenchError(f'{path}: environment is missing; it is a Gymnasium id, such as "Pendulum-v1"')
    return _checked(content, str(path))


def checked_task(task: Task) -> Task:
    """Return one of the paper's tasks, or a task that was made in Python, after the checks of a task's file. Lists
    become tuples.

    Raises:
        GailbenchError: A value has a wrong type or is out of range, or the task has the name of one of the paper's
            tasks and is another.
    """
    if task in TASKS.values():
        return task
    values = {name: getattr(task, name) for name in _FILE_FIELDS}
    for name in _TABLES:
        with contextlib.suppress(TypeError, ValueError):  # what is no table is refused with the other values
            values[name] = dict(values[name])
    runs = typed("training_runs", CountOrZero, task.training_runs)
    return replace(_checked(values, f"task {task.name!r}"), training_runs=runs)


def _checked(values: Mapping[str, Any], source: str) -> Task:
    """Return the task with values of a task's file, after checking them. `source` begins the messages."""
    kinds = get_type_hints(Task)
    checked: dict[str, Any] = {
        name: _flat(value, source, name) if name in _TABLES else _field(value, kinds[name], source, name)
        for name, value in values.items()
    }
    return own_task(checked.pop("environment"), checked)


def _flat(table: Any, source: str, name: str) -> Named:
    """Return a table as (name, value). Names of nested tables of settings are joined by dots."""
    if not isinstance(table, dict):
        raise GailbenchError(f"{source}: {name} is {table!r}; it must be a table, [{name}]")
    pairs: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, dict) and name == "settings":
            pairs += [(f"{key}.{inner}", content) for inner, content in _flat(value, source, name)]
        else:
            pairs.append((key, _plain(value, source, f"{name}.{key}")))
    return tuple(sorted(pairs))


def _plain(value: Any, source: str, name: str) -> Any:
    """Return a value in a form that is hashable and can be stored as JSON."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item, source, name) for item in value)
    if not isinstance(value, str | int | float | None) or (isinstance(value, float) and not abs(value) < float("inf")):
        raise GailbenchError(f"{source}: {name} is {value!r}; it must be a finite number, text, true, false, or a list")
    return value


def _field(value: Any, kind: Any, source: str, name: str) -> Any:
    """Return a value of a task's file, after checking its type and range."""

    def counts(item: Any) -> bool:
        return isinstance(item, int) and not isinstance(item, bool) and 1 <= item < 2**31

    def measures(item: Any) -> bool:
        return isinstance(item, int | float) and not isinstance(item, bool) and 0 <= item < float("inf")

    items = value if isinstance(value, list | tuple) else ()
    if kind is str:
        good, wanted = isinstance(value, str) and bool(value), "text"
    elif kind is int:
        good, wanted = counts(value), "a positive integer below 2^31"
    elif name == "reward_sign":
        good, wanted = value in ("positive", "negative"), '"positive" or "negative"'
    elif name == "sizes":
        good, wanted = bool(items) and all(map(counts, items)), "a list of positive integers below 2^31"
    elif name == "entropy_weights":
        good, wanted = bool(items) and all(map(measures, items)), "a list of numbers from 0"
    else:
        good, wanted = bool(items) and all(isinstance(item, str) for item in items), "a list of names"
    if not good:
        raise GailbenchError(f"{source}: {name} is {value!r}; it must be {wanted}")
    return tuple(items) or value
