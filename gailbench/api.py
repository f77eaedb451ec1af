"""Gailbench from Python: policies, demonstrations, runs and results. `import gailbench` brings these names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError
from gailbench.tasks import TASKS, Task, find_task

if TYPE_CHECKING:
    import pandas as pd

    from gailbench.policy import Policy


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
    task: str | Task, trajectories: int | None = None, seed: int = 0, policy: Policy | None = None
) -> Demonstrations:
    """Sample whole trajectories of a stochastic policy.

    Args:
        task: A task's name, a Gymnasium id, a TOML file, or a task.
        trajectories: Number of trajectories; by default the task's number of demonstrations.
        seed: Seed of initial states, action noise and subsampling offsets.
        policy: The demonstrating policy; by default the task's expert.

    Raises:
        GailbenchError: The task or its expert does not exist.
    """
    from gailbench import demonstrations, experts

    task = find_task(task) if isinstance(task, str) else task
    digest = ""
    if policy is None:
        policy, digest = experts.load(task)
    return demonstrations.sample(task, policy, digest, trajectories or task.demonstrations, seed)


def run(
    task: str | Task,
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
        GailbenchError: An argument names something that does not exist, or a run failed.
    """
    from gailbench import demonstrations as files
    from gailbench.plumbing.computing import prepare_process
    from gailbench.runs.execute import execute
    from gailbench.runs.grid import Request, plan_all

    task = find_task(task) if isinstance(task, str) else task
    results = Path(results)
    request = Request(
        results=results,
        demonstrations=None if demonstrations is None else Path(demonstrations),
        sizes=sizes,
        algorithms=algorithms,
        seeds=seeds,
        entropy_weights=entropy_weights,
        batch=batch,
        iterations=iterations,
        settings=tuple((settings or {}).items()),
    )
    states = plan_all([task], request, None)
    prepare_process(1)
    read = cache(files.read)
    for job, state in states.items():
        if state != "complete":
            execute(job.spec, None if job.demonstrations is None else read(job.demonstrations), results)
    asked = {(job.spec.algorithm, job.spec.settings, job.spec.trajectories, job.spec.seed) for job in states}
    frame = load_results(results)
    frame = frame[frame["task"] == task.name]
    mine = [key in asked for key in zip(*(frame[c] for c in _KEY), strict=True)]
    return frame[mine].reset_index(drop=True)


_KEY = ("algorithm", "settings", "trajectories", "seed")


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
    frame = loaded.returns.merge(loaded.runs, on="run")
    frame["episode"] = frame.groupby("run").cumcount()
    columns = ["task", "algorithm", "settings", "trajectories", "seed", "entropy_weight", "episode", "return"]
    return frame[columns]
