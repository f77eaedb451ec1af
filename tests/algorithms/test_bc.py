"""Behavioral cloning learns, validates, and keeps the best snapshot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from gailbench.algorithms.bc import BcSettings, BehavioralCloning
from gailbench.demonstrations import Pairs

pytestmark = pytest.mark.usefixtures("one_thread")


def cloning_of(expert: Pairs, settings: dict[str, Any], generator: np.random.Generator) -> BehavioralCloning:
    """Behavioral cloning with `steps`, `validate_every` and settings of its own."""
    own = {name: value for name, value in settings.items() if name not in ("steps", "validate_every")}
    return BehavioralCloning(expert, settings["steps"], settings["validate_every"], BcSettings(**own), generator)


def rows_of(cloning: BehavioralCloning) -> list[dict[str, float]]:
    """Iterate to the end; return the rows."""
    rows = []
    while cloning.iteration < cloning._steps:
        rows.append(cloning.iterate())
    return rows


def linear_expert(pairs: int, noise: float = 0.1, seed: int = 0) -> Pairs:
    """Gaussian actions around a linear map of observations that are not standardized."""
    generator = np.random.default_rng(seed)
    observations = generator.normal(5.0, 2.0, (pairs, 3)).astype(np.float32)
    actions = _mean_action(observations) + noise * generator.normal(size=(pairs, 2))
    return Pairs(observations, actions.astype(np.float32), num_actions=2, discrete=False)


def _mean_action(observations: np.ndarray) -> np.ndarray:
    x = (observations - 5.0) / 2.0
    return np.stack((x[:, 0] - 0.5 * x[:, 1], 0.3 * x[:, 2] + 1.0), axis=1)


def separable_expert(pairs: int, seed: int = 0) -> Pairs:
    """The action is the number of the largest observation."""
    generator = np.random.default_rng(seed)
    observations = generator.normal(size=(pairs, 3)).astype(np.float32)
    return Pairs(observations, observations.argmax(1), num_actions=3, discrete=True)


def noise_expert(pairs: int, discrete: bool) -> Pairs:
    """Actions that have nothing to do with the observations: there is nothing to learn but the noise."""
    generator = np.random.default_rng(3)
    observations = generator.normal(size=(pairs, 8)).astype(np.float32)
    actions = generator.integers(3, size=pairs) if discrete else generator.normal(size=(pairs, 3)).astype(np.float32)
    return Pairs(observations, actions, num_actions=3, discrete=discrete)


def validation_loss(cloning: BehavioralCloning) -> float:
    """Squared error of the mean, or minus the log-likelihood."""
    observations, actions = cloning._validation
    with torch.no_grad():
        output = cloning.policy.network(observations)
    if cloning.policy.discrete:
        return float(torch.nn.functional.cross_entropy(output, actions))
    return float(np.mean((output.numpy() - actions.numpy()) ** 2))


def test_learns_a_linear_gaussian_expert() -> None:
    settings = {"steps": 1_200, "validate_every": 200, "hidden": (32, 32)}
    cloning = cloning_of(linear_expert(500), settings, np.random.default_rng(0))
    initial = validation_loss(cloning)
    rows = rows_of(cloning)
    losses = [row["validation_loss"] for row in rows]
    assert initial > 0.5
    assert losses[0] < initial
    assert losses[-1] < losses[0]
    assert min(losses) < 0.03  # the noise's variance is 0.01
    observations = np.random.default_rng(9).normal(5.0, 2.0, (200, 3)).astype(np.float32)
    error = cloning.policy.output(observations) - _mean_action(observations)
    assert np.sqrt(np.mean(error**2)) < 0.15
    # Maximum likelihood: the deviations learn too, towards the noise's.
    assert (np.exp(cloning.policy.log_std.detach().numpy()) < 0.6).all()
    assert rows[-1]["entropy"] < rows[0]["entropy"]
    assert rows[-1]["training_loss"] < rows[0]["training_loss"]


def test_learns_a_separable_discrete_expert() -> None:
    settings = {"steps": 600, "validate_every": 100, "hidden": (32, 32)}
    cloning = cloning_of(separable_expert(400), settings, np.random.default_rng(0))
    assert validation_loss(cloning) == pytest.approx(np.log(3))
    rows = rows_of(cloning)
    assert min(row["validation_loss"] for row in rows) < 0.25
    fresh = separable_expert(500, seed=1)
    actions, _ = cloning.policy.actor()(fresh.observations, None)
    assert np.mean(actions == fresh.actions) > 0.9


@pytest.mark.parametrize("discrete", [False, True])
def test_best_snapshot_is_kept(discrete: bool) -> None:
    # Few pairs and much noise: the policy learns a little, then overfits.
    expert = separable_expert(30) if discrete else linear_expert(30, noise=0.5)
    flip = np.random.default_rng(5).random(30) < 0.3
    if discrete:
        expert.actions[flip] = (expert.actions[flip] + 1) % 3
    settings = {"steps": 1_500, "validate_every": 25, "hidden": (32, 32)}
    cloning = cloning_of(expert, settings, np.random.default_rng(1))
    initial = validation_loss(cloning)
    losses = [row["validation_loss"] for row in rows_of(cloning)]
    best = int(np.argmin(losses))
    assert losses[best] < initial
    assert best < len(losses) - 1
    assert losses[-1] > 1.02 * losses[best]
    assert validation_loss(cloning) == pytest.approx(losses[best], rel=1e-5)


@pytest.mark.parametrize("discrete", [False, True])
def test_first_snapshot_is_kept_where_training_only_hurts_and_the_untrained_policy_is_none(discrete: bool) -> None:
    expert = noise_expert(40, discrete)
    settings = {"steps": 300, "validate_every": 100, "learning_rate": 0.01, "hidden": (32, 32)}
    cloning = cloning_of(expert, settings, np.random.default_rng(0))
    initial = validation_loss(cloning)
    rows = rows_of(cloning)
    losses = [row["validation_loss"] for row in rows]
    assert [row["iteration"] for row in rows] == [1, 100, 200, 300]
    assert initial < losses[0] == min(losses)
    assert validation_loss(cloning) == pytest.approx(losses[0])
    # It is the policy of a training that ends after that one step.
    once = cloning_of(expert, {**settings, "steps": 1}, np.random.default_rng(0))
    rows_of(once)
    assert torch.equal(cloning.policy.vector(), once.policy.vector())
    assert torch.count_nonzero(cloning.policy.network.weights[-1]) > 0


@pytest.mark.parametrize("discrete", [False, True])
def test_works_with_two_pairs(discrete: bool) -> None:
    expert = separable_expert(2) if discrete else linear_expert(2)
    cloning = cloning_of(expert, {"steps": 50, "validate_every": 20}, np.random.default_rng(0))
    assert len(cloning._training[1]) == len(cloning._validation[1]) == 1
    rows = rows_of(cloning)
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert np.isfinite(cloning.policy.output(expert.observations)).all()


def test_70_percent_train_and_the_others_validate() -> None:
    expert = linear_expert(100)
    settings = {"steps": 1, "validate_every": 1}
    cloning = cloning_of(expert, settings, np.random.default_rng(0))
    assert (len(cloning._training[1]), len(cloning._validation[1])) == (70, 30)
    split = np.concatenate((cloning._training[1].numpy(), cloning._validation[1].numpy()))
    # Every pair once, in an order that the generator draws.
    assert_array_equal(np.sort(split, axis=0), np.sort(expert.actions, axis=0))
    assert not np.array_equal(split, expert.actions)
    other = cloning_of(expert, settings, np.random.default_rng(1))
    assert not torch.equal(cloning._validation[1], other._validation[1])


def test_rows_of_observations_and_actions_stay_together() -> None:
    expert = linear_expert(100, noise=0.0)
    cloning = cloning_of(expert, {"steps": 1, "validate_every": 1}, np.random.default_rng(0))
    for observations, actions in (cloning._training, cloning._validation):
        raw = cloning.policy.standardizer.invert(observations.numpy())
        assert_allclose(actions.numpy(), _mean_action(raw), atol=1e-4)


def test_standardizer_is_the_experts() -> None:
    expert = linear_expert(100)
    cloning = cloning_of(expert, {"steps": 5, "validate_every": 5}, np.random.default_rng(0))
    rows_of(cloning)
    standardizer = cloning.policy.standardizer
    assert standardizer.count == 100
    assert_allclose(standardizer.mean, expert.observations.mean(0, dtype=np.float64))
    assert_allclose(standardizer.std, expert.observations.std(0, dtype=np.float64))


def test_validates_after_the_first_step_every_so_many_steps_and_at_the_end() -> None:
    settings = {"steps": 25, "validate_every": 10}
    cloning = cloning_of(linear_expert(20), settings, np.random.default_rng(0))
    assert [row["iteration"] for row in rows_of(cloning)] == [1, 10, 20, 25]


def test_the_same_generator_gives_the_same_bytes() -> None:
    vectors = []
    for seed in (0, 0, 1):
        settings = {"steps": 60, "validate_every": 20}
        cloning = cloning_of(linear_expert(50), settings, np.random.default_rng(seed))
        rows_of(cloning)
        vectors.append(cloning.policy.vector().numpy().tobytes())
    assert vectors[0] == vectors[1]
    assert vectors[0] != vectors[2]
