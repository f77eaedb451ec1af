"""Behavioral cloning: supervised learning of the expert's actions (Ho & Ermon 2016, Section 6).

Adam maximizes the likelihood on minibatches drawn with replacement from 70 % of the pairs. The policy with the lowest
loss on the other 30 % is kept. This loss is the mean squared error of the mean (Gaussian) or the negative
log-likelihood (softmax). The first validation is after one step: the untrained policy must never be kept, although
with few pairs it may have the lowest loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gailbench.algorithms import Assignment
from gailbench.demonstrations import Pairs
from gailbench.networks import Adam, objective_gradient
from gailbench.plumbing.state import State, join, part
from gailbench.plumbing.streams import pack, unpack
from gailbench.plumbing.typed import Count, Positive, PositiveShare
from gailbench.policy import Policy


@dataclass(frozen=True)
class BcSettings:
    """Settings of behavioral cloning; the defaults are the paper's.

    Attributes:
        learning_rate: Learning rate of Adam.
        batch: Pairs per gradient step.
        training_fraction: Fraction of the pairs that is for training; the others are for validation.
        hidden: Widths of the hidden layers.
    """

    learning_rate: Positive = 1e-3
    batch: Count = 128
    training_fraction: PositiveShare = 0.7
    hidden: tuple[Count, ...] = (100, 100)


class BehavioralCloning:
    """A policy that is trained by supervised learning.

    Args:
        expert: The demonstrated pairs.
        steps: Total number of gradient steps.
        validate_every: Gradient steps between two validations.
        settings: Settings of behavioral cloning.
        generator: Draws the split, the minibatches and the initial weights.

    Attributes:
        policy: The policy after the last gradient step. When training has ended, the policy with the lowest validation
            loss.
        iteration: Gradient steps so far.
    """

    def __init__(
        self, expert: Pairs, steps: int, validate_every: int, settings: BcSettings, generator: np.random.Generator
    ) -> None:
        self.settings, self._generator = settings, generator
        self._steps, self._validate_every = steps, validate_every
        self.policy = Policy(
            expert.observations.shape[1],
            expert.num_actions,
            expert.discrete,
            settings.hidden,
            generator=generator,
        )
        self.policy.standardizer.update(expert.observations)
        observations = torch.from_numpy(self.policy.standardizer(expert.observations))
        actions = torch.from_numpy(expert.actions)
        order = torch.from_numpy(generator.permutation(len(expert)))
        # Both sides get at least one pair.
        split = min(max(round(settings.training_fraction * len(expert)), 1), max(len(expert) - 1, 1))
        training, validation = order[:split], order[split:] if split < len(expert) else order
        self._training = observations[training], actions[training]
        self._validation = observations[validation], actions[validation]

        self._adam = Adam(self.policy.ordered_parameters(), settings.learning_rate)
        self.iteration = 0
        self._best, self._best_policy = float("inf"), self.policy.state()

    def iterate(self) -> dict[str, float]:
        """Train up to the next validation; return a row of the learning curve. The last call restores the best one."""
        settings, policy = self.settings, self.policy
        observations, actions = self._training
        # The first validation is after the first step, the others after multiples of validate_every.
        every = self._validate_every
        end = min((self.iteration // every + 1) * every, self._steps) if self.iteration else 1
        losses = []
        for _ in range(self.iteration, end):
            rows = torch.from_numpy(self._generator.integers(len(actions), size=settings.batch))
            losses.append(self._step(observations[rows], actions[rows]))
        self.iteration = end
        validation_loss = self._validation_loss()
        if validation_loss < self._best:
            self._best, self._best_policy = validation_loss, policy.state()
        row = {
            "iteration": self.iteration,
            "training_loss": float(np.mean(losses)),
            "validation_loss": validation_loss,
            "entropy": self._entropy(),
        }
        if self.iteration == self._steps:
            policy.load_state(self._best_policy)
        return row

    def state(self) -> State:
        """Return everything that the next step depends on."""
        return join(
            {
                "policy": self.policy.state(),
                "best": self._best_policy,
                "adam": self._adam.state(),
                "loop": {
                    "progress": np.array([self.iteration]),
                    "best": np.array([self._best]),
                    "stream": pack(self._generator),
                },
            }
        )

    def load_state(self, state: State) -> None:
        """Continue from a value of `state`. The pairs and their split must be the same."""
        self.policy.load_state(part(state, "policy"))
        self._best_policy = part(state, "best")
        self._adam.load_state(part(state, "adam"))
        self.iteration, self._best = int(state["loop.progress"][0]), float(state["loop.best"][0])
        unpack(self._generator, state["loop.stream"])

    def _step(self, observations: Tensor, actions: Tensor) -> float:
        """Take one Adam step on the negative log-likelihood of these pairs; return its value before the step."""
        policy = self.policy

        def loss(output: Tensor, rows: slice) -> Tensor:
            return -policy.distribution.log_probability(output, policy.log_std, actions[rows]).sum() / len(actions)

        gradient, output = objective_gradient(policy.network, observations, loss, [policy.log_std])
        with torch.no_grad():
            before = float(loss(output, slice(None)))
        self._adam.step(gradient)
        return before

    @torch.no_grad()
    def _validation_loss(self) -> float:
        observations, actions = self._validation
        policy = self.policy
        output = policy.network.evaluate(observations)
        if policy.discrete:
            return -float(policy.distribution.log_probability(output, policy.log_std, actions).mean())
        return float(torch.square(output - actions).mean())

    def _entropy(self) -> float:
        return self.policy.mean_entropy(self.policy.network.evaluate(self._validation[0]).numpy())


def make(assignment: Assignment) -> BehavioralCloning:
    """Return the learner of behavioral cloning."""
    return BehavioralCloning(
        assignment.expert,
        assignment.iterations,
        assignment.task.bc_validate_every,
        assignment.settings,
        assignment.stream("bc"),
    )
