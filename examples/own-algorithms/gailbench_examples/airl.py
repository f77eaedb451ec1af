"""Adversarial inverse reinforcement learning (Fu, Luo & Levine 2018, Section 5 and Algorithm 1).

The discriminator is D = exp f / (exp f + pi(a|s)), so its logit is f - log pi(a|s), where

    f(s, a, s') = g(s, a) + gamma h(s') - h(s),  h(s') = 0 where the episode ended by the task's own rule.

The reward is log D - log(1 - D), which is that logit: f and an entropy bonus. One Adam step per iteration on the sum of
the two class means of the logistic loss, with the expert as class 1. g depends on the action, which imitates best; the
paper's state-only g(s) is for transfer to other dynamics.

Ours, not the paper's: the reward is shifted by its running extreme to the task's sign, as FEM's and GTAL's. Once the
discriminator tells the two apart its logits are negative, and a policy that can end an episode early does so.

Legend: T steps, N environments, B rows, O observation, A action (discrete: number of actions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from gailbench.algorithms import Assignment
from gailbench.algorithms.features import RunningShift
from gailbench.algorithms.loop import RewardLearner, imitate
from gailbench.networks import MLP, Adam, Standardizer, assign, flatten
from gailbench.plumbing.state import State, join, part
from gailbench.policy import Policy
from gailbench.sampling import Batch


@dataclass(frozen=True)
class AirlSettings:
    """Settings of the discriminator.

    Attributes:
        learning_rate: Adam's.
        hidden: Hidden widths of g and h.
        shifted: Whether the reward has the task's sign.
    """

    learning_rate: float = 0.001
    hidden: tuple[int, ...] = (100, 100)
    shifted: bool = True


class Transitions(NamedTuple):
    """B transitions; `ended`: by the task's own rule."""

    observations: NDArray[np.float32]  # (B, O)
    actions: NDArray[Any]  # (B, A), or (B,) if discrete
    following: NDArray[np.float32]  # (B, O)
    ended: NDArray[np.bool_]  # (B,)


class Airl:
    """The discriminator as a reward.

    Attributes:
        policy: The learner's, whose probabilities are part of D; it is there once the learner is.
    """

    policy: Policy

    def __init__(self, assignment: Assignment) -> None:
        pairs, demonstrations, rows = assignment.expert, assignment.demonstrations, assignment.rows
        assert demonstrations is not None
        following, ended = demonstrations.next_observations[rows], demonstrations.ends[rows]
        self._expert = Transitions(pairs.observations, pairs.actions, following, ended)
        self._gamma, self._discrete = assignment.loop.gamma, pairs.discrete
        settings: AirlSettings = assignment.settings
        self._shift = RunningShift(assignment.task.reward_sign, settings.shifted)
        generator, hidden, width = assignment.stream("reward"), settings.hidden, pairs.observations.shape[1]
        # As in gailbench's GAIL: a discrete action chooses among the outputs, another is an input.
        inputs, outputs = (width, pairs.num_actions) if pairs.discrete else (width + pairs.num_actions, 1)
        self._g = MLP((inputs, *hidden, outputs), "tanh", generator)
        self._h = MLP((width, *hidden, 1), "tanh", generator)
        self._standardizer = Standardizer(width)
        self._standardizer.update(pairs.observations)
        self._parameters = [*self._g.parameters(), *self._h.parameters()]
        self._adam = Adam(self._parameters, settings.learning_rate)

    def f(self, of: Transitions) -> Tensor:
        """f(s, a, s'), (B,)."""
        s, following = (torch.from_numpy(self._standardizer(rows)) for rows in (of.observations, of.following))
        a = torch.from_numpy(of.actions)
        g = self._g(s).gather(1, a.unsqueeze(1)) if self._discrete else self._g(torch.cat((s, a), 1))
        goes_on = torch.from_numpy(~of.ended).float().unsqueeze(1)
        return (g + self._gamma * goes_on * self._h(following) - self._h(s))[:, 0]

    @torch.no_grad()
    def _log_pi(self, of: Transitions) -> Tensor:
        """log pi(a|s) under the policy as it is, (B,)."""
        outputs, actions = torch.from_numpy(self.policy.output(of.observations)), torch.from_numpy(of.actions)
        return self.policy.distribution.log_probability(outputs, self.policy.log_std, actions)

    @torch.no_grad()
    def reward(self, batch: Batch) -> NDArray[np.float64]:
        """Rewards (T, N): f - log pi of the policy that sampled the batch, shifted."""
        logits = (self.f(transitions_of(batch)).numpy() - batch.rows(batch.log_probabilities)).astype(np.float64)
        return batch.grid(self._shift(logits))

    def fit(self, batch: Batch) -> dict[str, float]:
        """One Adam step on the batch and all of the expert's transitions.

        Both sides take log pi of the policy as it is after its step, which samples and is rewarded next.
        """
        sampled, expert = transitions_of(batch), self._expert
        self._standardizer.update(sampled.observations)
        policy_logits = self.f(sampled) - self._log_pi(sampled)
        expert_logits = self.f(expert) - self._log_pi(expert)
        loss = softplus(policy_logits).mean() + softplus(-expert_logits).mean()
        self._adam.step(flatten(torch.autograd.grad(loss, self._parameters)))
        return {
            "discriminator_loss": float(loss.detach()),
            "expert_accuracy": float((expert_logits > 0).float().mean()),
            "policy_accuracy": float((policy_logits < 0).float().mean()),
        }

    def state(self) -> State:
        return join(
            {
                "networks": {"parameters": flatten(self._parameters).numpy()},
                "standardizer": self._standardizer.state(),
                "adam": self._adam.state(),
                "shift": {"extreme": np.array([self._shift.extreme])},
            }
        )

    def load_state(self, state: State) -> None:
        assign(self._parameters, torch.from_numpy(state["networks.parameters"]))
        self._standardizer.load_state(part(state, "standardizer"))
        self._adam.load_state(part(state, "adam"))
        self._shift.extreme = float(state["shift.extreme"][0])


def transitions_of(batch: Batch) -> Transitions:
    """A batch's B transitions."""
    following, ended = batch.rows(batch.next_observations), batch.rows(batch.terminated)
    return Transitions(batch.observation_rows, batch.action_rows, following, ended)


def make(assignment: Assignment) -> RewardLearner:
    """AIRL's learner: gailbench's loop with this reward."""
    reward = Airl(assignment)
    learner = imitate(assignment, reward)
    reward.policy = learner.policy
    return learner
