"""The loop that experts, GAIL, FEM and GTAL share. They differ only in the reward.

An iteration follows Algorithm 1 of Ho & Ermon (2016), in the order of the runs behind the published numbers. First the
policy takes a step on the reward that was fitted in the previous iteration. Then the reward is fitted to the new batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gailbench.algorithms import Assignment
from gailbench.algorithms.reward import Reward, figures_of, rewards_of
from gailbench.networks import Activation
from gailbench.plumbing.state import State, join, part
from gailbench.plumbing.streams import pack, stream, unpack
from gailbench.plumbing.typed import Count, NotNegative, Share
from gailbench.policy import Policy
from gailbench.sampling import Batch, SamplerPool
from gailbench.tasks import Task
from gailbench.trpo import (
    Floats,
    StepOutcome,
    TrustRegion,
    ValueFunction,
    discounted_returns,
    generalized_advantages,
    policy_step,
    standardized,
)


@dataclass(frozen=True)
class LoopSettings:
    """Settings of the loop; the defaults are the paper's.

    Attributes:
        batch: State-action pairs per iteration.
        entropy_weight: lambda. For the advantages, -lambda log pi(a|s) is added to each pair's reward.
        gamma: Discount factor.
        gae_lambda: lambda of generalized advantage estimation.
        hidden: Widths of the hidden layers of policy and value function.
        activation: Activation of these hidden layers.
        policy_region: Trust region of the policy's step.
        value_region: Trust region of the value function's fit.
    """

    batch: int
    entropy_weight: NotNegative = 0.0
    gamma: Share = 0.995
    gae_lambda: Share = 0.97
    hidden: tuple[Count, ...] = (100, 100)
    activation: Activation = "tanh"
    policy_region: TrustRegion = field(default_factory=TrustRegion)
    value_region: TrustRegion = field(default_factory=TrustRegion)


class RewardLearner:
    """A policy, its value function, its reward and its environments, trained one iteration at a time.

    Args:
        task: Environment and horizon.
        reward: The reward that the policy is trained on.
        settings: Settings of the loop.
        seed: Seed of all random numbers but the reward's.
        expert_observations: (M, O), observations with which the standardizers start. With None (for training an
            expert) they start with one extra batch of the initial policy.
        threads: Number of sampling threads.

    Attributes:
        held: Number of first iterations in which only the value function is trained (for a policy trained before).
        advantage_limit: Limit of the advantages (see `trpo.standardized`); None for no limit, as in the paper.
    """

    def __init__(
        self,
        task: Task,
        reward: Reward,
        settings: LoopSettings,
        seed: int,
        expert_observations: NDArray[np.float32] | None = None,
        threads: int = 1,
    ) -> None:
        self.settings, self._reward, self._expert_observations = settings, reward, expert_observations
        self._generators = [stream(seed, "sampling", index) for index in range(threads)]
        self._update_generator = stream(seed, "updates")
        self._pool = SamplerPool(task, settings.batch, self._generators)
        simulator = self._pool.samplers[0].simulator
        self.policy = Policy(
            simulator.observation_dim,
            simulator.action_dim,
            simulator.discrete,
            settings.hidden,
            settings.activation,
            stream(seed, "policy"),
        )
        self._value = ValueFunction(
            simulator.observation_dim,
            task.horizon,
            settings.hidden,
            settings.activation,
            stream(seed, "value"),
            settings.value_region,
        )
        self.iteration = self.steps = self.held = 0
        self.advantage_limit: float | None = None

    def _initialize_standardizers(self) -> None:
        observations = self._expert_observations
        if observations is None:
            batch = self.sample()
            self.steps += len(batch)
            observations = batch.observation_rows
        if not self.policy.standardizer.count:  # the standardizer of a trained policy has data already
            self.policy.standardizer.update(observations)
        self._value.inputs.update(observations)

    def sample(self) -> Batch:
        """Return the next batch of the policy's pairs."""
        return self._pool.sample(self.policy)

    def iterate(self) -> dict[str, float]:
        """Do one iteration; return a row of the learning curve."""
        if self.iteration == 0:
            self._initialize_standardizers()
        settings, policy = self.settings, self.policy

        batch = self.sample()  # Algorithm 1, line 3
        rewards = rewards_of(self._reward, batch)
        values = self._value.predict_batch(batch)
        advantages = self._advantages(batch, rewards, values)
        entropy = policy.mean_entropy(batch.rows(batch.outputs))
        outcome = StepOutcome()
        if self.iteration >= self.held:  # Algorithm 1, line 5
            outcome = policy_step(policy, batch, advantages, self._update_generator, settings.policy_region)
        policy.standardizer.update(batch.observation_rows)
        figures = figures_of(self._reward, batch)  # Algorithm 1, line 4
        explained = self._fit_value(batch, values)

        self.iteration += 1
        self.steps += len(batch)
        return {
            "iteration": self.iteration,
            "steps": self.steps,
            **batch.episode_figures(),
            "reward_mean": float(batch.rows(rewards).mean()),
            **figures,
            "kl": outcome.divergence,
            "entropy": entropy,
            "halvings": outcome.halvings,
            "explained_variance": explained,
        }

    def _advantages(self, batch: Batch, rewards: Floats, values: Floats) -> NDArray[np.float32]:
        """Return the standardized advantages (B,), with the entropy bonus."""
        settings = self.settings
        total = rewards - settings.entropy_weight * batch.log_probabilities
        advantages = generalized_advantages(total, values, batch.done, settings.gamma, settings.gae_lambda)
        return standardized(batch.rows(advantages), self.advantage_limit)

    def _fit_value(self, batch: Batch, values: Floats) -> float:
        """Fit V to the discounted returns of the current reward, without the entropy bonus. Return the explained
        variance of V before the fit."""
        returns = discounted_returns(rewards_of(self._reward, batch), batch.done, self.settings.gamma)
        self._value.fit(batch, returns, self._update_generator, catch_up=self.iteration < self.held)
        variance = batch.rows(returns).var()
        return float(1 - batch.rows(returns - values).var() / variance) if variance > 0 else float("nan")

    def state(self) -> State:
        """Return everything that the next iteration depends on, by name."""
        return join(
            {
                "policy": self.policy.state(),
                "value": self._value.state(),
                "reward": self._reward.state(),
                "streams": {str(index): pack(generator) for index, generator in enumerate(self._streams())},
                "loop": {"progress": np.array([self.iteration, self.steps])},
            }
        )

    def load_state(self, state: State) -> None:
        """Continue from a value of `state`. The number of threads must be the same."""
        self.policy.load_state(part(state, "policy"))
        self._value.load_state(part(state, "value"))
        self._reward.load_state(part(state, "reward"))
        self.iteration, self.steps = (int(value) for value in state["loop.progress"])
        for index, generator in enumerate(self._streams()):
            unpack(generator, state[f"streams.{index}"])

    def _streams(self) -> list[np.random.Generator]:
        return [*self._generators, self._update_generator]


def imitate(assignment: Assignment, reward: Reward) -> RewardLearner:
    """Return the learner of an algorithm that is this loop with another reward."""
    observations = None if assignment.pairs is None else assignment.pairs.observations
    return RewardLearner(assignment.task, reward, assignment.loop, assignment.seed, observations)
