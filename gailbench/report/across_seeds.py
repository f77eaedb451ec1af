"""Statistics over training runs and tasks: interquartile means, probabilities of improvement, performance profiles.

The statistics follow Agarwal et al. (2021), with scipy. A score is a run's normalized mean. Sizes are compared by rank,
since tasks have different sizes. Tasks have equal weight: if a task has n runs, each of them counts L / n times, where
L is a common multiple of all n. Intervals are percentiles of a bootstrap that resamples runs within each task. A task
with one run is the same in every resample.

Legend: K tasks, each with n runs (the last axis; leading axes are bootstrap resamples).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from gailbench.report.table import heading
from gailbench.tasks import Task

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0
RANKS = ("smallest", "second", "third", "largest")
THRESHOLDS = np.round(np.linspace(-0.2, 1.2, 57), 3)  # thresholds of the performance profiles
SOME_SEEDS = "the interval is too narrow: tasks with one run add no spread to it"
ONE_SEED = "no interval: every task has one run, which says nothing about other seeds"

Samples = Sequence[NDArray[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval. If there is no interval, bounds are NaN and the note says why."""

    value: float
    low: float
    high: float
    note: str


def rank(sizes: Sequence[int], trajectories: int) -> str | None:
    """Return the rank of a size among a task's sizes; None if it is not one of them. With three sizes there is no third
    rank."""
    if trajectories not in sizes:
        return None
    position = sizes.index(trajectories)
    return RANKS[-1] if position == len(sizes) - 1 else RANKS[position]


def balanced(samples: Samples) -> NDArray[np.float64]:
    """Return the runs of all tasks in one array (..., K * L), in which tasks have equal weight."""
    length = math.lcm(*(sample.shape[-1] for sample in samples))
    return np.concatenate([np.repeat(s, length // s.shape[-1], axis=-1) for s in samples], axis=-1)


def interquartile_mean(samples: Samples) -> NDArray[np.float64]:
    """Return the mean of the middle half of the scores, (...)."""
    scores = np.repeat(balanced(samples), 4, axis=-1)  # a quarter of these is a whole number, as trim_mean needs
    return np.asarray(stats.trim_mean(scores, 0.25, axis=-1))


def probability_of_improvement(first: Samples, second: Samples) -> NDArray[np.float64]:
    """Return P(a run of the first scores above a run of the second), averaged over tasks, (...). Ties count half.

    For one task this is the Mann-Whitney statistic divided by the number of pairs.
    """
    wins = []
    for x, y in zip(first, second, strict=True):
        difference = x[..., :, np.newaxis] - y[..., np.newaxis, :]
        wins.append(((difference > 0) + 0.5 * (difference == 0)).mean(axis=(-2, -1)))
    return np.mean(wins, axis=0)


def share_above(samples: Samples, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of scores above each of the thresholds (M,): the performance profile, (M,)."""
    return (balanced(samples)[:, np.newaxis] > thresholds).mean(axis=0)


def estimate(statistic: Callable[[list[Any]], NDArray[np.float64]], samples: Samples) -> Estimate:
    """Return a statistic of the runs of several tasks, with its 95 % stratified bootstrap interval.

    Args:
        statistic: Function of arrays (..., n), one per sample, that returns (...).
        samples: Arrays (n,), one per task. An array with one run is the same in every resample.
    """
    value = float(statistic(list(samples)))
    several = [index for index, sample in enumerate(samples) if len(sample) > 1]
    if not several:
        return Estimate(value, math.nan, math.nan, ONE_SEED)

    def of_drawn(*drawn: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        every: list[Any] = []
        resampled = iter(drawn)
        for index, sample in enumerate(samples):
            if index in several:
                every.append(next(resampled))
            else:
                every.append(np.broadcast_to(sample, (*drawn[0].shape[:-1], len(sample))))
        return statistic(every)

    found = stats.bootstrap(
        tuple(samples[index] for index in several),
        of_drawn,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        paired=False,
        vectorized=True,
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Estimate(value, float(found.low), float(found.high), "" if len(several) == len(samples) else SOME_SEEDS)


@dataclass(frozen=True)
class AcrossSeeds:
    """The statistics as tidy data frames.

    Attributes:
        iqm: Columns rank, method, tasks (names), runs, value, low, high, note.
        proposed: Heading of the algorithm with which the others are compared.
        improvement: Columns rank, method (with which the proposed one is compared), tasks, value, low, high, note.
        profiles: Columns method, threshold, value; over all sizes.
        remarks: What is left out.
    """

    iqm: pd.DataFrame
    proposed: str
    improvement: pd.DataFrame
    profiles: pd.DataFrame
    remarks: list[str]


def across_seeds(
    scores: pd.DataFrame, tasks: Mapping[str, Task], algorithms: Sequence[str], proposed: str
) -> AcrossSeeds:
    """Compute the statistics from `run_scores` of the runs in the table.

    The algorithms are compared over the tasks for which all of them have runs. So reacher is left out, which FEM and
    GTAL lack. Another method is compared over those of these tasks for which it has runs.

    Args:
        scores: Result of `run_scores`.
        tasks: The tasks, whose sizes are ranked.
        algorithms: Names of algorithms, in the order of the table.
        proposed: The algorithm with which every other is compared.
    """
    scores = scores[scores["normalized_mean"].notna() & (scores["entropy_weight"].fillna(0) == 0)]
    sizes = {name: task.sizes for name, task in tasks.items()}
    ranks = [rank(sizes.get(task, ()), size) for task, size in zip(scores["task"], scores["trajectories"], strict=True)]
    scores = scores.assign(rank=pd.Series(ranks, index=scores.index, dtype="object")).dropna(subset="rank")
    runs = {key: group["normalized_mean"].to_numpy() for key, group in scores.groupby(["rank", "algorithm", "task"])}
    present = [name for name in algorithms if name in set(scores["algorithm"])]
    every = [*present, *sorted(set(scores["algorithm"]) - set(algorithms))]

    def common(size: str, *names: str) -> list[str]:
        """Return the tasks with runs of all present algorithms and of `names`."""
        return [task for task in tasks if all((size, name, task) in runs for name in {*present, *names})]

    iqm, improvement, profiles = [], [], []
    for size in RANKS:
        for name in every:
            shared = common(size, name)
            if not shared:
                continue
            samples = [runs[size, name, task] for task in shared]
            found = estimate(interquartile_mean, samples)
            count = sum(map(len, samples))
            iqm.append((size, heading(name), ", ".join(shared), count, *_fields(found)))
    for size in (*RANKS, "all sizes"):
        for name in every:
            if name == proposed or proposed not in present:
                continue
            pairs = [(s, t) for s in (RANKS if size == "all sizes" else (size,)) for t in common(s, name)]
            if not pairs:
                continue
            first = [runs[s, proposed, t] for s, t in pairs]
            second = [runs[s, name, t] for s, t in pairs]
            found = estimate(_improvement(len(first)), [*first, *second])
            names = ", ".join(dict.fromkeys(task for _, task in pairs))
            improvement.append((size, heading(name), names, *_fields(found)))
    for name in every:
        if samples := [runs[size, name, task] for size in RANKS for task in common(size, name)]:
            values = share_above(samples, THRESHOLDS)
            profiles += [(heading(name), float(t), float(v)) for t, v in zip(THRESHOLDS, values, strict=True)]
    return AcrossSeeds(
        pd.DataFrame(iqm, columns=["rank", "method", "tasks", "runs", "value", "low", "high", "note"]),
        heading(proposed),
        pd.DataFrame(improvement, columns=["rank", "method", "tasks", "value", "low", "high", "note"]),
        pd.DataFrame(profiles, columns=["method", "threshold", "value"]),
        [] if iqm or scores.empty else ["no statistics across tasks: no task has runs of all the algorithms at a size"],
    )


def _improvement(number: int) -> Callable[[list[Any]], NDArray[np.float64]]:
    return lambda samples: probability_of_improvement(samples[:number], samples[number:])


def _fields(found: Estimate) -> tuple[float, float, float, str]:
    return found.value, found.low, found.high, found.note
