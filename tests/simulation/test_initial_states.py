"""Initial states come from Gymnasium's distributions, independently in every environment and episode."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from scipy import stats

from gailbench.simulation import CLASSIC, MUJOCO, make_physics

RESETS = 4_000
ALPHA = 1e-4  # of each task's whole comparison, for fixed seeds


def ours(environment):
    physics = make_physics(environment, 5, 10)
    generator = np.random.default_rng(0)
    return np.concatenate([physics.reset(np.arange(10), generator) for _ in range(RESETS // 10)])


def gymnasiums(environment):
    env = gymnasium.make(environment, disable_env_checker=True)
    return np.array([env.reset(seed=seed)[0] for seed in range(RESETS)])


def smallest_p(a, b):
    """The smallest p of Kolmogorov and Smirnov's two-sample test over the columns that vary."""
    return min(stats.ks_2samp(x, y, method="asymp").pvalue for x, y in zip(a.T, b.T, strict=True))


@pytest.mark.parametrize("environment", MUJOCO + CLASSIC)
def test_initial_observations_are_distributed_as_gymnasiums(environment):
    a, b = ours(environment), gymnasiums(environment)
    varies = b.std(axis=0) > 1e-9
    assert np.array_equal(a[:, ~varies].min(axis=0), a[:, ~varies].max(axis=0))
    assert np.allclose(a[0, ~varies], b[0, ~varies], rtol=0, atol=1e-9)
    a, b = a[:, varies], b[:, varies]
    # Random projections see what single coordinates cannot: how the coordinates depend on each other.
    directions = np.random.default_rng(1).standard_normal((a.shape[1], 10)) / b.std(axis=0)[:, None]
    a, b = np.column_stack((a, a @ directions)), np.column_stack((b, b @ directions))
    assert smallest_p(a, b) > ALPHA / a.shape[1]


def test_the_comparison_notices_noise_of_another_scale_or_family():
    rng = np.random.default_rng(0)
    uniform = rng.uniform(-1, 1, (RESETS, 1))
    assert smallest_p(uniform, rng.uniform(-1.2, 1.2, (RESETS, 1))) < ALPHA / 400
    assert smallest_p(uniform, rng.standard_normal((RESETS, 1)) / np.sqrt(3)) < ALPHA / 400


def test_reacher_goals_fill_the_disc_of_radius_a_fifth():
    goals = ours("Reacher-v5")[:, 4:6]
    radius = np.linalg.norm(goals, axis=1)
    assert radius.max() < 0.2
    # Uniform in the disc: the squared radius and the angle are uniform.
    assert stats.kstest(np.square(radius / 0.2), "uniform").pvalue > ALPHA
    assert stats.kstest(np.arctan2(goals[:, 1], goals[:, 0]) / (2 * np.pi) + 0.5, "uniform").pvalue > ALPHA


@pytest.mark.parametrize("environment", MUJOCO + CLASSIC)
def test_every_environment_and_episode_starts_elsewhere(environment):
    physics = make_physics(environment, 5, 4)
    generator = np.random.default_rng(0)
    starts = np.concatenate([physics.reset(np.arange(4), generator) for _ in range(3)])
    assert len(np.unique(starts, axis=0)) == len(starts)


@pytest.mark.parametrize("environment", MUJOCO + CLASSIC)
def test_a_reset_leaves_the_other_environments_alone(environment):
    """Two copies of one state; in one of them the middle environment starts anew before the next step."""
    first, second = (make_physics(environment, 5, 3) for _ in range(2))
    for physics in (first, second):
        physics.reset(np.arange(3), np.random.default_rng(0))
    observation = second.reset(np.array([1]), np.random.default_rng(1))
    assert observation.shape == (1, first.observation_dim)
    actions = np.ones(3, dtype=np.intp) if first.discrete else np.full((3, first.action_dim), 0.5)
    (a, reward_a, *_), (b, reward_b, *_) = (physics.step(actions) for physics in (first, second))
    assert np.array_equal(a[[0, 2]], b[[0, 2]])
    assert np.array_equal(reward_a[[0, 2]], reward_b[[0, 2]])
    assert not np.array_equal(a[1], b[1])
