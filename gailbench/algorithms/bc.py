"""Behavioral cloning: supervised learning of the expert's actions (Ho & Ermon 2016, Section 6).

Maximum likelihood by Adam on batches drawn with replacement from 70 % of the pairs; the snapshot that does best on
the other 30 % is kept, by the mean squared error of the mean (Gaussian) or by the log-likelihood (softmax). The
first snapshot is that after one step, not the untrained policy: few pairs can make every later one worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gailbench.demonstrations import Pairs
from gailbench.policy import Policy


@dataclass(frozen=True)
class BcSettings:
    """Settings of behavioral cloning; the defaults are the paper's.

    Attributes:
        steps: Gradient steps.
        validate_every: Gradient steps between two validations.
        learning_rate: Adam's.
        batch: Pairs per gradient step.
        training_fraction: Of the pairs; the others validate.
        hidden: Hidden widths.
    """

    steps: int
    validate_every: int
    learning_rate: float = 1e-3
    batch: int = 128
    training_fraction: float = 0.7
    hidden: tuple[int, ...] = (100, 100)


class BehavioralCloning:
    """A policy in supervised training.

    Args:
        expert: The demonstrated pairs.
        settings: See there.
        generator: Draws the split, the batches and the initial weights.

    Attributes:
        policy: As last trained; after `train` is exhausted, the best snapshot.
    """

    def __init__(self, expert: Pairs, settings: BcSettings, generator: np.random.Generator) -> None:
        self.settings, self._generator = settings, generator
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
        # At least one pair on either side, however few there are.
        split = min(max(round(settings.training_fraction * len(expert)), 1), max(len(expert) - 1, 1))
        training, validation = order[:split], order[split:] if split < len(expert) else order
        self._training = observations[training], actions[training]
        self._validation = observations[validation], actions[validation]

    def train(self) -> Iterator[dict[str, float]]:
        """Train; yield a row of the learning curve at each validation; end with the best snapshot."""
        settings, policy = self.settings, self.policy
        parameters = policy.ordered_parameters()
        adam = torch.optim.Adam(parameters, lr=settings.learning_rate)
        observations, actions = self._training
        best, best_state = float("inf"), policy.state()
        losses = []
        for step in range(1, settings.steps + 1):
            rows = torch.from_numpy(self._generator.integers(len(actions), size=settings.batch))
            loss = -self._log_likelihood(observations[rows], actions[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.detach())
            if step == 1 or step % settings.validate_every == 0 or step == settings.steps:
                validation_loss = self._validation_loss()
                if validation_loss < best:
                    best, best_state = validation_loss, policy.state()
                training_loss = float(torch.stack(losses).mean())
                losses.clear()
                yield {
                    "iteration": step,
                    "training_loss": training_loss,
                    "validation_loss": validation_loss,
                    "entropy": self._entropy(),
                }
        policy.load_state(best_state)

    def _log_likelihood(self, observations: Tensor, actions: Tensor) -> Tensor:
        policy = self.policy
        output = policy.network(observations)
        return policy.distribution.log_probability(output, policy.log_std, actions).mean()

    @torch.no_grad()
    def _validation_loss(self) -> float:
        observations, actions = self._validation
        if self.policy.discrete:
            return -float(self._log_likelihood(observations, actions))
        return float(torch.square(self.policy.network(observations) - actions).mean())

    @torch.no_grad()
    def _entropy(self) -> float:
        output = self.policy.network(self._validation[0])
        return float(self.policy.distribution.entropy(output, self.policy.log_std).mean())
