"""Batches of whole episodes, their bookkeeping across batches, threads, and evaluation."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import fields, replace

import gymnasium
import numpy as np
import pytest
import torch
from scipy import stats

from gailbench.policy import Policy
from gailbench.sampling import Batch, Sampler, SamplerPool, evaluate
from gailbench.simulation import make
from gailbench.streams import pack, stream, unpack
from gailbench.tasks import TASKS

CARTPOLE, REACHER, MOUNTAINCAR = TASKS["cartpole"], TASKS["reacher"], TASKS["mountaincar"]


class Counting(gymnasium.Env):
    """Observes (label of the episode, number of the environment's episode, steps taken).

    Episodes terminate after 2 to 11 steps; each step's reward is 100 x episode + step taken before, an integer.
    """

    observation_space = gymnasium.spaces.Box(0, 2**20, (3,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)
    episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.label = int(self.np_random.integers(2**20))
        self.length = int(self.np_random.integers(2, 12))
        self.count = 0
        return self._observe(), {}

    def step(self, action):
        reward = 100.0 * self.episode + self.count
        self.count += 1
        return self._observe(), reward, self.count >= self.length, False, {}

    def _observe(self):
        return np.array([self.label, self.episode, self.count], dtype=np.float64)


class Paid(gymnasium.Env):
    """The reward is the action."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action):
        return np.zeros(1), float(np.sum(action)), False, False, {}


class PaidDiscrete(Paid):
    action_space = gymnasium.spaces.Discrete(3)


@pytest.fixture(autouse=True)
def registered():
    kinds = {f"Gailbench{kind.__name__}-v0": kind for kind in (Counting, Paid, PaidDiscrete)}
    for name, kind in kinds.items():
        gymnasium.register(name, entry_point=kind, disable_env_checker=True)
    yield
    for name in kinds:
        del gymnasium.registry[name]


# Some episodes terminate, some reach the limit, some do both at once.
COUNTING = replace(CARTPOLE, name="counting", environment="GailbenchCounting-v0", horizon=8)
PAID = replace(REACHER, name="paid", environment="GailbenchPaid-v0", horizon=20)
PAID_DISCRETE = replace(CARTPOLE, name="paid", environment="GailbenchPaidDiscrete-v0", horizon=20)


@torch.no_grad()
def make_policy(observation_dim, action_dim, discrete, seed=0, scale=1.0):
    """A policy with all parameters random, the output layer and the deviations too."""
    rng = np.random.default_rng(seed)
    policy = Policy(observation_dim, action_dim, discrete, hidden=(16,), generator=rng)
    for parameter in policy.parameters():
        noise = rng.standard_normal(tuple(parameter.shape), dtype=np.float32)
        parameter.add_(torch.from_numpy(scale * 0.3 * noise))
    return policy


def initial_policy(observation_dim, action_dim):
    return Policy(observation_dim, action_dim, True, generator=np.random.default_rng(0))


@torch.no_grad()
def balancing_policy(strength):
    """Pushes cart-pole under the falling pole: the stronger, the longer the episodes."""
    policy = Policy(4, 2, True, hidden=())
    policy.network.weights[0][:, 1] = strength * torch.tensor([0.05, 0.2, 1.0, 0.5])
    return policy


def generators(seed, count):
    return [stream(seed, "sampling", index) for index in range(count)]


def assert_equal_batches(a, b):
    for field in fields(Batch):
        left, right = getattr(a, field.name), getattr(b, field.name)
        assert left.dtype == right.dtype, field.name
        assert left.shape == right.shape, field.name
        assert left.tobytes() == right.tobytes(), field.name


class TestBatch:
    @pytest.mark.parametrize(
        ("task", "discrete", "actions"), [(CARTPOLE, True, 2), (REACHER, False, 2), (MOUNTAINCAR, True, 3)]
    )
    def test_shapes_and_types(self, task, discrete, actions):
        sampler = Sampler(task, 4, np.random.default_rng(0))
        observations = sampler.simulator.observation_dim
        batch = sampler.sample(make_policy(observations, actions, discrete), 55)
        ends = int(batch.done.sum())
        expected = {
            "observations": ((55, 4, observations), np.float32),
            "actions": ((55, 4), np.int64) if discrete else ((55, 4, actions), np.float32),
            "outputs": ((55, 4, actions), np.float32),
            "log_probabilities": ((55, 4), np.float32),
            "rewards": ((55, 4), np.float64),
            "terminated": ((55, 4), np.bool_),
            "truncated": ((55, 4), np.bool_),
            "times": ((55, 4), np.int64),
            "end_observations": ((ends, observations), np.float32),
            "open_observations": ((4, observations), np.float32),
            "open_times": ((4,), np.int64),
            "returns": ((ends,), np.float64),
            "lengths": ((ends,), np.int64),
        }
        assert {
            field.name: (getattr(batch, field.name).shape, getattr(batch, field.name).dtype) for field in fields(Batch)
        } == expected
        assert (ends > 0) == (task is not MOUNTAINCAR)
        assert len(batch) == 220
        assert batch.rows(batch.observations).shape == (220, observations)
        assert batch.rows(batch.times)[4] == batch.times[1, 0]
        assert batch.next_observations.shape == batch.observations.shape

    def test_next_observations_belong_to_the_same_episode(self):
        """What an action led to carries its episode's label and one step more; at an end, the last observation."""
        sampler = Sampler(COUNTING, 7, np.random.default_rng(0))
        policy = initial_policy(3, 2)
        terminated = truncated = both = 0
        for _ in range(4):
            batch = sampler.sample(policy, 13)
            assert np.array_equal(batch.observations[..., 2], batch.times)
            assert np.array_equal(batch.next_observations - batch.observations, np.tile([0.0, 0, 1], (13, 7, 1)))
            # The next row is the next episode's first where one ended, and what the action led to elsewhere.
            following = np.concatenate((batch.observations[1:], batch.open_observations[None]))
            assert np.array_equal(following[~batch.done], batch.next_observations[~batch.done])
            assert (following[batch.done][:, 2] == 0).all()
            assert np.array_equal(following[batch.done][:, 1], batch.next_observations[batch.done][:, 1] + 1)
            terminated += (batch.terminated & ~batch.truncated).sum()
            truncated += (batch.truncated & ~batch.terminated).sum()
            both += (batch.terminated & batch.truncated).sum()
            assert np.array_equal(batch.truncated, batch.times == 7)
        assert min(terminated, truncated, both) > 0

    def test_next_observations_follow_cart_poles_dynamics(self):
        sampler = Sampler(CARTPOLE, 5, np.random.default_rng(0))
        batch = sampler.sample(initial_policy(4, 2), 100)
        assert batch.done.sum() > 5
        simulator = make("CartPole-v1", 200, 500, np.random.default_rng(0))
        states = batch.rows(batch.observations).T.astype(np.float64)
        simulator.load_state({**simulator.state(), "physics": states})
        step = simulator.step(batch.rows(batch.actions))
        np.testing.assert_allclose(batch.rows(batch.next_observations), step.observations, atol=1e-6)
        assert np.array_equal(batch.rows(batch.terminated), step.terminated)

    def test_next_observations_stand_without_any_end(self):
        batch = Sampler(COUNTING, 2, np.random.default_rng(0)).sample(initial_policy(3, 2), 1)
        assert (len(batch.end_observations), len(batch.returns), len(batch.lengths)) == (0, 0, 0)
        assert np.array_equal(batch.next_observations[0], batch.open_observations)

    def test_gaussian_log_probabilities_equal_the_formula(self):
        policy = make_policy(10, 2, False)
        batch = Sampler(REACHER, 6, np.random.default_rng(0)).sample(policy, 60)
        mean, action = batch.outputs.astype(np.float64), batch.actions.astype(np.float64)
        std = np.exp(policy.log_std.detach().numpy().astype(np.float64))
        assert abs(std - 1).min() > 0.01
        density = np.exp(-0.5 * ((action - mean) / std) ** 2) / (np.sqrt(2 * np.pi) * std)
        np.testing.assert_allclose(batch.log_probabilities, np.log(density.prod(-1)), rtol=1e-5, atol=1e-5)

    def test_softmax_log_probabilities_equal_the_formula(self):
        policy = make_policy(6, 3, True)
        batch = Sampler(TASKS["acrobot"], 6, np.random.default_rng(0)).sample(policy, 60)
        weights = np.exp(batch.outputs.astype(np.float64))
        probabilities = weights / weights.sum(-1, keepdims=True)
        taken = np.empty((60, 6))
        for t, n in itertools.product(range(60), range(6)):
            taken[t, n] = probabilities[t, n, batch.actions[t, n]]
        assert np.ptp(taken) > 0.3
        np.testing.assert_allclose(batch.log_probabilities, np.log(taken), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(("task", "discrete", "actions"), [(CARTPOLE, True, 2), (REACHER, False, 2)])
    def test_outputs_are_the_policys_at_the_observations(self, task, discrete, actions):
        sampler = Sampler(task, 5, np.random.default_rng(0))
        policy = make_policy(sampler.simulator.observation_dim, actions, discrete)
        policy.standardizer.update(np.random.default_rng(1).standard_normal((50, policy.observation_dim)) * 3)
        batch = sampler.sample(policy, 60)
        outputs = policy.output(batch.rows(batch.observations))
        np.testing.assert_allclose(batch.rows(batch.outputs), outputs, rtol=1e-4, atol=1e-5)

    def test_gaussian_actions_are_normal_around_the_outputs(self):
        policy = make_policy(10, 2, False)
        batch = Sampler(REACHER, 20, np.random.default_rng(0)).sample(policy, 200)
        z = (batch.actions - batch.outputs) / np.exp(policy.log_std.detach().numpy())
        assert stats.kstest(z.reshape(-1), "norm").pvalue > 1e-4
        assert abs(np.corrcoef(z.reshape(-1, 2).T)[0, 1]) < 4.5 / np.sqrt(4_000)
        assert abs(np.corrcoef(z[:-1].reshape(-1), z[1:].reshape(-1))[0, 1]) < 4.5 / np.sqrt(8_000)

    def test_softmax_actions_are_drawn_with_their_probabilities(self):
        policy = make_policy(6, 3, True)
        batch = Sampler(TASKS["acrobot"], 20, np.random.default_rng(0)).sample(policy, 200)
        p = torch.softmax(torch.from_numpy(batch.outputs).double(), -1).numpy()
        taken = batch.actions[..., None] == np.arange(3)
        z = (taken - p).sum((0, 1)) / np.sqrt((p * (1 - p)).sum((0, 1)))
        assert abs(z).max() < 4.5

    @pytest.mark.parametrize(("task", "discrete"), [(CARTPOLE, True), (REACHER, False)])
    def test_deterministic_sampling_takes_the_modes(self, task, discrete):
        policy = balancing_policy(4) if discrete else make_policy(10, 2, discrete)
        batch = Sampler(task, 5, np.random.default_rng(0)).sample(policy, 60, deterministic=True)
        assert np.array_equal(batch.actions, batch.outputs.argmax(-1) if discrete else batch.outputs)
        assert np.ptp(batch.actions) > 0

    def test_actions_are_not_clipped(self):
        """The reward is the action, whose bound is 1."""
        policy = Policy(1, 1, False, hidden=())
        policy.network.biases[0].data[:] = 50.0
        batch = Sampler(PAID, 3, np.random.default_rng(0)).sample(policy, 20)
        assert batch.actions.min() > 40
        assert np.array_equal(batch.rewards, batch.actions[..., 0].astype(np.float64))


class TestEpisodesAcrossBatches:
    @pytest.mark.parametrize("steps", [1, 3, 8, 29])
    @pytest.mark.parametrize("threads", [1, 2])
    def test_returns_and_lengths_equal_a_slow_count(self, steps, threads):
        """Episodes cross the borders of batches; integers, so that the sums are exact."""
        pool = SamplerPool(COUNTING, 8 * 6, generators(0, threads))
        pool.steps = steps
        open_return, open_length = np.zeros(6), np.zeros(6, dtype=int)
        policy = initial_policy(3, 2)
        total = 0
        for _ in range(12):
            batch = pool.sample(policy)
            returns, lengths = [], []
            for n in range(6):
                for t in range(steps):
                    open_return[n] += batch.rewards[t, n]
                    open_length[n] += 1
                    if batch.terminated[t, n] or batch.truncated[t, n]:
                        returns.append(open_return[n])
                        lengths.append(open_length[n])
                        open_return[n] = open_length[n] = 0
            assert batch.returns.tolist() == returns
            assert batch.lengths.tolist() == lengths
            assert batch.open_times.tolist() == open_length.tolist()
            total += len(returns)
        assert total > 6

    def test_every_episode_is_sampled_from_its_first_step_to_its_last(self):
        """Over any number of batches the times are those of the ended episodes and of the open ones' beginnings."""
        pool = SamplerPool(COUNTING, 8 * 9, generators(0, 1))
        policy = initial_policy(3, 2)
        times, ended = Counter(), Counter()
        for _ in range(4):
            batch = pool.sample(policy)
            times.update(batch.times.reshape(-1).tolist())
            for length in batch.lengths:
                ended.update(range(length))
            begun = Counter(t for open_time in batch.open_times for t in range(open_time))
            assert times == ended + begun

    def test_restored_sampler_continues_bit_for_bit(self):
        policy = make_policy(10, 2, False)
        pool = SamplerPool(REACHER, 300, generators(0, 2))
        for sampler in pool.samplers:
            sampler.sample(policy, 30)  # so that open episodes have returns
        state = pool.state()
        drawn = [pack(sampler.generator) for sampler in pool.samplers]
        undisturbed = [pool.sample(policy) for _ in range(2)]

        fresh = SamplerPool(REACHER, 300, generators(5, 2))
        fresh.load_state(state)
        for sampler, generator in zip(fresh.samplers, drawn, strict=True):
            unpack(sampler.generator, generator)
        for batch in undisturbed:
            assert_equal_batches(batch, fresh.sample(policy))


def whole_episode_lengths(policy, episodes, seed):
    return evaluate(CARTPOLE, policy, episodes, np.random.default_rng(seed), deterministic=False)[1]


def time_z_scores(times, lengths):
    """By how many standard errors the shares of early to late pairs in batches differ from whole episodes'.

    times: (T, N) of independent environments. lengths: (K,) of whole episodes. Pairs of an environment or episode
    depend on each other, so the errors are those of means over environments and of ratios over episodes.
    """
    pairs = np.concatenate([np.arange(length) for length in lengths])
    edges = np.unique(np.quantile(pairs, np.arange(1, 8) / 8)).astype(int)
    edges = np.concatenate(([0], edges, [200]))
    counts = np.diff(np.minimum(lengths[:, None], edges), axis=1)  # (K, bins): of each episode
    shares = counts.sum(0) / lengths.sum()
    error = (counts - shares * lengths[:, None]).std(0) / lengths.mean() / np.sqrt(len(lengths))
    sampled = np.stack([np.histogram(column, edges)[0] / len(times) for column in times.T])  # (N, bins)
    sampled_error = sampled.std(0, ddof=1) / np.sqrt(len(sampled))
    return (sampled.mean(0) - shares) / np.hypot(error, sampled_error)


class TestWholeEpisodes:
    """Fixed-shape batches keep the occupancy of whole-episode sampling."""

    @pytest.mark.parametrize(("environments", "skip"), [(25, 0), (100, 1)])
    @pytest.mark.parametrize("strength", [0.0, 4.0])
    def test_times_in_batches_are_distributed_as_in_whole_episodes(self, strength, environments, skip):
        """Four consecutive batches of the paper's size; then larger ones, which would show smaller differences.

        A run's first batch lacks the ends of the episodes that are open at its cut; the next ones have them. Four
        times the data show that, so the larger comparison begins with the second batch.
        """
        policy = balancing_policy(strength)
        lengths = whole_episode_lengths(policy, 2_000, 1)
        # Strength 0 is the initial policy (coin flips); with 4 episodes last long, and some to the time limit.
        assert (lengths.mean() < 25) == (strength == 0)
        assert (lengths == 200).any() == (strength > 0)
        pool = SamplerPool(CARTPOLE, environments * 200, [np.random.default_rng(0)])
        batches = [pool.sample(policy).times for _ in range(4)]
        assert abs(time_z_scores(np.concatenate(batches[skip:]), lengths)).max() < 4.5

    @pytest.mark.parametrize("strength", [0.0, 4.0])
    def test_the_comparison_notices_slices_of_synchronized_episodes(self, strength):
        """As many pairs as the four batches of the paper's size, 20 steps at a time."""
        policy = balancing_policy(strength)
        lengths = whole_episode_lengths(policy, 2_000, 1)
        sampler = Sampler(CARTPOLE, 1_000, np.random.default_rng(0))
        for _ in range(2):
            assert abs(time_z_scores(sampler.sample(policy, 20).times, lengths)).max() > 9

    @pytest.mark.parametrize(
        ("task", "policy"), [(CARTPOLE, balancing_policy(100)), (MOUNTAINCAR, initial_policy(2, 3))]
    )
    def test_every_batch_of_full_length_episodes_holds_each_time_equally_often(self, task, policy):
        pool = SamplerPool(task, 1_200, generators(0, 2))
        for _ in range(3):
            batch = pool.sample(policy)
            assert np.bincount(batch.times.reshape(-1)).tolist() == [6] * 200
            assert batch.lengths.tolist() == [200] * 6

    @pytest.mark.parametrize(
        ("name", "shape"),
        [("cartpole", (200, 25)), ("acrobot", (200, 25)), ("reacher", (50, 1000)), ("hopper", (1000, 50))],
    )
    def test_batches_cover_whole_episodes(self, name, shape):
        """The paper's pairs per iteration, as a horizon of steps of each environment."""
        task = TASKS[name]
        pool = SamplerPool(task, task.batch, generators(0, 2))
        assert (pool.steps, sum(sampler.simulator.num_envs for sampler in pool.samplers)) == shape


class TestSamplerPool:
    def test_batches_are_rounded_up_to_whole_horizons(self):
        policy = initial_policy(3, 2)
        for pairs, environments in ((1, 1), (8, 1), (9, 2), (16, 2), (17, 3)):
            pool = SamplerPool(COUNTING, pairs, generators(0, 2))
            assert pool.sample(policy).times.shape == (8, environments)

    def test_environments_are_split_evenly_over_threads(self):
        def split(environments, threads):
            pool = SamplerPool(COUNTING, 8 * environments, generators(0, threads))
            return [sampler.simulator.num_envs for sampler in pool.samplers]

        assert split(6, 2) == [3, 3]
        assert split(7, 2) == [4, 3]
        assert split(11, 4) == [3, 3, 3, 2]
        assert split(2, 5) == [1, 1]

    def test_parts_are_joined_into_whole_batches(self):
        """Three threads' parts stand side by side, and the ends find their places by the episodes' labels."""
        policy = initial_policy(3, 2)
        pool = SamplerPool(COUNTING, 8 * 7, generators(0, 3))
        apart = [Sampler(COUNTING, count, g) for count, g in zip((3, 2, 2), generators(0, 3), strict=True)]
        for _ in range(3):
            batch = pool.sample(policy)
            parts = [sampler.sample(policy, 8) for sampler in apart]
            assert batch.times.shape == (8, 7)
            for name in ("observations", "next_observations", "actions", "outputs", "log_probabilities"):
                joined = np.concatenate([getattr(part, name) for part in parts], axis=1)
                assert np.array_equal(getattr(batch, name), joined), name
            for name in ("rewards", "terminated", "truncated", "times"):
                joined = np.concatenate([getattr(part, name) for part in parts], axis=1)
                assert np.array_equal(getattr(batch, name), joined), name
            for name in ("open_observations", "open_times", "returns", "lengths"):
                joined = np.concatenate([getattr(part, name) for part in parts])
                assert np.array_equal(getattr(batch, name), joined), name
            assert batch.done.any(axis=0).all()
            assert np.array_equal(batch.next_observations[..., :2], batch.observations[..., :2])
            ends = batch.end_observations
            assert np.array_equal(ends, batch.next_observations[batch.done])

    @pytest.mark.parametrize(("task", "discrete", "observations"), [(CARTPOLE, True, 4), (REACHER, False, 10)])
    def test_equal_seeds_give_equal_bytes(self, task, discrete, observations):
        policy = make_policy(observations, 2, discrete)
        pools = [SamplerPool(task, 5 * task.horizon, generators(3, 2)) for _ in range(2)]
        for _ in range(3):
            assert_equal_batches(*(pool.sample(policy) for pool in pools))

    def test_threads_and_seeds_sample_apart(self):
        policy = initial_policy(4, 2)
        first = SamplerPool(CARTPOLE, 4 * 200, generators(3, 2)).sample(policy)
        other = SamplerPool(CARTPOLE, 4 * 200, generators(4, 2)).sample(policy)
        starts = np.concatenate((first.observations[0], other.observations[0]))
        assert len(np.unique(starts, axis=0)) == 8


class TestEvaluate:
    def test_each_episode_counts_once(self):
        """An environment's later episodes pay hundreds more per step: none of their rewards may be counted."""
        task = replace(COUNTING, horizon=12)
        returns, lengths = evaluate(task, initial_policy(3, 2), 400, np.random.default_rng(0))
        assert returns.shape == lengths.shape == (400,)
        assert returns.tolist() == [sum(100 + t for t in range(length)) for length in lengths]
        # Long episodes come as often as short ones: uniform lengths of 2 to 11 (degrees of freedom: 9).
        counts = np.bincount(lengths, minlength=12)[2:]
        assert counts.sum() == 400
        assert stats.chisquare(counts).pvalue > 1e-4

    def test_episodes_are_cut_at_the_horizon(self):
        returns, lengths = evaluate(COUNTING, initial_policy(3, 2), 200, np.random.default_rng(0))
        assert lengths.max() == 8
        assert (lengths == 8).sum() > 40  # lengths of 8 to 11 were drawn, 4 of 10
        assert returns[lengths == 8].tolist() == [828.0] * (lengths == 8).sum()
        returns, lengths = evaluate(MOUNTAINCAR, initial_policy(2, 3), 3, np.random.default_rng(0))
        assert (returns.tolist(), lengths.tolist()) == ([-200.0] * 3, [200] * 3)

    def test_deterministic_gaussian_policies_take_their_means(self):
        policy = Policy(1, 1, False, hidden=())
        policy.network.biases[0].data[:] = 0.25
        returns, _ = evaluate(PAID, policy, 200, np.random.default_rng(0))
        assert returns.tolist() == [20 * 0.25] * 200
        sampled, _ = evaluate(PAID, policy, 200, np.random.default_rng(0), deterministic=False)
        error = np.sqrt(20 / 200)  # of the mean of 200 sums of 20 standard normals
        assert abs(sampled.mean() - 5) < 4.5 * error
        assert stats.kstest((sampled - 5) / np.sqrt(20), "norm").pvalue > 1e-4

    def test_deterministic_softmax_policies_take_the_most_probable_action(self):
        policy = Policy(1, 3, True, hidden=())
        policy.network.biases[0].data[:] = torch.log(torch.tensor([0.3, 0.2, 0.5]))
        returns, _ = evaluate(PAID_DISCRETE, policy, 200, np.random.default_rng(0))
        assert returns.tolist() == [40.0] * 200
        sampled, _ = evaluate(PAID_DISCRETE, policy, 200, np.random.default_rng(0), deterministic=False)
        mean, variance = 0.2 + 2 * 0.5, 0.2 + 4 * 0.5 - 1.2**2  # of one action
        assert abs(sampled.mean() - 20 * mean) < 4.5 * np.sqrt(20 * variance / 200)

    def test_equal_generators_give_equal_returns(self):
        policy = make_policy(4, 2, True)
        a, b, other = (evaluate(CARTPOLE, policy, 20, np.random.default_rng(seed))[0] for seed in (0, 0, 1))
        assert np.array_equal(a, b)
        assert not np.array_equal(a, other)
