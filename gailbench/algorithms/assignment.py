"""What a learner is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gailbench.plumbing.errors import GailbenchError
from gailbench.tasks import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gailbench.algorithms.loop import LoopSettings
    from gailbench.demonstrations import Demonstrations, Pairs


@dataclass(frozen=True)
class Assignment:
    """What a learner is made from.

    Attributes:
        task: The task.
        demonstrations: Whole trajectories; None for an algorithm that needs none.
        pairs: The state-action pairs that remain after choosing the size and subsampling.
        rows: Indices of these pairs in the demonstrations: `demonstrations.next_observations[rows]` are the
            observations after them.
        iterations: Total number of iterations.
        seed: Seed of all random numbers; `stream` derives a generator for each use.
        loop: Settings of the loop that is shared by all algorithms that learn from a reward.
        settings: The algorithm's own settings; None if it has none.
        results: The results folder. `gailbench.experts.load_demonstrator` finds experts of a user's tasks there.
    """

    task: Task
    demonstrations: Demonstrations | None
    pairs: Pairs | None
    rows: NDArray[np.int64] | None
    iterations: int
    seed: int
    loop: LoopSettings
    settings: Any
    results: Path

    def stream(self, name: str) -> np.random.Generator:
        """Return a random generator for one use, such as "reward"."""
        from gailbench.plumbing.streams import stream

        return stream(self.seed, name)

    @property
    def expert(self) -> Pairs:
        """The demonstrated pairs of an algorithm that needs them."""
        if self.pairs is None:
            raise GailbenchError("this algorithm learns from demonstrations, but has none")
        return self.pairs
