"""The loop: reproducible, resumable, and in the order of the runs behind the published numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import gailbench.algorithms
from gailbench.algorithms import loop
from gailbench.algorithms.fem import Fem
from gailbench.algorithms.gail import Gail
from gailbench.algorithms.gtal import Gtal
from gailbench.algorithms.loop import LoopSettings, RewardLearner
from gailbench.algorithms.reward import Reward, TrueReward
from gailbench.demonstrations import Pairs
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.streams import stream
from gailbench.policy import Policy
from gailbench.sampling import Batch
from gailbench.tasks import Task, get_task
from gailbench.trpo import StepOutcome, discounted_returns

pytestmark = pytest.mark.usefixtures("one_thread")

MakeBatch = Callable[..., Batch]
SampleBatch = Callable[..., tuple[Policy, Batch]]
Poison = Callable[[Batch, float], Batch]

CARTPOLE = get_task("cartpole")
HOPPER = replace(get_task("hopper"), horizon=50)
# Environment, pairs per iteration: 5 cart-poles of 200 steps, 8 hoppers of 50.
TASKS = [(CARTPOLE, 1_000), (HOPPER, 400)]
BY_TASK = pytest.mark.parametrize(("task", "batch"), TASKS, ids=["cartpole", "hopper"])


def expert_pairs(task: Task) -> Pairs:
    """Made-up pairs of the right shapes."""
    generator = np.random.default_rng(0)
    if task.environment == "CartPole-v1":
        observations = generator.normal(0.0, 0.1, (50, 4)).astype(np.float32)
        return Pairs(observations, (observations[:, 2] > 0).astype(np.int64), 2, discrete=True)
    observations = generator.normal(0.0, 0.3, (50, 11)).astype(np.float32)
    return Pairs(observations, observations[:, :3] - observations[:, 5:8], 3, discrete=False)


def reward_of(kind: str, task: Task, seed: int) -> Reward:
    if kind == "true":
        return TrueReward()
    made = {"gail": Gail, "fem": Fem, "gtal": Gtal}[kind]
    return made(expert_pairs(task), task.reward_sign, stream(seed, "reward"))


def learner_of(task: Task, batch: int, kind: str, seed: int = 0, threads: int = 1, **settings: Any) -> RewardLearner:
    observations = None if kind == "true" else expert_pairs(task).observations
    return RewardLearner(
        task,
        reward_of(kind, task, seed),
        LoopSettings(batch=batch, hidden=(16, 16), **settings),
        seed,
        observations,
        threads,
    )


def everything(learner: RewardLearner) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in learner.state().items()}


class FakeReward:
    """Writes down what is called; its rewards are 1 at first and one more after every fit."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.batches: list[Batch] = []
        self.level = 1.0

    def reward(self, batch: Batch) -> np.ndarray:
        self.calls.append("reward")
        self.batches.append(batch)
        return batch.grid(np.full(len(batch), self.level))

    def fit(self, batch: Batch) -> dict[str, float]:
        self.calls.append("fit")
        self.batches.append(batch)
        self.level += 1.0
        return {"discriminator_loss": self.level}

    def state(self) -> dict[str, np.ndarray]:
        return {"level": np.array([self.level])}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        self.level = float(state["level"][0])


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Arguments of the loop's functions, call by call, in order of calls under "order"."""
    record: dict[str, list[Any]] = {"order": []}
    for name in ("generalized_advantages", "discounted_returns", "policy_step"):
        record[name] = []
        original = getattr(loop, name)

        def call(*arguments: Any, _name: str = name, _original: Callable[..., Any] = original) -> Any:
            record["order"].append(_name)
            record[_name].append(arguments)
            return _original(*arguments)

        monkeypatch.setattr(loop, name, call)
    return record


# ---- Reproducible


@BY_TASK
@pytest.mark.parametrize("kind", ["true", "gail", "fem", "gtal"])
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(task: Task, batch: int, kind: str) -> None:
    learners = [learner_of(task, batch, kind, seed) for seed in (3, 3, 4)]
    rows = [[learner.iterate() for _ in range(3)] for learner in learners]
    assert rows[0] == rows[1]
    assert everything(learners[0]) == everything(learners[1])
    assert rows[0] != rows[2]
    assert everything(learners[0])["policy.network.weights.0"] != everything(learners[2])["policy.network.weights.0"]


def test_two_threads_give_the_same_bytes_every_time() -> None:
    learners = [learner_of(CARTPOLE, 1_000, "true", threads=2) for _ in range(2)]
    for _ in range(3):
        assert learners[0].iterate() == learners[1].iterate()
    assert everything(learners[0]) == everything(learners[1])


@BY_TASK
@pytest.mark.parametrize("kind", ["true", "gail", "fem", "gtal"])
def test_a_loaded_state_continues_with_identical_bytes(task: Task, batch: int, kind: str) -> None:
    learner = learner_of(task, batch, kind)
    for _ in range(2):
        learner.iterate()
    state = learner.state()
    # Another seed: everything that matters must come from the state.
    again = learner_of(task, batch, kind, seed=77)
    again.load_state(state)
    assert everything(again) == everything(learner)
    for _ in range(2):
        assert again.iterate() == learner.iterate()
    assert everything(again) == everything(learner)


@BY_TASK
def test_a_state_does_not_change_when_its_learner_goes_on(task: Task, batch: int) -> None:
    learner = learner_of(task, batch, "gail")
    learner.iterate()
    state = learner.state()
    kept = {name: value.tobytes() for name, value in state.items()}
    learner.iterate()
    assert [name for name, value in state.items() if value.tobytes() != kept[name]] == []


def test_two_threads_continue_with_identical_bytes() -> None:
    learner = learner_of(HOPPER, 400, "gail", threads=2)
    learner.iterate()
    again = learner_of(HOPPER, 400, "gail", seed=77, threads=2)
    again.load_state(learner.state())
    assert again.iterate() == learner.iterate()
    assert everything(again) == everything(learner)


# ---- Order within an iteration


def test_reward_steps_the_policy_before_it_is_fitted_and_the_value_function_after(
    spied: dict[str, list[Any]],
) -> None:
    reward = FakeReward()
    learner = RewardLearner(CARTPOLE, reward, LoopSettings(batch=1_000, hidden=(8,)), 0)
    rows = [learner.iterate() for _ in range(3)]
    assert reward.calls == ["reward", "fit", "reward"] * 3
    for index in range(3):
        # One batch per iteration serves all three calls.
        of_iteration = reward.batches[3 * index : 3 * index + 3]
        assert all(batch is of_iteration[0] for batch in of_iteration)
        # The advantages are of the reward as it was, the values' targets of the reward as refitted.
        valid = of_iteration[0].valid
        assert_array_equal(spied["generalized_advantages"][index][0][valid], 1.0 + index)
        assert_array_equal(spied["discounted_returns"][index][0][valid], 2.0 + index)
        assert rows[index]["reward_mean"] == 1.0 + index
        assert rows[index]["discriminator_loss"] == 2.0 + index
    assert spied["order"] == ["generalized_advantages", "policy_step", "discounted_returns"] * 3
    assert reward.batches[0] is not reward.batches[3]


def test_policy_steps_between_the_two_rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    reward = FakeReward()

    def step(*_: Any) -> StepOutcome:
        reward.calls.append("step")
        return StepOutcome(False, 0, 0.0, 0.0)

    monkeypatch.setattr(loop, "policy_step", step)
    RewardLearner(CARTPOLE, reward, LoopSettings(batch=1_000, hidden=(8,)), 0).iterate()
    assert reward.calls == ["reward", "step", "fit", "reward"]


@BY_TASK
def test_entropy_bonus_enters_the_advantages_only(task: Task, batch: int, spied: dict[str, list[Any]]) -> None:
    reward = FakeReward()
    row = RewardLearner(task, reward, LoopSettings(batch=batch, entropy_weight=0.25, hidden=(8,)), 0).iterate()
    sampled = reward.batches[0]
    with_bonus = sampled.rows(spied["generalized_advantages"][0][0])
    assert_allclose(with_bonus, 1.0 - 0.25 * sampled.rows(sampled.log_probabilities), rtol=1e-6)
    if task is CARTPOLE:  # uniform over two actions at first
        assert_allclose(with_bonus, 1.0 + 0.25 * np.log(2), rtol=1e-6)
    assert_array_equal(sampled.rows(spied["discounted_returns"][0][0]), 2.0)
    assert row["reward_mean"] == 1.0


def test_without_entropy_weight_there_is_no_bonus(spied: dict[str, list[Any]]) -> None:
    reward = FakeReward()
    RewardLearner(HOPPER, reward, LoopSettings(batch=400, hidden=(8,)), 0).iterate()
    assert_array_equal(reward.batches[0].rows(spied["generalized_advantages"][0][0]), 1.0)


def test_advantages_use_the_settings_and_values_before_the_fit(spied: dict[str, list[Any]]) -> None:
    settings = LoopSettings(batch=1_000, gamma=0.9, gae_lambda=0.8, hidden=(8,))
    learner = RewardLearner(CARTPOLE, TrueReward(), settings, 0)
    learner.iterate()
    _, values, done, gamma, lam = spied["generalized_advantages"][0]
    assert (gamma, lam) == (0.9, 0.8)
    assert values.shape[1] == 5
    assert not values.any()  # no value function has been fitted
    assert done.any()
    assert spied["discounted_returns"][0][2] == 0.9
    learner.iterate()
    assert spied["generalized_advantages"][1][1].std() > 0


def test_paper_settings_are_the_default() -> None:
    settings = LoopSettings(batch=1)
    assert (settings.gamma, settings.gae_lambda, settings.entropy_weight) == (0.995, 0.97, 0.0)
    assert (settings.hidden, settings.activation) == ((100, 100), "tanh")
    for region in (settings.policy_region, settings.value_region):
        assert (region.limit, region.wall, region.damping, region.iterations) == (0.01, 2.0, 0.1, 10)
        assert (region.subsample, region.halvings, region.accept) == (0.1, 10, 0.1)
        assert (region.tolerance, region.smallest_gradient) == (1e-5, 1e-6)


def test_the_policy_steps_on_standardized_advantages(spied: dict[str, list[Any]]) -> None:
    settings = LoopSettings(batch=1_000, hidden=(8,))
    RewardLearner(CARTPOLE, TrueReward(), settings, 0).iterate()
    _, batch, advantages, _, region = spied["policy_step"][0]
    raw = batch.rows(loop.generalized_advantages(*spied["generalized_advantages"][0]))
    assert_allclose(advantages, (raw - raw.mean()) / raw.std(), rtol=1e-4, atol=1e-5)
    assert advantages.shape == (len(batch),)
    assert region is settings.policy_region


# ---- Standardizers


@pytest.mark.parametrize("demonstrated", [True, False])
def test_policy_standardizer_is_updated_after_the_step_with_the_batch(
    demonstrated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward = FakeReward()
    seen: list[tuple[float, np.ndarray, np.ndarray]] = []
    original = loop.policy_step

    def step(policy: Policy, *arguments: Any) -> StepOutcome:
        standardizer = policy.standardizer
        seen.append((standardizer.count, standardizer.mean, standardizer.std))
        return original(policy, *arguments)

    monkeypatch.setattr(loop, "policy_step", step)
    expert = expert_pairs(CARTPOLE).observations
    learner = RewardLearner(
        CARTPOLE, reward, LoopSettings(batch=1_000, hidden=(8,)), 0, expert if demonstrated else None
    )
    for _ in range(2):
        learner.iterate()

    if demonstrated:
        start = expert
        extra_pairs = 0
    else:  # one extra batch of the initial policy, which is uniform: the same draws sample it again
        start_learner = RewardLearner(CARTPOLE, FakeReward(), LoopSettings(batch=1_000, hidden=(8,)), 0)
        extra = start_learner._pool.sample(start_learner.policy)
        start = extra.rows(extra.observations)
        extra_pairs = len(extra)
        assert not np.array_equal(start, reward.batches[0].rows(reward.batches[0].observations))
    assert learner.steps == extra_pairs + sum(len(reward.batches[i]) for i in (0, 3))
    rows = [start, *(reward.batches[i].rows(reward.batches[i].observations) for i in (0, 3))]
    for index in range(2):
        known = np.concatenate(rows[: index + 1]).astype(np.float64)
        count, mean, std = seen[index]
        assert count == len(known)
        assert_allclose(mean, known.mean(0), atol=1e-9)
        assert_allclose(std, known.std(0), rtol=1e-9)
    every = np.concatenate(rows).astype(np.float64)
    for standardizer in (learner.policy.standardizer, learner._value.inputs):
        assert standardizer.count == len(every)
        assert_allclose(standardizer.mean, every.mean(0), atol=1e-9)
        assert_allclose(standardizer.std, every.std(0), rtol=1e-9)


def test_targets_are_standardized_by_the_returns_of_the_refitted_reward(spied: dict[str, list[Any]]) -> None:
    reward = FakeReward()
    learner = RewardLearner(CARTPOLE, reward, LoopSettings(batch=1_000, hidden=(8,)), 0)
    for _ in range(2):
        learner.iterate()
    returns = [loop.discounted_returns(*arguments) for arguments in spied["discounted_returns"][:2]]
    every = np.concatenate([reward.batches[3 * i].rows(values) for i, values in enumerate(returns)])
    assert learner._value.targets.count == len(every)
    assert_allclose(learner._value.targets.mean, [every.mean()])
    assert_allclose(learner._value.targets.std, [every.std()])


# ---- The row


@pytest.mark.parametrize(
    "of", [lambda rewards: rewards[:, :1], lambda rewards: rewards[:1], lambda rewards: rewards[0]]
)
def test_rewards_of_another_shape_than_the_batch_are_refused(of: Callable[[Any], Any]) -> None:
    class Partial(TrueReward):
        def reward(self, batch: Batch) -> Any:
            return of(batch.rewards)

    learner = RewardLearner(CARTPOLE, Partial(), LoopSettings(batch=1_000, hidden=(4,)), 0)
    with pytest.raises(GailbenchError, match=r"the reward is an array of shape \(.*\), expected \(\d+, 5\)"):
        learner.iterate()


@pytest.mark.parametrize("kind", [np.bool_, np.int64, np.float16])
def test_rewards_of_another_type_are_not_cut_to_it(kind: type[Any], spied: dict[str, list[Any]]) -> None:
    class Upright(TrueReward):
        def reward(self, batch: Batch) -> Any:
            return (abs(batch.observations[..., 2]) < 0.05).astype(kind)

    RewardLearner(CARTPOLE, Upright(), LoopSettings(batch=1_000, hidden=(4,)), 0).iterate()
    rewards, done, gamma = spied["discounted_returns"][0]
    assert rewards.dtype == np.float64
    assert (discounted_returns(rewards, done, gamma) % 1 > 0).any()


def test_rewards_that_are_no_real_numbers_are_refused() -> None:
    class Complex(TrueReward):
        def reward(self, batch: Batch) -> Any:
            return batch.rewards * 1j

    learner = RewardLearner(CARTPOLE, Complex(), LoopSettings(batch=1_000, hidden=(4,)), 0)
    with pytest.raises(GailbenchError, match="the reward is an array of type complex128; it must hold real numbers"):
        learner.iterate()


def test_a_fit_does_not_replace_a_common_column() -> None:
    class Entropic(TrueReward):
        def fit(self, batch: Batch) -> dict[str, float]:
            return {"loss": 1.0, "return_mean": 12345.0}

    learner = RewardLearner(CARTPOLE, Entropic(), LoopSettings(batch=1_000, hidden=(4,)), 0)
    with pytest.raises(GailbenchError, match="returns 'return_mean', a column of every curve; rename it"):
        learner.iterate()


def test_row_of_the_learning_curve() -> None:
    reward = FakeReward()
    learner = RewardLearner(CARTPOLE, reward, LoopSettings(batch=1_000, hidden=(8,)), 0)
    rows = [learner.iterate() for _ in range(2)]
    batches = [reward.batches[0], reward.batches[3]]
    assert all(1_000 <= len(batch) < 1_000 + 5 * 200 for batch in batches)
    for index, (row, batch) in enumerate(zip(rows, batches, strict=True)):
        assert row["iteration"] == index + 1
        extra = learner.steps - sum(len(b) for b in batches)
        assert extra >= 1_000  # the extra batch counts
        assert row["steps"] == extra + sum(len(b) for b in batches[: index + 1])
        assert row["episodes"] == len(batch.returns) == batch.done.sum()
        assert row["return_mean"] == batch.returns.mean()
        assert row["length_mean"] == batch.lengths.mean()
        assert 0 <= row["kl"] <= 0.02
    assert rows[0]["entropy"] == pytest.approx(np.log(2))
    assert learner.iteration == 2


def test_explained_variance_is_of_the_values_before_the_fit() -> None:
    learner = learner_of(CARTPOLE, 1_000, "true")
    rows = [learner.iterate() for _ in range(12)]
    assert rows[0]["explained_variance"] == pytest.approx(0.0)  # of a value function that is 0
    assert rows[-1]["explained_variance"] > 0.3


def test_entropy_is_the_mean_over_the_batchs_observations(sample_batch: SampleBatch) -> None:
    for task in ("cartpole", "hopper"):
        policy, batch = sample_batch(task, envs=20, steps=100)
        surprise = -batch.rows(batch.log_probabilities).astype(np.float64)
        error = surprise.std() / np.sqrt(surprise.size)
        assert abs(policy.mean_entropy(batch.rows(batch.outputs)) - surprise.mean()) < 4 * error


def test_figures_of_episodes_by_hand(make_batch: MakeBatch) -> None:
    terminated = [[False, True], [True, False]]
    batch = make_batch(np.zeros((2, 2, 1)), np.zeros((2, 2)), terminated=terminated, rewards=[[1.0, 5.0], [2.0, 9.0]])
    assert batch.episode_figures() == {
        "episodes": 2,
        "return_mean": 4.0,  # of 1 + 2 and 5
        "return_std": 1.0,
        "length_mean": 1.5,
        "length_std": 0.5,
    }


# ---- Whole episodes


@BY_TASK
@pytest.mark.parametrize("kind", ["true", "gail", "fem", "gtal"])
def test_entries_that_are_not_valid_have_no_influence(task: Task, batch: int, kind: str, poison: Poison) -> None:
    clean, poisoned = (learner_of(task, batch, kind, entropy_weight=0.01) for _ in range(2))
    sample = poisoned._pool.sample
    poisoned._pool.sample = lambda policy: poison(sample(policy), 1e30)
    for _ in range(3):
        assert clean.iterate() == poisoned.iterate()
    assert everything(clean) == everything(poisoned)


def test_reward_mean_and_explained_variance_are_of_valid_pairs(spied: dict[str, list[Any]]) -> None:
    class Levels(FakeReward):
        """Grows with the time in the episode, and pays what no pair earns where no pair is."""

        def reward(self, batch: Batch) -> np.ndarray:
            super().reward(batch)
            return np.where(batch.valid, 0.01 * batch.times, 1e6)

    reward = Levels()
    learner = RewardLearner(CARTPOLE, reward, LoopSettings(batch=1_000, hidden=(8,)), 0)
    for index in range(3):
        row = learner.iterate()
        batch = reward.batches[3 * index]
        assert not batch.valid.all()
        assert row["reward_mean"] == pytest.approx(0.01 * batch.times[batch.valid].mean())
        values = spied["generalized_advantages"][index][1]
        returns = discounted_returns(*spied["discounted_returns"][index])
        left = (returns - values)[batch.valid]
        assert row["explained_variance"] == pytest.approx(1 - left.var() / returns[batch.valid].var(), abs=1e-9)
        assert np.abs(returns[batch.valid]).max() < 1e3


# ---- Imitation, and the promise of shortness


@pytest.mark.parametrize("kind", ["gail", "fem"])
def test_imitation_of_a_balancing_rule_lengthens_episodes(kind: str) -> None:
    """A hand-written controller balances the pole; from 200 of its pairs the loop must learn to."""
    generator = np.random.default_rng(0)
    simulator = learner_of(CARTPOLE, 1_000, "true")._pool.samplers[0].simulator
    simulator.restart()
    observations, actions = [], []
    for _ in range(200):
        x = simulator.observations
        chosen = (x @ np.array([0.1, 0.5, 3.0, 1.0]) + generator.normal(0.0, 0.05, len(x)) > 0).astype(np.int64)
        observations.append(x.astype(np.float32))
        actions.append(chosen)
        simulator.step(chosen)
    expert = Pairs(np.concatenate(observations)[::5], np.concatenate(actions)[::5], 2, discrete=True)
    made = {"gail": Gail, "fem": Fem}[kind](expert, "positive", stream(0, "reward"))
    learner = RewardLearner(CARTPOLE, made, LoopSettings(batch=2_000, hidden=(32, 32)), 0, expert.observations)
    returns = [learner.iterate()["return_mean"] for _ in range(20)]
    assert returns[0] < 40
    assert max(returns) > 120


def modules() -> list[Path]:
    return sorted(Path(gailbench.algorithms.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.name)
def test_an_algorithm_fits_in_200_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 200


def test_all_algorithms_are_counted() -> None:
    assert {"bc.py", "fem.py", "gtal.py", "gail.py", "loop.py"} <= {path.name for path in modules()}


def test_training_does_not_depend_on_the_global_random_state() -> None:
    rows = []
    for seed in (0, 1):
        np.random.seed(seed)
        torch.manual_seed(seed)
        learner = learner_of(CARTPOLE, 1_000, "gail")
        rows.append([learner.iterate() for _ in range(2)])
    assert rows[0] == rows[1]
