"""Generative adversarial imitation learning (Ho & Ermon 2016, Section 5).

The discriminator's logit is high for the expert. Each iteration takes one Adam step on

    mean over policy of -log(1 - sigmoid(logit)) + mean over expert of -log sigmoid(logit) - c H(D).

This is the logistic loss (eq. 16, with the expert as class 1), averaged over each class and summed, minus the weighted
entropy of the discriminator. Without the entropy term the loss at the optimum is 2 log 2 - 2 JS, where JS is the
Jensen-Shannon divergence between the two occupancy measures (Section 4). So log 2 - loss / 2 estimates JS.

The reward is -log(1 - sigmoid(logit)) = softplus(logit) >= 0 if episodes end early on failure, and
log sigmoid(logit) = -softplus(-logit) <= 0 if they end early on success.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from gailbench.algorithms import Assignment
from gailbench.algorithms.loop import RewardLearner, imitate
from gailbench.demonstrations import Pairs
from gailbench.networks import MLP, Adam, Standardizer, assign, flatten, objective_gradient
from gailbench.plumbing.state import State, join, part
from gailbench.plumbing.streams import pack, unpack
from gailbench.plumbing.typed import Count, NotNegative, Positive
from gailbench.sampling import Batch
from gailbench.tasks import RewardSign


@dataclass(frozen=True)
class GailSettings:
    """Settings of the discriminator; the defaults are the paper's.

    Attributes:
        learning_rate: Learning rate of Adam.
        discriminator_entropy: c, weight of the discriminator's entropy in its loss.
        hidden: Widths of the hidden layers.
    """

    learning_rate: Positive = 0.01
    discriminator_entropy: NotNegative = 0.001
    hidden: tuple[Count, ...] = (100, 100)


class Gail:
    """The discriminator, which gives the reward.

    Args:
        expert: The demonstrated pairs.
        reward_sign: "positive" or "negative", see the head of this module.
        generator: Draws the initial weights and resamples the expert's pairs.
        settings: Settings of the discriminator.
    """

    def __init__(
        self,
        expert: Pairs,
        reward_sign: RewardSign,
        generator: np.random.Generator,
        settings: GailSettings | None = None,
    ) -> None:
        self.settings = settings or GailSettings()
        self._expert, self._sign, self._generator = expert, reward_sign, generator
        self._expert_inputs = expert.inputs(expert.observations, expert.actions)
        inputs = self._expert_inputs.shape[1]
        # For discrete actions the input is the observation, and there is one logit per action.
        outputs = expert.num_actions if expert.discrete else 1
        self.network = MLP((inputs, *self.settings.hidden, outputs), "tanh", generator)
        self.standardizer = Standardizer(inputs)
        self.standardizer.update(self._expert_inputs)
        self._adam = Adam(self.network.parameters(), self.settings.learning_rate)

    def _features(self, inputs: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(self.standardizer(inputs))

    def _chosen(self, outputs: Tensor, actions: NDArray[np.generic]) -> Tensor:
        """Return the logits (B,) of the pairs, from the network's outputs (B, 1) or (B, A)."""
        if self._expert.discrete:
            return outputs.gather(1, torch.from_numpy(actions).unsqueeze(1))[:, 0]
        return outputs[:, 0]

    def reward(self, batch: Batch) -> NDArray[np.float64]:
        """Return the rewards (T, N) by the current discriminator."""
        actions = batch.action_rows
        inputs = self._expert.inputs(batch.observation_rows, actions)
        logits = self._chosen(self.network.evaluate(self._features(inputs)), actions)
        rewards = softplus(logits) if self._sign == "positive" else -softplus(-logits)
        return batch.grid(rewards.numpy().astype(np.float64))

    def fit(self, batch: Batch) -> dict[str, float]:
        """Take one Adam step on the batch and as many pairs of the expert, drawn with replacement."""
        size, expert = len(batch), self._expert
        # Drawing B of M pairs with replacement is equivalent to giving the M pairs multinomial weights.
        counts = self._generator.multinomial(size, np.full(len(expert), 1 / len(expert)))
        weights = torch.from_numpy(counts.astype(np.float32) / size)
        actions = batch.action_rows
        inputs = expert.inputs(batch.observation_rows, actions)
        self.standardizer.update(inputs)
        self.standardizer.update(self._expert_inputs, counts)
        c = self.settings.discriminator_entropy

        def policy_part(outputs: Tensor, rows: slice) -> Tensor:
            logits = self._chosen(outputs, actions[rows])
            return (softplus(logits) - c * _entropy(logits)).sum() / size

        def expert_part(outputs: Tensor, rows: slice) -> Tensor:
            logits = self._chosen(outputs, expert.actions[rows])
            return weights[rows] @ (softplus(-logits) - c * _entropy(logits))

        gradient, policy_outputs = objective_gradient(self.network, self._features(inputs), policy_part)
        expert_gradient, expert_outputs = objective_gradient(
            self.network, self._features(self._expert_inputs), expert_part
        )
        self._adam.step(gradient + expert_gradient)

        policy_logits = self._chosen(policy_outputs, actions)
        expert_logits = self._chosen(expert_outputs, expert.actions)
        loss = float(softplus(policy_logits).mean() + weights @ softplus(-expert_logits))
        return {
            "discriminator_loss": loss,
            "expert_accuracy": float(weights @ (expert_logits > 0).float()),
            "policy_accuracy": float((policy_logits < 0).float().mean()),
            "jensen_shannon": float(np.log(2) - loss / 2),
        }

    def state(self) -> State:
        return join(
            {
                "network": {"parameters": flatten(self.network.parameters()).numpy()},
                "standardizer": self.standardizer.state(),
                "generator": {"state": pack(self._generator)},
                "adam": self._adam.state(),
            }
        )

    def load_state(self, state: State) -> None:
        assign(self.network.parameters(), torch.from_numpy(state["network.parameters"]))
        self.standardizer.load_state(part(state, "standardizer"))
        unpack(self._generator, state["generator.state"])
        self._adam.load_state(part(state, "adam"))


def _entropy(logits: Tensor) -> Tensor:
    """Return the entropy of Bernoulli(sigmoid(logit)), elementwise."""
    return softplus(logits) - logits * torch.sigmoid(logits)


def make(assignment: Assignment) -> RewardLearner:
    """Return the learner of GAIL."""
    reward = Gail(assignment.expert, assignment.task.reward_sign, assignment.stream("reward"), assignment.settings)
    return imitate(assignment, reward)
