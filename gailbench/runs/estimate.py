"""How long runs will take: measured for a moment on this machine, without importing PyTorch.

Simulation is timed; learning is counted in floating-point operations of the networks, at the rate of a matrix product
that is timed too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cache

import numpy as np

from gailbench.algorithms import get_algorithm
from gailbench.runs.grid import Job
from gailbench.simulation import dimensions, estimate_steps_per_second
from gailbench.tasks import Task

HIDDEN = 100
# Forward passes through policy, value function and discriminator that an iteration's updates come to, per pair; by
# measurement on hopper, half-cheetah, ant and reacher, whose updates took 8 to 11.
PASSES = 10.0
# Of a gradient step of behavioral cloning, beside its arithmetic; pairs of its batch.
SECONDS_OF_A_GRADIENT_STEP, GRADIENT_BATCH = 5e-4, 128
START_UP = 3.0  # seconds until a worker has imported PyTorch


def seconds(jobs: Iterable[Job], workers: int) -> float:
    """Return about how long these jobs take, learning included, with so many workers."""
    total = sum(_seconds(job) for job in jobs)
    return START_UP + total / workers if total else 0.0


def _seconds(job: Job) -> float:
    spec, task = job.spec, job.spec.task_itself()
    if get_algorithm(spec.algorithm).takes_environment_steps:
        return spec.steps * (1 / _steps_per_second(task) + PASSES * 3 * _pass_seconds(task))
    return spec.iterations * (SECONDS_OF_A_GRADIENT_STEP + 3 * GRADIENT_BATCH * _pass_seconds(task))


@cache
def _steps_per_second(task: Task) -> float:
    return estimate_steps_per_second(task)


def _pass_seconds(task: Task) -> float:
    """Of one forward pass of one pair through a network of the paper's size."""
    observations, actions, _ = dimensions(task)
    return 2 * (HIDDEN * (observations + actions) + HIDDEN**2) / _flops()


@cache
def _flops() -> float:
    """Floating-point operations per second of a matrix product of the networks' shape."""
    rows, weights = np.ones((5_000, HIDDEN), dtype=np.float32), np.ones((HIDDEN, HIDDEN), dtype=np.float32)
    rows @ weights
    count, started = 0, time.process_time()
    while (elapsed := time.process_time() - started) < 0.05:
        rows @ weights
        count += 1
    return 2 * rows.size * HIDDEN * count / elapsed
