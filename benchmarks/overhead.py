"""What robustness costs: checkpoints of a hopper run, and planning and reporting on 640 complete runs.

    python benchmarks/overhead.py > benchmarks/overhead.txt

The complete runs are made up (full-length curves of random numbers, policies of the right shape), since only their
files matter here; commands are timed whole, the start of Python included.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gailbench import demonstrations, experts
from gailbench.algorithms import get_algorithm
from gailbench.plumbing.computing import prepare_process
from gailbench.plumbing.files import write_atomic
from gailbench.plumbing.streams import stream
from gailbench.policy import Policy, policy_bytes
from gailbench.runs import grid
from gailbench.runs.execute import make_learner
from gailbench.runs.folder import EPISODES, evaluation_csv
from gailbench.runs.spec import RunSpec, make_spec
from gailbench.tasks import get_task
from gailbench.training import CheckpointFile, Training, curve_csv

EVERY = 300.0
TASKS = ("cartpole", "acrobot", "mountaincar", "hopper")
SEEDS = 10


def main() -> None:
    prepare_process(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        complete_runs(Path(folder))


def checkpoints(folder: Path, rounds: int = 5) -> None:
    """Time iterations at the paper's settings against what checkpointing adds to them."""
    task = get_task("hopper")
    policy, digest = experts.load(task)
    demos = demonstrations.sample(task, policy, digest, 4, 0)
    spec = make_spec(task, "gail", 4, 0, demos)
    learner = make_learner(spec, demos)
    training = Training(learner, spec.iterations)
    checkpoint = CheckpointFile(folder / "checkpoint.safetensors", spec.as_json(), EVERY)
    # As at the end of a run, when the checkpoint is largest.
    row = learner.iterate()
    training.rows = [row] * spec.iterations
    iterate, copy, save = [], [], []
    for _ in range(rounds):
        iterate.append(seconds(learner.iterate))
        copy.append(seconds(learner.state))
        save.append(seconds(lambda: training._save(checkpoint, learner.state())))
    iteration, copied, saved = (statistics.median(values) for values in (iterate, copy, save))
    print(f"hopper, GAIL at the paper's settings, medians of {rounds}")
    print(f"  one iteration of {task.batch:,} pairs       {iteration * 1e3:9.1f} ms")
    print(f"  copying its state, every iteration  {copied * 1e3:9.2f} ms")
    size = checkpoint.path.stat().st_size
    print(f"  writing a checkpoint, every {EVERY:.0f} s    {saved * 1e3:9.2f} ms, {size:,} bytes")
    print(f"  share of the run's time             {100 * (copied / iteration + saved / EVERY):9.3f} %")


def complete_runs(results: Path) -> None:
    """Time `run` and `report` on a folder where everything is complete."""
    generator = np.random.default_rng(0)
    jobs = [job for name in TASKS for job in grid.plan(get_task(name), grid.Request(results, seeds=range(SEEDS)))]
    policies = {name: experts.load(get_task(name))[0] for name in TASKS}
    for job in jobs:
        make_up(job.spec, results, policies[job.spec.task], generator)
    tasks = ",".join(TASKS)
    seeds = ",".join(map(str, range(SEEDS)))
    print(f"{len(jobs)} complete runs")
    for name, command in {
        "run": ["run", "--task", tasks, "--seeds", seeds],
        "report": ["report"],
    }.items():
        before = os.times()
        times = [seconds(lambda command=command: gailbench(*command, "--results", str(results))) for _ in range(3)]
        after = os.times()
        processor = (after.children_user + after.children_system - before.children_user - before.children_system) / 3
        print(
            f"  {name:8} {statistics.median(times):6.2f} s (median of {', '.join(f'{t:.2f}' for t in times)}), "
            f"{processor:.2f} s of processor time"
        )
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def make_up(spec: RunSpec, results: Path, like: Policy, generator: np.random.Generator) -> None:
    """Write the files of a complete run."""
    folder = spec.folder(results)
    folder.mkdir(parents=True)
    policy = Policy(
        like.observation_dim, like.action_dim, like.discrete, (100, 100), generator=stream(spec.seed, "policy")
    )
    algorithm, names = get_algorithm(spec.algorithm), get_algorithm(spec.algorithm).columns
    every = 1 if algorithm.takes_environment_steps else get_task(spec.task).bc_validate_every
    rows = [
        {**dict(zip(names, generator.normal(size=len(names)), strict=True)), "iteration": k}
        for k in range(every, spec.iterations + 1, every)
    ]
    write_atomic(folder / "spec.json", json.dumps(spec.as_json(), indent=2) + "\n")
    write_atomic(folder / "curve.csv", curve_csv(rows, names))
    write_atomic(folder / "policy.safetensors", policy_bytes(policy))
    returns, lengths = generator.normal(1000, 300, EPISODES), generator.integers(1, 1000, EPISODES)
    write_atomic(folder / "evaluation.csv", evaluation_csv(returns, lengths))


def gailbench(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "gailbench", *arguments], check=True, capture_output=True)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
