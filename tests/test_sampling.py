"""Batches of whole episodes, their bookkeeping, threads, and evaluation."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import fields, replace

import gymnasium
import numpy as np
import pytest
import torch
from scipy import stats
from simulators import make

from gailbench.plumbing.streams import pack, stream, unpack
from gailbench.policy import Policy
from gailbench.sampling import STEPWISE, Batch, Sampler, SamplerPool, concatenate, environments_for, evaluate
from gailbench.tasks import TASKS

CARTPOLE, REACHER, MOUNTAINCAR, HOPPER = (TASKS[name] for name in ("cartpole", "reacher", "mountaincar", "hopper"))


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
ACROBOT_60 = replace(TASKS["acrobot"], horizon=60)  # none reaches the goal that early
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
        batch = sampler.sample(make_policy(observations, actions, discrete), 620)
        ends, steps, pairs = int(batch.done.sum()), len(batch.valid), int(batch.valid.sum())
        expected = {
            "valid": ((steps, 4), np.bool_),
            "observations": ((steps, 4, observations), np.float32),
            "actions": ((steps, 4), np.int64) if discrete else ((steps, 4, actions), np.float32),
            "outputs": ((steps, 4, actions), np.float32),
            "log_probabilities": ((steps, 4), np.float32),
            "rewards": ((steps, 4), np.float64),
            "terminated": ((steps, 4), np.bool_),
            "truncated": ((steps, 4), np.bool_),
            "times": ((steps, 4), np.int64),
            "end_observations": ((ends, observations), np.float32),
            "returns": ((ends,), np.float64),
            "lengths": ((ends,), np.int64),
        }
        assert {
            field.name: (getattr(batch, field.name).shape, getattr(batch, field.name).dtype) for field in fields(Batch)
        } == expected
        assert ends >= 4
        assert len(batch) == pairs >= 620
        assert batch.rows(batch.observations).shape == (pairs, observations)
        assert batch.rows(batch.times)[4] == batch.times[1, 0]
        assert batch.next_observations.shape == batch.observations.shape

    def test_next_observations_belong_to_the_same_episode(self):
        """What an action led to carries its episode's label and one step more; at an end, the last observation."""
        sampler = Sampler(COUNTING, 7, np.random.default_rng(0))
        policy = initial_policy(3, 2)
        terminated = truncated = both = 0
        for _ in range(4):
            batch = sampler.sample(policy, 91)
            assert np.array_equal(batch.observations[batch.valid][:, 2], batch.times[batch.valid])
            steps = batch.rows(batch.next_observations) - batch.rows(batch.observations)
            assert np.array_equal(steps, np.tile([0.0, 0, 1], (len(batch), 1)))
            # The next row is the next episode's first where one ended, and what the action led to elsewhere.
            done, following = batch.done[:-1], batch.observations[1:]
            begun, led_to = done & batch.valid[1:], batch.next_observations[:-1]
            going_on = batch.valid[:-1] & ~done
            assert np.array_equal(following[going_on], led_to[going_on])
            assert batch.valid[1:][going_on].all()
            assert (following[begun][:, 2] == 0).all()
            assert np.array_equal(following[begun][:, 1], led_to[begun][:, 1] + 1)
            ends = batch.terminated[batch.done], batch.truncated[batch.done]
            terminated += (ends[0] & ~ends[1]).sum()
            truncated += (ends[1] & ~ends[0]).sum()
            both += (ends[0] & ends[1]).sum()
            assert np.array_equal(batch.truncated[batch.valid], batch.times[batch.valid] == 7)
        assert min(terminated, truncated, both) > 0

    def test_next_observations_follow_cart_poles_dynamics(self):
        sampler = Sampler(CARTPOLE, 5, np.random.default_rng(0))
        batch = sampler.sample(initial_policy(4, 2), 500)
        assert batch.done.sum() > 5
        simulator = make("CartPole-v1", 200, len(batch), np.random.default_rng(0))
        simulator.physics._state = batch.rows(batch.observations).T.astype(np.float64)
        step = simulator.step(batch.rows(batch.actions))
        np.testing.assert_allclose(batch.rows(batch.next_observations), step.observations, atol=1e-6)
        assert np.array_equal(batch.rows(batch.terminated), step.terminated)

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
        batch = Sampler(ACROBOT_60, 6, np.random.default_rng(0)).sample(policy, 360)
        assert batch.valid.shape == (60, 6)
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
        batch = Sampler(REACHER, 20, np.random.default_rng(0)).sample(policy, 4_000)
        assert batch.valid.shape == (200, 20)
        z = (batch.actions - batch.outputs) / np.exp(policy.log_std.detach().numpy())
        assert stats.kstest(z.reshape(-1), "norm").pvalue > 1e-4
        assert abs(np.corrcoef(z.reshape(-1, 2).T)[0, 1]) < 4.5 / np.sqrt(4_000)
        assert abs(np.corrcoef(z[:-1].reshape(-1), z[1:].reshape(-1))[0, 1]) < 4.5 / np.sqrt(8_000)

    def test_softmax_actions_are_drawn_with_their_probabilities(self):
        policy = make_policy(6, 3, True)
        batch = Sampler(TASKS["acrobot"], 20, np.random.default_rng(0)).sample(policy, 4_000)
        p = torch.softmax(torch.from_numpy(batch.rows(batch.outputs)).double(), -1).numpy()
        taken = batch.rows(batch.actions)[:, None] == np.arange(3)
        z = (taken - p).sum(0) / np.sqrt((p * (1 - p)).sum(0))
        assert abs(z).max() < 4.5

    @pytest.mark.parametrize(("task", "discrete"), [(CARTPOLE, True), (REACHER, False)])
    def test_deterministic_sampling_takes_the_modes(self, task, discrete):
        policy = balancing_policy(4) if discrete else make_policy(10, 2, discrete)
        batch = Sampler(task, 5, np.random.default_rng(0)).sample(policy, 60, deterministic=True)
        assert np.array_equal(batch.actions, batch.outputs.argmax(-1) if discrete else batch.outputs)
        assert np.ptp(batch.rows(batch.actions)) > 0

    def test_actions_are_not_clipped(self):
        """The reward is the action, whose bound is 1."""
        policy = Policy(1, 1, False, hidden=())
        policy.network.biases[0].data[:] = 50.0
        batch = Sampler(PAID, 3, np.random.default_rng(0)).sample(policy, 60)
        assert batch.actions.min() > 40
        assert np.array_equal(batch.rewards, batch.actions[..., 0].astype(np.float64))


class TestRowsAndGrid:
    """`rows` selects the valid entries, `grid` puts them back."""

    VALID = ((True, True, True), (True, False, True), (False, False, True))

    def test_by_hand(self, make_batch):
        batch = make_batch(np.zeros((3, 3, 1)), np.zeros((3, 3)), valid=self.VALID)
        assert len(batch) == 6
        values = np.arange(9).reshape(3, 3)
        assert batch.rows(values).tolist() == [0, 1, 2, 3, 5, 8]
        assert batch.grid(batch.rows(values)).tolist() == [[0, 1, 2], [3, 0, 5], [0, 0, 8]]

    @pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.bool_])
    @pytest.mark.parametrize("valid", [VALID, np.ones((3, 3))], ids=["ragged", "full"])
    def test_they_are_inverse(self, shape, dtype, valid, make_batch):
        batch = make_batch(np.zeros((3, 3, 1)), np.zeros((3, 3)), valid=valid)
        rows = np.random.default_rng(0).normal(size=(len(batch), *shape)).astype(dtype)
        grid = batch.grid(rows)
        assert (grid.shape, grid.dtype) == ((3, 3, *shape), dtype)
        assert not grid[~batch.valid].any()
        assert np.array_equal(batch.rows(grid), rows)
        assert np.array_equal(batch.grid(batch.rows(grid)), grid)

    @pytest.mark.parametrize("pairs", [1, 40, 400])
    def test_they_are_inverse_on_sampled_batches(self, pairs):
        batch = Sampler(COUNTING, 7, np.random.default_rng(0)).sample(initial_policy(3, 2), pairs)
        assert not batch.valid.all()
        for name in STEPWISE:
            values = getattr(batch, name)
            assert np.array_equal(batch.grid(batch.rows(values))[batch.valid], values[batch.valid]), name


class TestEntriesThatAreNotValid:
    @pytest.mark.parametrize("value", [float("nan"), 1e30])
    def test_nothing_that_a_batch_says_of_its_pairs_depends_on_them(self, value, poison):
        batch = Sampler(COUNTING, 7, np.random.default_rng(0)).sample(initial_policy(3, 2), 60)
        poisoned = poison(batch, value)
        assert len(poisoned) == len(batch)
        assert np.array_equal(poisoned.done, batch.done)
        assert poisoned.episode_figures() == batch.episode_figures()
        for name in (*STEPWISE, "next_observations"):
            assert np.array_equal(batch.rows(getattr(batch, name)), poisoned.rows(getattr(poisoned, name))), name

    def test_nor_does_joining(self, poison):
        samplers = [Sampler(COUNTING, count, np.random.default_rng(count)) for count in (2, 5)]
        batches = [
            sampler.sample(initial_policy(3, 2), pairs) for sampler, pairs in zip(samplers, (1, 90), strict=True)
        ]
        joined, poisoned = concatenate(batches), concatenate([poison(batch, float("nan")) for batch in batches])
        assert len(joined) == sum(len(batch) for batch in batches)
        assert np.array_equal(joined.done, poisoned.done)
        for name in (*STEPWISE, "next_observations"):
            assert np.array_equal(joined.rows(getattr(joined, name)), poisoned.rows(getattr(poisoned, name))), name


def assert_whole_episodes(batch):
    """Each environment's valid entries come first and are whole episodes; returns and lengths are a slow count's."""
    returns, lengths = [], []
    for n in range(batch.valid.shape[1]):
        count = int(batch.valid[:, n].sum())
        assert batch.valid[:count, n].all()
        time, total = 0, 0.0
        for t in range(count):
            assert batch.times[t, n] == time
            time, total = time + 1, total + batch.rewards[t, n]
            if batch.terminated[t, n] or batch.truncated[t, n]:
                returns.append(total)
                lengths.append(time)
                time, total = 0, 0.0
        assert time == 0  # the last one has ended
    assert batch.valid[-1].any()
    np.testing.assert_allclose(batch.returns, returns, rtol=1e-12)  # up to the order of the sum
    assert batch.lengths.tolist() == lengths
    assert batch.lengths.sum() == len(batch)
    assert len(batch.end_observations) == batch.done.sum() == len(lengths)


class TestWholeEpisodes:
    """Batches are whole episodes, the first that begin, as one environment samples them one after the other."""

    @pytest.mark.parametrize("pairs", [1, 6, 7, 48, 100, 333])
    @pytest.mark.parametrize("threads", [1, 2])
    def test_batches_hold_whole_episodes_only(self, pairs, threads):
        policy = initial_policy(3, 2)
        samplers = [Sampler(COUNTING, 6 // threads, generator) for generator in generators(0, threads)]
        for _ in range(5):
            parts = [sampler.sample(policy, -(-pairs // threads)) for sampler in samplers]
            for batch in (*parts, concatenate(parts)):
                assert_whole_episodes(batch)

    @pytest.mark.parametrize(
        ("task", "observations", "actions"), [(CARTPOLE, 4, 2), (replace(HOPPER, horizon=60), 11, 3)]
    )
    def test_batches_of_the_tasks_hold_whole_episodes_only(self, task, observations, actions):
        pool = SamplerPool(task, 6 * task.horizon, generators(0, 2))
        policy = make_policy(observations, actions, task is CARTPOLE)
        for _ in range(3):
            batch = pool.sample(policy)
            assert not batch.valid.all()
            assert batch.lengths.min() < task.horizon
            assert np.array_equal(batch.truncated[batch.valid], batch.times[batch.valid] == task.horizon - 1)
            assert len(batch.lengths) > 6
            lengths = Counter(t for length in batch.lengths for t in range(length))
            assert Counter(batch.times[batch.valid].tolist()) == lengths

    @pytest.mark.parametrize("environments", [1, 7])
    @pytest.mark.parametrize("pairs", [1, 2, 55, 56, 57, 112, 113, 500])
    def test_a_batch_is_the_shortest_run_of_the_first_episodes_that_holds_the_pairs(self, environments, pairs):
        sampler = Sampler(COUNTING, environments, np.random.default_rng(0))
        for _ in range(6):
            batch = sampler.sample(initial_policy(3, 2), pairs)
            assert_whole_episodes(batch)
            # In the order they begin; those that begin in the same step, by environment.
            begins = np.argwhere((batch.times == 0) & batch.valid)
            ends = {n: iter(np.flatnonzero(batch.done[:, n])) for n in range(environments)}
            lengths = [next(ends[n]) - t + 1 for t, n in begins]
            assert sum(lengths[:-1]) < pairs <= sum(lengths) == len(batch)

    @pytest.mark.filterwarnings("ignore:.*out of date")
    @pytest.mark.parametrize("environment", ["GailbenchCounting-v0", "Hopper-v5", "CartPole-v0"])
    def test_environments_side_by_side_sample_the_very_episodes_of_one_alone(self, environment):
        """Episodes draw their initial states in the order they begin, so with a deterministic policy the batch of any
        number of environments holds the same ones: which are kept does not depend on how they end."""
        task = replace(CARTPOLE, environment=environment, horizon=30)
        sampled = []
        for environments in (1, 2, 7, 40):
            sampler = Sampler(task, environments, np.random.default_rng(3))
            simulator = sampler.simulator
            policy = make_policy(simulator.observation_dim, simulator.action_dim, simulator.discrete)
            for pairs in (1, 64, 350):
                sampler.generator.bit_generator.state = np.random.default_rng(pairs).bit_generator.state
                batch = sampler.sample(policy, pairs, deterministic=True)
                episodes = {}
                for t, n in np.argwhere((batch.times == 0) & batch.valid):
                    end = t + int(np.argmax(batch.done[t:, n])) + 1
                    whole = batch.observations[t:end, n]
                    if environment == COUNTING.environment:  # its second number counts the environment's own episodes
                        whole = np.delete(whole, 1, axis=1)
                    episodes[whole[0].tobytes()] = whole
                sampled.append((environments, pairs, episodes))
        for environments, pairs, episodes in sampled:
            alone = next(e for n, p, e in sampled if n == 1 and p == pairs)
            assert len({len(whole) for whole in alone.values()}) > 1 or pairs == 1
            assert episodes.keys() == alone.keys(), (environments, pairs)
            for start, whole in episodes.items():
                np.testing.assert_allclose(whole, alone[start], rtol=1e-4, atol=1e-4)

    def test_a_new_episode_begins_only_while_all_that_have_begun_hold_fewer_pairs(self):
        simulator = make("GailbenchCounting-v0", 8, 5, np.random.default_rng(0))
        simulator.restart(pairs=100)
        begun, sampled = 5, 0
        while len(simulator.rows):
            step = simulator.step(np.zeros(len(simulator.rows), dtype=np.intp))
            sampled += len(step.rewards)
            begun += int(step.done.sum()) if sampled < 100 else 0
            assert len(simulator.rows) == 5 or sampled >= 100
            assert simulator.numbers.max(initial=0) < begun
        assert 10 < begun < 40

    @pytest.mark.parametrize("environments", [1, 7])
    def test_short_and_long_episodes_come_as_often_as_one_after_the_other(self, environments):
        """Episodes of 2 to 8 steps in batches of 20 pairs: numbers of short and long ones, and the last one's length,
        are distributed as those of an urn; a rule that uses up whatever is in progress fails."""
        rng = np.random.default_rng(0)

        def urn():
            lengths = []
            while sum(lengths) < 20:
                lengths.append(min(int(rng.integers(2, 12)), 8))
            return lengths

        sampler = Sampler(COUNTING, environments, np.random.default_rng(1))
        policy = initial_policy(3, 2)
        batches = []
        for _ in range(1_500):
            batch = sampler.sample(policy, 20)
            begins = np.argwhere((batch.times == 0) & batch.valid)
            batches.append([int(np.argmax(batch.done[t:, n])) + 1 for t, n in begins])
        urns = [urn() for _ in range(6_000)]

        def compare(ours, figure):
            counts = np.array([np.bincount([figure(b) for b in some], minlength=60) for some in (ours, urns)])
            return stats.chi2_contingency(counts[:, counts.sum(axis=0) > 20]).pvalue

        figures = (len, sum, lambda b: b[-1], lambda b: sum(n <= 3 for n in b), lambda b: sum(n == 8 for n in b))
        assert min(compare(batches, figure) for figure in figures) > 1e-4
        # The control: the episodes that are in progress as well when ended ones hold the pairs.
        finished = [lengths + [min(int(rng.integers(2, 12)), 8) for _ in range(3)] for lengths in urns[:1_500]]
        assert min(compare(finished, figure) for figure in figures) < 1e-9

    @pytest.mark.parametrize("environment", ["CartPole-v0", "CartPole-v1", "Hopper-v5", "Pendulum-v1"])
    @pytest.mark.filterwarnings("ignore:.*out of date")
    def test_each_environment_makes_exactly_one_episode(self, environment):
        task = replace(CARTPOLE, environment=environment, horizon=60)
        sampler = Sampler(task, 9, np.random.default_rng(0))
        simulator = sampler.simulator
        policy = make_policy(simulator.observation_dim, simulator.action_dim, simulator.discrete)
        for _ in range(3):
            batch = sampler.sample_each(policy)
            assert_whole_episodes(batch)
            assert batch.done.sum(axis=0).tolist() == [1] * 9
            assert np.array_equal(batch.lengths, batch.valid.sum(axis=0))
            assert len(batch.valid) == batch.lengths.max()
            assert (batch.lengths.min() < 60) == (environment != "Pendulum-v1")

    def test_every_batch_starts_from_fresh_states(self):
        sampler = Sampler(CARTPOLE, 5, np.random.default_rng(0))
        policy = initial_policy(4, 2)
        starts = np.concatenate([sampler.sample(policy, pairs).observations[0] for pairs in (1, 300, 1_000, 1)])
        assert abs(starts).max() <= 0.05
        assert len(np.unique(starts, axis=0)) == 20

    @pytest.mark.filterwarnings("ignore:.*out of date")
    @pytest.mark.parametrize("environment", ["CartPole-v1", "CartPole-v0", "Hopper-v5", "Ant-v5", "Reacher-v5"])
    def test_the_next_batch_depends_on_nothing_but_the_generators(self, environment):
        """Nothing is open between batches: streams restored into fresh environments go on with equal bytes."""
        task = replace(CARTPOLE, environment=environment, horizon=40)
        pool, fresh = (SamplerPool(task, 200, generators(seed, 2)) for seed in (0, 5))
        simulator = pool.samplers[0].simulator
        policy = make_policy(simulator.observation_dim, simulator.action_dim, simulator.discrete)
        pool.sample(policy)
        drawn = [pack(sampler.generator) for sampler in pool.samplers]
        undisturbed = [pool.sample(policy) for _ in range(2)]
        fresh.sample(policy)
        for sampler, generator in zip(fresh.samplers, drawn, strict=True):
            unpack(sampler.generator, generator)
        for batch in undisturbed:
            again = fresh.sample(policy)
            assert np.array_equal(batch.valid, again.valid)
            for name in STEPWISE:
                assert batch.rows(getattr(batch, name)).tobytes() == again.rows(getattr(again, name)).tobytes(), name
            for name in ("end_observations", "returns", "lengths"):
                assert getattr(batch, name).tobytes() == getattr(again, name).tobytes(), name


def whole_episode_lengths(policy, episodes, seed):
    return evaluate(CARTPOLE, policy, episodes, np.random.default_rng(seed), deterministic=False)[1]


def shares(counts):
    """Shares of the bins among all pairs, and their standard errors; counts (K, bins) of independent units."""
    totals = counts.sum(1, keepdims=True)
    share = counts.sum(0) / totals.sum()
    return share, (counts - share * totals).std(0, ddof=1) / totals.mean() / np.sqrt(len(counts))


def time_z_scores(columns, lengths):
    """By how many standard errors the shares of early to late pairs in batches differ from whole episodes'.

    columns: The times of each of independent environments' pairs. lengths: (K,) of whole episodes. Pairs of an
    environment or episode depend on each other, so the errors are those of ratios over environments and episodes.
    """
    pairs = np.concatenate([np.arange(length) for length in lengths])
    edges = np.unique(np.quantile(pairs, np.arange(1, 8) / 8)).astype(int)
    edges = np.concatenate(([0], edges, [200]))
    share, error = shares(np.diff(np.minimum(lengths[:, None], edges), axis=1))
    sampled, sampled_error = shares(np.stack([np.histogram(times, edges)[0] for times in columns]))
    return (sampled - share) / np.hypot(error, sampled_error)


class TestTimes:
    """The number of a batch's episodes is a stopping time, so pairs are distributed over the times in an episode
    exactly as in whole episodes (Wald's identity), in every batch."""

    @pytest.mark.parametrize("environments", [25, 100])
    @pytest.mark.parametrize("strength", [0.0, 4.0])
    def test_times_in_batches_are_distributed_as_in_whole_episodes(self, strength, environments):
        """Four consecutive batches of the paper's size; then larger ones, which would show smaller differences."""
        policy = balancing_policy(strength)
        lengths = whole_episode_lengths(policy, 2_000, 1)
        # Strength 0 is the initial policy (coin flips); with 4 episodes last long, and some to the time limit.
        assert (lengths.mean() < 25) == (strength == 0)
        assert (lengths == 200).any() == (strength > 0)
        pool = SamplerPool(CARTPOLE, environments * 200, [np.random.default_rng(0)])
        columns = []
        for _ in range(4):
            batch = pool.sample(policy)
            columns += [times[valid] for times, valid in zip(batch.times.T, batch.valid.T, strict=True)]
        assert abs(time_z_scores(columns, lengths)).max() < 4.5

    @pytest.mark.parametrize("strength", [0.0, 4.0])
    def test_the_comparison_notices_cut_episodes(self, strength):
        """The same batch passes whole, and does not where every environment is cut at the same step."""
        policy = balancing_policy(strength)
        lengths = whole_episode_lengths(policy, 2_000, 1)
        for full in (20, 60):
            batch = Sampler(CARTPOLE, 1_000, np.random.default_rng(0)).sample(policy, 2_000 * full)
            columns = [times[valid] for times, valid in zip(batch.times.T, batch.valid.T, strict=True)]
            assert abs(time_z_scores(columns, lengths)).max() < 4.5
            assert abs(time_z_scores([times[:full] for times in columns], lengths)).max() > 9

    @pytest.mark.parametrize(
        ("task", "policy"), [(CARTPOLE, balancing_policy(100)), (MOUNTAINCAR, initial_policy(2, 3))]
    )
    def test_every_batch_of_full_length_episodes_holds_each_time_equally_often(self, task, policy):
        pool = SamplerPool(task, 1_200, generators(0, 2))
        for _ in range(3):
            batch = pool.sample(policy)
            assert batch.valid.shape == (200, 6)
            assert batch.valid.all()
            assert np.bincount(batch.times.reshape(-1)).tolist() == [6] * 200
            assert batch.lengths.tolist() == [200] * 6

    @pytest.mark.parametrize(
        ("name", "environments"), [("cartpole", 25), ("acrobot", 25), ("reacher", 500), ("hopper", 25)]
    )
    def test_environments_of_the_papers_batches(self, name, environments):
        pool = SamplerPool(TASKS[name], TASKS[name].batch, generators(0, 2))
        assert sum(sampler.simulator.num_envs for sampler in pool.samplers) == environments
        assert sum(pool.shares) == TASKS[name].batch

    def test_an_environment_for_every_second_horizon_but_not_fewer_than_25(self):
        counts = {1: 1, 24: 24, 25: 25, 26: 25, 50: 25, 51: 26, 52: 26, 200: 100}
        assert {horizons: environments_for(horizons * 8, 8) for horizons in counts} == counts
        assert environments_for(25 * 8 + 1, 8) == 25
        assert environments_for(8 + 1, 8) == 2


class TestSamplerPool:
    @pytest.mark.parametrize("threads", [1, 2, 3])
    def test_batches_hold_the_pairs_whatever_the_threads(self, threads):
        policy = initial_policy(3, 2)
        for pairs, environments in ((1, 1), (8, 1), (9, 2), (16, 2), (17, 3), (100, 13)):
            pool = SamplerPool(COUNTING, pairs, generators(0, threads))
            for _ in range(3):
                batch = pool.sample(policy)
                assert batch.valid.shape[1] == environments
                # Shares of the threads are rounded up, so that it may be a pair more for each.
                assert pairs <= len(batch) < pairs + threads + environments * COUNTING.horizon
                assert_whole_episodes(batch)

    def test_environments_are_split_evenly_over_threads(self):
        def split(environments, threads):
            pool = SamplerPool(COUNTING, 8 * environments, generators(0, threads))
            return [sampler.simulator.num_envs for sampler in pool.samplers]

        assert split(6, 2) == [3, 3]
        assert split(7, 2) == [4, 3]
        assert split(11, 4) == [3, 3, 3, 2]
        assert split(2, 5) == [1, 1]

    def test_parts_are_joined_into_whole_batches(self):
        """Parts of different T stand side by side, and the ends find their places by the episodes' labels."""
        policy = initial_policy(3, 2)
        counts, lasts = (4, 3), set()
        pool = SamplerPool(COUNTING, 8 * 7, generators(0, 2))
        apart = [Sampler(COUNTING, count, g) for count, g in zip(counts, generators(0, 2), strict=True)]
        for _ in range(8):
            batch = pool.sample(policy)
            parts = [sampler.sample(policy, 8 * count) for sampler, count in zip(apart, counts, strict=True)]
            steps = [len(part.valid) for part in parts]
            lasts.add(np.sign(steps[0] - steps[1]))
            assert batch.valid.shape == (max(steps), 7)
            assert_whole_episodes(batch)
            assert len(batch) == sum(len(part) for part in parts)
            for part, columns in zip(parts, (slice(0, 4), slice(4, 7)), strict=True):
                assert np.array_equal(batch.valid[: len(part.valid), columns], part.valid)
                assert not batch.valid[len(part.valid) :, columns].any()
                for name in (*STEPWISE, "next_observations"):
                    values = getattr(batch, name)[: len(part.valid), columns]
                    assert np.array_equal(values[part.valid], getattr(part, name)[part.valid]), name
            for name in ("returns", "lengths"):
                assert np.array_equal(getattr(batch, name), np.concatenate([getattr(part, name) for part in parts]))
            assert np.array_equal(batch.rows(batch.next_observations)[:, :2], batch.rows(batch.observations)[:, :2])
            assert np.array_equal(batch.rows(batch.next_observations)[:, 2], batch.rows(batch.times) + 1)
            assert np.array_equal(batch.end_observations, batch.next_observations[batch.done])
        assert {-1, 1} <= lasts  # either part was the longer one

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
