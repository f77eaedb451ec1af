"""Gailbench from Python: policies, demonstrations, runs and results. `import gailbench` brings these names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.typed import Count, CountOrZero, NotNegative, typed
from gailbench.tasks import TASKS, Task, checked_task, find_task

if TYPE_CHECKING:
    import pandas as pd

    from gailbench.policy import Policy
    from gailbench.report.load import Results


def load_policy(source: str | Path) -> Policy:
    """Return a shipped expert by the name of its task ("hopper"), or the policy in a policy file.

    `policy.predict(observation, deterministic=True)` works as in Stable-Baselines.

    Raises:
        GailbenchError: The policy is missing or damaged.
    """
    from gailbench import experts
    from gailbench.policy import read_policy

    if str(source) in TASKS:
        return experts.load(TASKS[str(source)])[0]
    return read_policy(Path(source))


def sample_demonstrations(
    task: str | Path | Task, trajectories: int | None = None, seed: int = 0, policy: Policy | None = None
) -> Demonstrations:
    """Sample whole trajectories of a stochastic policy.

    Args:
        task: A task's name, a Gymnasium id, a TOML file, or a task.
        trajectories: Number of trajectories; by default the task's number of demonstrations.
        seed: Seed of initial states, action noise and subsampling offsets.
        policy: The demonstrating policy; by default the task's expert.

    Raises:
        GailbenchError: The task or its expert does not exist, the policy does not fit the task, or a number is out of
            range.
    """
    from gailbench import demonstrations, experts

    task = _task(task)
    trajectories = typed("trajectories", Count, _plain(task.demonstrations if trajectories is None else trajectories))
    seed = typed("seed", CountOrZero, _plain(seed))
    digest = ""
    if policy is None:
        policy, digest = experts.load(task)
    else:
        experts.check_dimensions(task, "the policy", policy.observation_dim, policy.action_dim, policy.discrete)
    return demonstrations.sample(task, policy, digest, trajectories, seed)


def run(
    task: str | Path | Task,
    algorithms: Sequence[str] | None = None,
    sizes: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    *,
    entropy_weights: Sequence[float] | None = None,
    demonstrations: str | Path | None = None,
    batch: int | None = None,
    iterations: int | None = None,
    settings: Mapping[str, Any] | None = None,
    results: str | Path = "results",
) -> pd.DataFrame:
    """Do runs in this process, one after the other, and return their results in the form of `load_results`.

    Complete runs are skipped, and interrupted runs are continued. An argument that is None takes the task's value,
    which is the paper's for the paper's tasks.

    PyTorch and NumPy use one thread during the runs, and then as many as before. With glibc the process keeps freed
    memory from then on.

    Args:
        task: A task's name, a Gymnasium id, a TOML file, or a task.
        algorithms: Names, such as "gail".
        sizes: Demonstration sizes in trajectories.
        seeds: Seeds.
        entropy_weights: GAIL's weights of the policy's entropy (lambda).
        demonstrations: A demonstrations file, instead of demonstrations sampled from the expert.
        batch: State-action pairs per iteration.
        iterations: Number of iterations; for behavioral cloning, of gradient steps.
        settings: Further settings by name: {"gail.learning_rate": 0.003}.
        results: The results folder.

    Raises:
        GailbenchError: An argument names something that does not exist or is out of range, or a run failed.
    """
    from gailbench import demonstrations as files
    from gailbench.plumbing.computing import prepared
    from gailbench.report.load import load_results as load
    from gailbench.runs.execute import execute
    from gailbench.runs.grid import Request, plan_all

    task, results = _task(task), Path(results)
    request = Request(
        results=results,
        demonstrations=None if demonstrations is None else Path(demonstrations),
        sizes=_several("sizes", Count, sizes),
        algorithms=_several("algorithms", str, algorithms),
        seeds=_several("seeds", CountOrZero, seeds) or (0,),
        entropy_weights=_several("entropy_weights", NotNegative, entropy_weights),
        batch=typed("batch", Count | None, _plain(batch)),
        iterations=typed("iterations", Count | None, _plain(iterations)),
        settings=tuple((name, _plain(value)) for name, value in (settings or {}).items()),
    )
    states = plan_all([task], request, None)
    read = cache(files.read)
    with prepared(1):
        for job, state in states.items():
            if state != "complete":
                execute(job.spec, None if job.demonstrations is None else read(job.demonstrations), results)
    loaded = load(results)
    return _frame(loaded, loaded.runs[loaded.runs["folder"].isin([job.spec.folder(results) for job in states])])


def _task(task: str | Path | Task) -> Task:
    """Return the task itself.

    Raises:
        GailbenchError: It does not exist, has a wrong value, or is another than the paper's task of its name.
    """
    return checked_task(task) if isinstance(task, Task) else find_task(str(task))


def _plain(value: Any) -> Any:
    """Turn NumPy's arrays and scalars into lists and numbers, and any other iterable but text into a list."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return [_plain(item) for item in value]


def _several(name: str, kind: Any, values: Any) -> tuple[Any, ...] | None:
    """Return the values of an argument, each once; None if it is None.

    Raises:
        GailbenchError: There are no values, or one has a wrong type or is out of range.
    """
    if values is None:
        return None
    if not (found := typed(name, tuple[kind, ...], _plain(values))):
        raise GailbenchError(f"{name} is empty; leave it out for the default")
    return tuple(dict.fromkeys(found))


def load_results(results: str | Path = "results") -> pd.DataFrame:
    """Return all complete runs of a results folder, one row per evaluation episode.

    Columns: task, algorithm, settings, trajectories, seed, entropy_weight, episode, return.

    Raises:
        GailbenchError: The results folder does not exist.
    """
    from gailbench.report.load import load_results as load

    if not Path(results).is_dir():
        raise GailbenchError(f"no results folder at {results}; 'gailbench run' makes one")
    loaded = load(Path(results))
    return _frame(loaded, loaded.runs)


def _frame(loaded: Results, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the result of `load_results` for some of the runs."""
    frame = loaded.returns.merge(runs, on="run")
    frame["episode"] = frame.groupby("run").cumcount()
    columns = ["task", "algorithm", "settings", "trajectories", "seed", "entropy_weight", "episode", "return"]
    return frame[columns]
