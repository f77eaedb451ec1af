"""A started simulator, for tests."""

from __future__ import annotations

import numpy as np

from gailbench.simulation import Simulator, make_physics


def make(environment: str, horizon: int, num_envs: int, generator: np.random.Generator) -> Simulator:
    """Return a started simulator of `num_envs` copies of a Gymnasium environment. `generator` draws initial states."""
    simulator = Simulator(make_physics(environment, horizon, num_envs), horizon, generator)
    simulator.restart()
    return simulator
