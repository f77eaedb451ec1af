"""GAIL: the discriminator's loss, its optimum, its rewards and its state."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import jensenshannon

from gailbench.algorithms.gail import Gail, GailSettings
from gailbench.demonstrations import Pairs
from gailbench.networks import assign, flatten
from gailbench.sampling import Batch

pytestmark = pytest.mark.usefixtures("one_thread")

MakeBatch = Callable[..., Batch]
RandomProblem = Callable[..., tuple[Pairs, Batch]]
KINDS = pytest.mark.parametrize("discrete", [False, True], ids=["gaussian", "softmax"])
SIGNS = pytest.mark.parametrize("sign", ["positive", "negative"])

# Occupancy measures over two states (rows) and two actions (columns).
EXPERT = np.array([[0.4, 0.1], [0.2, 0.3]])
POLICY = np.array([[0.1, 0.4], [0.3, 0.2]])
MIXTURE = (EXPERT + POLICY) / 2
JENSEN_SHANNON = 0.5 * float(np.sum(EXPERT * np.log(EXPERT / MIXTURE)) + np.sum(POLICY * np.log(POLICY / MIXTURE)))


def pairs_of(counts: np.ndarray, discrete: bool) -> tuple[np.ndarray, np.ndarray]:
    """Observations, one-hot, and actions of `counts[state, action]` pairs; continuous actions are -1 and 1."""
    state, action = (index.reshape(-1).repeat(counts.reshape(-1)) for index in np.indices((2, 2)))
    observations = np.eye(2, dtype=np.float32)[state]
    return observations, action.astype(np.int64) if discrete else (2 * action - 1).astype(np.float32)[:, None]


def expert_of(discrete: bool, scale: int = 10) -> Pairs:
    counts = np.rint(EXPERT * scale).astype(int)
    return Pairs(*pairs_of(counts, discrete), num_actions=2 if discrete else 1, discrete=discrete)


def batch_of(make_batch: MakeBatch, discrete: bool, size: int) -> Batch:
    observations, actions = pairs_of(np.rint(POLICY * size).astype(int), discrete)
    shape = (size // 10, 10)
    return make_batch(observations.reshape(*shape, 2), actions.reshape(*shape, *actions.shape[1:]))


def randomized(gail: Gail, seed: int = 5) -> Gail:
    """Give the discriminator's network parameters away from 0."""
    size = flatten(gail.network.parameters()).numel()
    values = np.random.default_rng(seed).normal(0.0, 0.4, size)
    assign(gail.network.parameters(), torch.from_numpy(values.astype(np.float32)))
    return gail


def inputs_of(observations: np.ndarray, actions: np.ndarray, discrete: bool) -> np.ndarray:
    return observations if discrete else np.concatenate((observations, actions), axis=1)


def slow_logits(gail: Gail, rows: np.ndarray, actions: np.ndarray, seen: np.ndarray, discrete: bool) -> torch.Tensor:
    """Logits with rows standardized by the statistics of `seen`, in float64."""
    x = (rows - seen.mean(0, dtype=np.float64)) / (seen.std(0, dtype=np.float64) + 1e-6)
    logits = copy.deepcopy(gail.network).double()(torch.from_numpy(x))
    return logits[torch.arange(len(rows)), torch.from_numpy(actions)] if discrete else logits[:, 0]


# ---- The optimum


@KINDS
def test_optimal_loss_is_2_log_2_minus_twice_the_jensen_shannon_divergence(
    discrete: bool, make_batch: MakeBatch
) -> None:
    expert, batch = expert_of(discrete), batch_of(make_batch, discrete, 20_000)
    settings = GailSettings(discriminator_entropy=0.0, hidden=(32,))
    gail = Gail(expert, "positive", np.random.default_rng(0), settings)
    rows = [gail.fit(batch) for _ in range(300)]
    # The expert's pairs are redrawn in every fit: its standard error of about 0.005 shrinks in a mean over fits.
    late = rows[-100:]
    loss = np.mean([row["discriminator_loss"] for row in late])
    estimate = np.mean([row["jensen_shannon"] for row in late])
    assert JENSEN_SHANNON == pytest.approx(jensenshannon(EXPERT.reshape(-1), POLICY.reshape(-1)) ** 2)
    assert loss == pytest.approx(2 * np.log(2) - 2 * JENSEN_SHANNON, abs=0.006)
    assert estimate == pytest.approx(JENSEN_SHANNON, abs=0.003)

    # There the logit is the log ratio of the occupancies, high for the expert.
    every = make_batch(*(values[:, None] for values in pairs_of(np.ones((2, 2), int), discrete)))
    logits = np.log(np.expm1(gail.reward(every)[:, 0]))
    assert_allclose(logits, np.log(EXPERT / POLICY).reshape(-1), atol=0.15)
    # The loss without the noise of redrawing, from the rewards of the four pairs alone.
    exact = POLICY.reshape(-1) @ np.logaddexp(0, logits) + EXPERT.reshape(-1) @ np.logaddexp(0, -logits)
    assert exact == pytest.approx(2 * np.log(2) - 2 * JENSEN_SHANNON, abs=0.003)


@KINDS
def test_untrained_discriminator_sees_no_divergence(discrete: bool, random_problem: RandomProblem) -> None:
    expert, batch = random_problem(discrete)
    row = Gail(expert, "positive", np.random.default_rng(0)).fit(batch)
    assert row["discriminator_loss"] == pytest.approx(2 * np.log(2))
    assert row["jensen_shannon"] == pytest.approx(0.0, abs=1e-6)


@KINDS
@SIGNS
def test_training_makes_the_experts_rewards_higher(
    discrete: bool, sign: str, make_batch: MakeBatch, random_problem: RandomProblem
) -> None:
    expert, batch = random_problem(discrete)
    gail = Gail(expert, sign, np.random.default_rng(0), GailSettings(hidden=(32,)))
    rows = [gail.fit(batch) for _ in range(200)]
    of_expert = gail.reward(make_batch(expert.observations[:, None], expert.actions[:, None]))
    assert of_expert.mean() > gail.reward(batch).mean() + 0.2
    assert rows[-1]["discriminator_loss"] < rows[0]["discriminator_loss"] - 0.1
    assert rows[-1]["expert_accuracy"] > 0.7
    assert rows[-1]["policy_accuracy"] > 0.7


# ---- One fit


@KINDS
def test_loss_equals_a_slow_computation_on_a_resampled_expert_batch(
    discrete: bool, random_problem: RandomProblem
) -> None:
    expert, batch = random_problem(discrete)
    generator = np.random.default_rng(3)
    gail = randomized(Gail(expert, "positive", generator, GailSettings(hidden=(8,))))
    counts = copy.deepcopy(generator).multinomial(len(batch), np.full(30, 1 / 30))
    before = copy.deepcopy(gail)
    row = gail.fit(batch)

    # As many pairs of the expert as of the policy, one row each.
    observations = np.repeat(expert.observations, counts, axis=0)
    expert_actions = np.repeat(expert.actions, counts, axis=0)
    assert len(observations) == len(batch) == 200
    actions = batch.rows(batch.actions)
    own = inputs_of(expert.observations, expert.actions, discrete)
    policy_rows = inputs_of(batch.rows(batch.observations), actions, discrete)
    expert_rows = inputs_of(observations, expert_actions, discrete)
    seen = np.concatenate((own, policy_rows, expert_rows))
    policy_logits = slow_logits(before, policy_rows, actions, seen, discrete).detach().numpy()
    expert_logits = slow_logits(before, expert_rows, expert_actions, seen, discrete).detach().numpy()

    d_policy, d_expert = 1 / (1 + np.exp(-policy_logits)), 1 / (1 + np.exp(-expert_logits))
    loss = np.mean(-np.log(1 - d_policy)) + np.mean(-np.log(d_expert))
    assert row["discriminator_loss"] == pytest.approx(loss, rel=1e-5)
    assert row["jensen_shannon"] == pytest.approx(np.log(2) - loss / 2, rel=1e-4)
    assert row["expert_accuracy"] == pytest.approx(np.mean(d_expert > 0.5))
    assert row["policy_accuracy"] == pytest.approx(np.mean(d_policy < 0.5))


@KINDS
@pytest.mark.parametrize("weight", [0.001, 20.0])
def test_fit_is_an_adam_step_on_the_loss_minus_the_weighted_entropy(
    discrete: bool, weight: float, random_problem: RandomProblem
) -> None:
    expert, batch = random_problem(discrete)
    generator = np.random.default_rng(3)
    settings = GailSettings(discriminator_entropy=weight, hidden=(8,))
    gail = randomized(Gail(expert, "positive", generator, settings))
    counts = copy.deepcopy(generator).multinomial(len(batch), np.full(30, 1 / 30))
    before = copy.deepcopy(gail)
    gail.fit(batch)

    actions = batch.rows(batch.actions)
    own = inputs_of(expert.observations, expert.actions, discrete)
    policy_rows = inputs_of(batch.rows(batch.observations), actions, discrete)
    seen = np.concatenate((own, policy_rows, np.repeat(own, counts, axis=0)))
    network = copy.deepcopy(before.network).double()
    before.network = network
    logits = []
    for rows, chosen in (
        (policy_rows, actions),
        (np.repeat(own, counts, axis=0), np.repeat(expert.actions, counts, axis=0)),
    ):
        x = (rows - seen.mean(0, dtype=np.float64)) / (seen.std(0, dtype=np.float64) + 1e-6)
        output = network(torch.from_numpy(x))
        logits.append(output[torch.arange(200), torch.from_numpy(chosen)] if discrete else output[:, 0])
    bernoulli = torch.distributions.Bernoulli(logits=torch.cat(logits))
    labels = torch.cat((torch.zeros(200), torch.ones(200))).double()
    # Two classes of one size: the sum of the class means is twice the mean, in the loss and in the entropy.
    objective = -2 * bernoulli.log_prob(labels).mean() - weight * 2 * bernoulli.entropy().mean()
    gradient = flatten(torch.autograd.grad(objective, list(network.parameters()))).numpy()

    # The first step of Adam is the learning rate against the gradient's sign.
    change = (flatten(gail.network.parameters()) - flatten(network.parameters())).numpy()
    clear = np.abs(gradient) > 1e-4
    assert clear.mean() > 0.9
    assert_allclose(change[clear], -0.01 * np.sign(gradient[clear]), atol=1e-5)


def test_entropy_keeps_the_discriminator_undecided(random_problem: RandomProblem) -> None:
    expert, batch = random_problem(discrete=False)
    spread = []
    for weight in (0.0, 20.0):
        settings = GailSettings(discriminator_entropy=weight, hidden=(16,))
        gail = Gail(expert, "positive", np.random.default_rng(0), settings)
        for _ in range(80):
            row = gail.fit(batch)
        spread.append(row["jensen_shannon"])
    assert spread[1] < 0.5 * spread[0]


@KINDS
def test_standardizer_sees_batch_and_resampled_expert_pairs_half_and_half(
    discrete: bool, random_problem: RandomProblem
) -> None:
    expert, batch = random_problem(discrete)
    generator = np.random.default_rng(7)
    gail = Gail(expert, "positive", generator)
    own = inputs_of(expert.observations, expert.actions, discrete)
    policy_rows = inputs_of(batch.rows(batch.observations), batch.rows(batch.actions), discrete)
    seen = [own]  # it starts from the expert's pairs
    assert gail.standardizer.count == 30
    for _ in range(3):
        counts = copy.deepcopy(generator).multinomial(200, np.full(30, 1 / 30))
        gail.fit(batch)
        seen += [policy_rows, np.repeat(own, counts, axis=0)]
    rows = np.concatenate(seen).astype(np.float64)
    assert gail.standardizer.count == len(rows) == 30 + 3 * 400
    assert_allclose(gail.standardizer.mean, rows.mean(0), atol=1e-9)
    assert_allclose(gail.standardizer.std, rows.std(0), rtol=1e-9)


# ---- Rewards


@KINDS
@SIGNS
def test_rewards_by_their_definition(discrete: bool, sign: str, random_problem: RandomProblem) -> None:
    expert, batch = random_problem(discrete)
    gail = randomized(Gail(expert, sign, np.random.default_rng(0), GailSettings(hidden=(8,))))
    actions = batch.rows(batch.actions)
    own = inputs_of(expert.observations, expert.actions, discrete)
    rows = inputs_of(batch.rows(batch.observations), actions, discrete)
    logits = slow_logits(gail, rows, actions, own, discrete).detach().numpy()
    d = 1 / (1 + np.exp(-logits))
    rewards = gail.reward(batch)
    assert rewards.shape == (20, 10)
    assert rewards.dtype == np.float64
    assert logits.min() < -0.1 < 0.1 < logits.max()
    if sign == "positive":
        assert_allclose(rewards.reshape(-1), -np.log(1 - d), rtol=1e-4, atol=1e-5)
        assert (rewards >= 0).all()
    else:
        assert_allclose(rewards.reshape(-1), np.log(d), rtol=1e-4, atol=1e-5)
        assert (rewards <= 0).all()


@SIGNS
def test_extreme_logits_give_finite_rewards_of_the_right_sign(sign: str, random_problem: RandomProblem) -> None:
    expert, batch = random_problem(discrete=False)
    gail = Gail(expert, sign, np.random.default_rng(0), GailSettings(hidden=()))
    assign(gail.network.parameters(), torch.tensor([1e3, -1e3, 0.0, 1e3, 0.0, 0.0]))
    rewards = gail.reward(batch)
    assert np.isfinite(rewards).all()
    assert (rewards >= 0).all() if sign == "positive" else (rewards <= 0).all()
    assert np.abs(rewards).max() > 100


def test_softmax_policies_have_one_logit_per_action_selected_by_the_action_taken(make_batch: MakeBatch) -> None:
    generator = np.random.default_rng(0)
    expert = Pairs(generator.normal(size=(9, 2)).astype(np.float32), generator.integers(3, size=9), 3, discrete=True)
    gail = Gail(expert, "positive", generator, GailSettings(hidden=()))
    # Three outputs of two inputs: weights 0, biases -1, 0, 2.
    assign(gail.network.parameters(), torch.tensor([0.0] * 6 + [-1.0, 0.0, 2.0]))
    batch = make_batch(np.zeros((1, 4, 2)), [[2, 0, 1, 2]], num_actions=3)
    assert_allclose(gail.reward(batch), np.logaddexp(0, [[2.0, -1.0, 0.0, 2.0]]), rtol=1e-6)


def test_reward_changes_nothing(random_problem: RandomProblem) -> None:
    expert, batch = random_problem(discrete=False)
    gail = Gail(expert, "positive", np.random.default_rng(0))
    gail.fit(batch)
    state = {name: value.copy() for name, value in gail.state().items()}
    assert_array_equal(gail.reward(batch), gail.reward(batch))
    for name, value in gail.state().items():
        assert_array_equal(value, state[name])
