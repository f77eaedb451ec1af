"""How long runs will take: an estimate from short measurements on this machine, without importing PyTorch.

Simulation is timed. The time of learning is the number of floating-point operations of the networks, divided by the
measured rate of a matrix product.
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
# Cost of an iteration's updates per pair, in forward passes through policy, value function and discriminator. On
# hopper, half-cheetah, ant and reacher it was measured to be 8 to 11.
PASSES = 10.0
# Fixed time of a gradient step of behavioral cloning, and the number of pairs in its minibatch.
SECONDS_OF_A_GRADIENT_STEP, GRADIENT_BATCH = 5e-4, 128
START_UP = 3.0  # seconds until a worker has imported PyTorch


def seconds(jobs: Iterable[Job], workers: int) -> float:
    """Return the estimated seconds for these jobs, including learning, with this number of workers."""
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
    """Return the seconds of one forward pass of one pair through a network of the paper's size."""
    observations, actions, _ = dimensions(task)
    return 2 * (HIDDEN * (observations + actions) + HIDDEN**2) / _flops()


@cache
def _flops() -> float:
    """Return the floating-point operations per second of a matrix product of the networks' shape."""
    rows, weights = np.ones((5_000, HIDDEN), dtype=np.float32), np.ones((HIDDEN, HIDDEN), dtype=np.float32)
    rows @ weights
    count, started = 0, time.process_time()
    while (elapsed := time.process_time() - started) < 0.05:
        rows @ weights
        count += 1
    return 2 * rows.size * HIDDEN * count / elapsed
