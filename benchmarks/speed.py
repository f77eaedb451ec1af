"""How fast the whole thing is, read against the physics alone; writes the tables of benchmarks/results.md.

    python benchmarks/speed.py > benchmarks/results.md

Nothing else should run. Every ratio is a median over rounds, in each of which its two sides take turns, so that a
machine that speeds up or slows down does so for both. The yardstick, `gailbench.bench.Replay`, steps MuJoCo through
the states and raw actions of a batch that the task's expert sampled (an untrained policy's where there is no expert),
one environment after the other, and computes nothing else.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from overhead import gailbench, seconds

from gailbench import bench, experts
from gailbench.algorithms.loop import LoopSettings
from gailbench.bench import Replay, Speed, bench_learner, measure, rate, steps_of_iteration
from gailbench.plumbing.computing import prepare_process
from gailbench.plumbing.versions import versions
from gailbench.sampling import Sampler
from gailbench.simulation import dimensions
from gailbench.tasks import TASKS, Task, get_task

MUJOCO = ("hopper", "walker", "ant", "humanoid", "halfcheetah", "reacher")
CLASSIC = ("cartpole", "mountaincar", "acrobot")
TABLES = ("physics", "side-by-side", "classic", "growth", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(MUJOCO), help="MuJoCo tasks of the first two tables")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tables", default=",".join(TABLES), help="which tables, all if not given")
    arguments = parser.parse_args()
    tables = arguments.tables.split(",")
    if unknown := set(tables) - set(TABLES):
        parser.error(f"no such tables: {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes started here
    names, rounds = arguments.tasks.split(","), arguments.rounds
    made_with = ", ".join(f"{name} {value}" for name, value in versions().items())
    command = " ".join(("python benchmarks/speed.py", *sys.argv[1:]))
    print(f"# Speed\n\nMade by `{command}` on {_processor()}, {os.cpu_count()} cores; {made_with}.")
    print(f"Medians of {rounds} interleaved rounds.", flush=True)
    if "physics" in tables:
        floors(against_the_physics(names, rounds))
    if "side-by-side" in tables:
        side_by_side(names, rounds)
    if "classic" in tables:
        classic(rounds)
    if "growth" in tables:
        growth(rounds)
    if "memory" in tables:
        memory_and_start()


def _processor() -> str:
    """Name, and whether it computes with vectors of 512 bits, which halves the time of an update."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = text.splitlines()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return f"{name} with{'' if 'avx512f' in text else 'out'} AVX-512"


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a Markdown table, row by row as they are measured."""
    names = list(columns)
    print(f"\n## {title}\n\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def against_the_physics(names: list[str], rounds: int) -> list[Speed]:
    speeds = []

    def row(name: str) -> list[str]:
        speed = measure(get_task(name), 1, rounds)
        speeds.append(speed)
        return [
            name,
            speed.states,
            f"{speed.physics_steps_per_second:,.0f}",
            f"{speed.sampling_ratio:.3f}",
            f"{speed.training_ratio:.3f}",
        ]

    columns = ("task", "states of", "physics, steps/s", "sampling / physics", "whole iterations / physics")
    _table("One thread", columns, map(row, names))
    return speeds


def floors(speeds: list[Speed]) -> None:
    """Print how far the updates of an iteration are from the least that their arithmetic takes."""
    matrix = np.ones((2048, 2048), dtype=np.float32)
    result = np.empty_like(matrix)

    def multiply() -> int:
        np.matmul(matrix, matrix, out=result)
        return 2 * 2048**3

    def activate() -> int:
        for start in range(0, 2048, 64):  # half a MiB at a time
            np.tanh(matrix[start : start + 64], out=result[start : start + 64])
        return matrix.size

    products, tanhs = (max(rate(work) for _ in range(10)) for work in (multiply, activate))

    def row(speed: Speed) -> list[str]:
        task = get_task(speed.task)
        operations, tanh = arithmetic(task)
        least = operations / products + tanh / tanhs
        updates = task.batch / speed.training_steps_per_second - task.batch / speed.sampling_steps_per_second
        physics = task.batch / speed.physics_steps_per_second
        return [
            speed.task,
            f"{operations / 1e9:.1f}",
            f"{tanh / 1e6:.0f}",
            f"{least:.2f}",
            f"{updates:.2f}",
            f"{1 / (1 / speed.sampling_ratio + least / physics):.3f}",
        ]

    columns = (
        *("task", "products, GFLOP", "tanh, millions", "least, s", "measured, s"),
        "iterations / physics if updates took the least",
    )
    _table("Floor of an iteration's updates, one thread", columns, map(row, speeds))
    print(
        f"\nPeak rates: {products / 1e9:.0f} GFLOP/s (float32 products of 2048 x 2048) and {tanhs / 1e6:,.0f} million "
        "tanh/s (float32, in cache)."
    )


def arithmetic(task: Task) -> tuple[float, float]:
    """Return the floating-point operations of the matrix products, and the tanh evaluations, of one iteration of GAIL
    at the paper's settings, without halvings of the steps."""
    observation_dim, action_dim, _ = dimensions(task)
    settings = LoopSettings(batch=task.batch)
    hidden = settings.hidden
    pairs, region = task.batch, settings.policy_region
    rows_of_products = region.subsample * pairs
    expert_pairs = task.sizes[0] * task.horizon / task.keep_every

    def network(inputs: int, outputs: int, forward: float, backward: float, products: float) -> float:
        """Operations of passes over so many rows; a product with the Jacobian or its transpose costs as much as a
        pass backward, which spares the one to the inputs."""
        sizes = (inputs, *hidden, outputs)
        once = sum(2 * a * b for a, b in pairwise(sizes))
        back = 2 * once - 2 * inputs * hidden[0]
        return once * forward + back * (backward + 2 * region.iterations * products)

    policy = network(observation_dim, action_dim, 2 * pairs + rows_of_products, pairs, rows_of_products)
    value = network(observation_dim + 1, 1, 3 * pairs + rows_of_products, pairs, rows_of_products)
    learned = pairs + expert_pairs
    discriminator = network(observation_dim + action_dim, 1, 2 * pairs + learned, learned, 0)
    forward_rows = 7 * pairs + 2 * rows_of_products + learned
    return policy + value + discriminator, forward_rows * sum(hidden)


_learner = None
_barrier: Barrier | None = None


def _start(name: str, barrier: Barrier) -> None:
    """Prepare a run in a process of its own."""
    global _learner, _barrier
    prepare_process(1)
    _learner, _barrier = bench_learner(get_task(name), 1), barrier


def _iterate() -> int:
    assert _learner is not None
    assert _barrier is not None
    _barrier.wait()  # so that each process takes one of the two
    return steps_of_iteration(_learner)


def side_by_side(names: list[str], rounds: int) -> None:
    def row(name: str) -> list[str]:
        task = get_task(name)
        replay = Replay(task, bench_learner(task, 1).policy, task.batch, 2)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, context, _start, (name, context.Barrier(2))) as pool:

            def both() -> int:
                return sum(run.result() for run in [pool.submit(_iterate) for _ in range(2)])

            both()  # starts the processes
            physics, training = [], []
            for _ in range(rounds):
                physics.append(rate(replay.run))
                training.append(rate(both))
        ratio = statistics.median(t / p for t, p in zip(training, physics, strict=True))
        return [name, f"{statistics.median(physics):,.0f}", f"{statistics.median(training):,.0f}", f"{ratio:.3f}"]

    columns = ("task", "physics, two threads, steps/s", "two runs, one thread each, steps/s", "ratio")
    _table("Two runs side by side", columns, map(row, names))


def classic(rounds: int) -> None:
    def row(name: str) -> list[str]:
        learner = bench_learner(get_task(name), 1)
        sampling = [rate(lambda: sum(len(learner.sample()) for _ in range(20))) for _ in range(rounds)]
        iterating = [rate(lambda: sum(steps_of_iteration(learner) for _ in range(10))) for _ in range(rounds)]
        return [name, f"{statistics.median(sampling):,.0f}", f"{statistics.median(iterating):,.0f}"]

    columns = ("task", "sampling with the expert, steps/s", "whole iterations, steps/s")
    _table("Classic tasks, one thread", columns, map(row, CLASSIC))
    with tempfile.TemporaryDirectory() as results:
        command = ["run", "--task", "cartpole", "--algorithms", "gail", "--sizes", "4", "--jobs", "1"]
        took = seconds(lambda: gailbench(*command, "--results", results))
    print(f"\nOne run of GAIL on cart-pole at the paper's full budget, started from the shell: {took:.1f} s.")


def growth(rounds: int) -> None:
    hopper = get_task("hopper")
    expert = experts.load(hopper)[0]

    def envs(count: int) -> list[str]:
        sampler = Sampler(hopper, count, np.random.default_rng(0))
        policy = bench.embed(expert, (100, 100))
        speeds = [rate(lambda: len(sampler.sample(policy, count * hopper.horizon))) for _ in range(rounds)]
        return [str(count), f"{statistics.median(speeds):,.0f}"]

    prepare_process(1)
    _table("Sampling hopper, by number of environments", ("environments", "steps/s"), map(envs, (1, 5, 20, 50, 100)))

    def batch(pairs: int) -> list[str]:
        cells = [f"{pairs:,}"]
        for threads in (1, 2):
            speed = measure(hopper, threads, rounds if pairs <= 50_000 else 2, pairs)
            cells += [f"{speed.sampling_steps_per_second:,.0f}", f"{speed.training_steps_per_second:,.0f}"]
        return cells

    columns = ("batch", "sampling, 1 thread", "iterations, 1 thread", "sampling, 2 threads", "iterations, 2 threads")
    _table("Hopper by batch and threads of one run, steps/s", columns, map(batch, (5_000, 20_000, 50_000, 200_000)))


def memory_and_start() -> None:
    def row(what: str, *code: str) -> list[str]:
        return [what, f"{_peak(code):,.0f}"]

    def runs() -> Iterable[list[str]]:
        yield row("import torch", "-c", "import torch")
        for name in ("hopper", "humanoid"):
            if name in experts.shipped():
                with tempfile.TemporaryDirectory() as results:
                    size = str(TASKS[name].sizes[0])
                    command = f"-m gailbench run --task {name} --sizes {size} --algorithms gail --iterations 3 --jobs 1"
                    yield row(f"GAIL on {name}, three iterations", *command.split(), "--results", results)

    _table("Peak memory of one process", ("what", "MiB"), runs())
    times = [seconds(lambda: gailbench("--help")) for _ in range(5)]
    print(f"\n`gailbench --help`: {statistics.median(times):.2f} s.")


def _peak(code: Iterable[str]) -> float:
    """Largest resident memory (MiB) of the processes that a Python command is made of."""
    measure_it = (
        "import resource, subprocess, sys;"
        "subprocess.run([sys.executable, *sys.argv[1:]], check=True, capture_output=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", measure_it, *code]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


if __name__ == "__main__":
    main()
