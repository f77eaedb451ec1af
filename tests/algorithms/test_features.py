"""Linear features and the shift that FEM and GTAL share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from gailbench.algorithms.features import LinearFeatures, RunningShift
from gailbench.demonstrations import Pairs
from gailbench.sampling import Batch

MakeBatch = Callable[..., Batch]

# Observations of mean 2 and deviation 1; actions of mean 10 and deviation 5.
CONTINUOUS = Pairs(np.array([[1.0], [3.0]], np.float32), np.array([[5.0], [15.0]], np.float32), 1, False)
DISCRETE = Pairs(np.array([[1.0], [3.0]], np.float32), np.array([0, 2]), 3, True)


def test_continuous_features_by_hand() -> None:
    features = LinearFeatures(CONTINUOUS)
    phi = features(np.array([[5.0]], np.float32), np.array([[0.0]], np.float32))
    # x = (3, -2): (x, (0.01 x)^2, 1)
    assert_allclose(phi, [[3, -2, 9e-4, 4e-4, 1]], rtol=1e-5)


def test_discrete_features_by_hand() -> None:
    features = LinearFeatures(DISCRETE)
    phi = features(np.array([[5.0], [0.0]], np.float32), np.array([1, 2]))
    # x = 3 in the block of action 1, x = -2 in that of action 2, and one constant.
    assert_allclose(phi, [[0, 0, 3, 9e-4, 0, 0, 1], [0, 0, 0, 0, -2, 4e-4, 1]], rtol=1e-5)


def test_number_of_features() -> None:
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(20, 4)).astype(np.float32)
    continuous = Pairs(observations, generator.normal(size=(20, 3)).astype(np.float32), 3, False)
    assert LinearFeatures(continuous).dim == 2 * (4 + 3) + 1
    assert LinearFeatures(Pairs(observations, generator.integers(5, size=20), 5, True)).dim == 2 * 4 * 5 + 1


def test_experts_mean_features_by_hand() -> None:
    # Standardized, the expert's inputs are -1 and 1.
    assert_allclose(LinearFeatures(CONTINUOUS).expert_mean, [0, 0, 1e-4, 1e-4, 1], rtol=1e-4, atol=1e-9)
    assert_allclose(LinearFeatures(DISCRETE).expert_mean, [-0.5, 5e-5, 0, 0, 0.5, 5e-5, 1], rtol=1e-4, atol=1e-9)


def test_statistics_stay_the_experts(make_batch: MakeBatch) -> None:
    features = LinearFeatures(CONTINUOUS)
    batch = make_batch([[[100.0]], [[5.0]]], [[[7.0]], [[0.0]]])
    first, mean = features.of_batch(batch), features.expert_mean.copy()
    assert_allclose(first[0, :2], [98, -0.6], rtol=1e-5)
    for _ in range(3):
        assert_array_equal(features.of_batch(batch), first)
    assert_array_equal(features.expert_mean, mean)


def test_an_input_that_the_expert_never_changed_is_not_clipped() -> None:
    # What makes ant's FEM and GTAL rows: an input that is 0 in the expert's data and is not in a beginner's.
    expert = Pairs(np.array([[0.0], [0.0]], np.float32), np.array([[1.0], [-1.0]], np.float32), 1, False)
    phi = LinearFeatures(expert)(np.array([[0.5]], np.float32), np.array([[0.0]], np.float32))
    assert_allclose(phi, [[5e5, 0, 2.5e7, 0, 1]], rtol=1e-5)


def test_positive_shift_subtracts_the_least_reward_so_far_if_below_0() -> None:
    shift = RunningShift("positive")
    assert_array_equal(shift(np.array([1.0, 2.0])), [1, 2])  # the extreme starts at 0
    assert_array_equal(shift(np.array([-3.0, 2.0])), [0, 5])
    assert_array_equal(shift(np.array([-1.0, 0.0])), [2, 3])  # and never comes back


def test_negative_shift_subtracts_the_greatest_reward_so_far_if_above_0() -> None:
    shift = RunningShift("negative")
    assert_array_equal(shift(np.array([-1.0, -2.0])), [-1, -2])
    assert_array_equal(shift(np.array([3.0, -2.0])), [0, -5])
    assert_array_equal(shift(np.array([1.0, 0.0])), [-2, -3])


def test_without_the_shift_rewards_stay_as_they_are() -> None:
    shift = RunningShift("positive", shifted=False)
    assert_array_equal(shift(np.array([-3.0, 2.0])), [-3, 2])
    assert_array_equal(shift(np.array([-1.0, 0.0])), [-1, 0])
    assert shift.extreme == 0


def test_shifted_rewards_never_cross_0() -> None:
    generator = np.random.default_rng(0)
    positive, negative = RunningShift("positive"), RunningShift("negative")
    for scale in (0.1, 5.0, 1.0):
        rewards = generator.normal(0.0, scale, 100)
        up, down = positive(rewards), negative(rewards)
        assert up.min() >= 0
        assert down.max() <= 0
        # Only a constant moves.
        assert_allclose(up - up[0], rewards - rewards[0], atol=1e-12)
        assert_allclose(down - down[0], rewards - rewards[0], atol=1e-12)
