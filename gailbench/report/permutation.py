"""The permutation test between the means of two sets of training runs.

As `scipy.stats.permutation_test` does it, but with the splits made once, not once per test: a hundred times faster.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 9999  # of more splits so many are drawn; seven and seven runs have 3,432, all of which are tried
TIES = 1e-12  # means that differ by less are the same but for rounding


def permutation_p(lower: NDArray[np.float64], higher: NDArray[np.float64]) -> float:
    """Return the one-sided p of the permutation test between means: how often a random split of all runs sets `higher`
    at least as far above `lower`. Exact for seven and seven runs.

    Args:
        lower, higher: Run means, (R,) each.
    """
    pooled = np.concatenate([lower, higher])
    splits = _splits(len(lower), len(higher))
    sums = pooled[splits].sum(axis=1)  # of the runs that a split calls the lower ones
    as_far = int((sums <= lower.sum() + TIES * (1 + np.abs(pooled).sum())).sum())
    exact = len(splits) == math.comb(len(pooled), len(lower))
    return as_far / len(splits) if exact else (as_far + 1) / (len(splits) + 1)


def two_sided_p(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the two-sided p: twice the smaller of both directions', at most 1."""
    return min(1.0, 2 * min(permutation_p(first, second), permutation_p(second, first)))


@cache
def _splits(lower: int, higher: int) -> NDArray[np.int64]:
    """Return which runs of all a split calls the lower ones, (splits, lower)."""
    runs = lower + higher
    if math.comb(runs, lower) <= RESAMPLES:
        return np.array(list(combinations(range(runs), lower)))
    generator = np.random.default_rng(0)
    return np.array([generator.permutation(runs)[:lower] for _ in range(RESAMPLES)])
