"""An expert's pairs and a policy's batch for what learns a reward from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gailbench.demonstrations import Pairs
from gailbench.sampling import Batch


@pytest.fixture
def random_problem(make_batch: Callable[..., Batch]) -> Callable[..., tuple[Pairs, Batch]]:
    """Return a function that makes 30 pairs of an expert and a batch of 200, three observations, two actions."""

    def make(discrete: bool, seed: int = 0) -> tuple[Pairs, Batch]:
        generator = np.random.default_rng(seed)
        expert_actions = generator.integers(2, size=30) if discrete else generator.normal(1.0, 1.0, (30, 2))
        actions = generator.integers(2, size=(20, 10)) if discrete else generator.normal(size=(20, 10, 2))
        expert = Pairs(
            generator.normal(1.0, 2.0, (30, 3)).astype(np.float32),
            expert_actions if discrete else expert_actions.astype(np.float32),
            num_actions=2,
            discrete=discrete,
        )
        centre = generator.normal(0.0, 2.0, 3)
        return expert, make_batch(generator.normal(centre, 1.0, (20, 10, 3)), actions)

    return make
