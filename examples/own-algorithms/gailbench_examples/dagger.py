"""Dataset aggregation (DAgger; Ross, Gordon & Bagnell 2011, Algorithm 3.1), with its parameter-free schedule.

The data begin as the demonstrated pairs. In each iteration the policy is trained on all of them by maximum likelihood,
samples a batch, and the expert is asked what it would do in the states that the policy came to. It answers with
samples, as in the demonstrations. Of a batch every k-th pair is kept, as of a demonstration. The data are part of the
state, so the checkpoint grows with them.

Legend: M pairs gathered so far, B rows, O observation, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gailbench.algorithms import Assignment
from gailbench.experts import load_demonstrator
from gailbench.networks import Adam, objective_gradient
from gailbench.plumbing.state import State, join, part
from gailbench.plumbing.streams import pack, unpack
from gailbench.policy import Policy
from gailbench.sampling import SamplerPool


@dataclass(frozen=True)
class DaggerSettings:
    """Settings of DAgger.

    Attributes:
        gradient_steps: In each iteration.
        minibatch: Pairs per gradient step.
        learning_rate: Adam's.
        hidden: Hidden widths.
    """

    gradient_steps: int = 500
    minibatch: int = 128
    learning_rate: float = 1e-3
    hidden: tuple[int, ...] = (100, 100)


class Dagger:
    """A policy that is trained on the expert's answers.

    Attributes:
        policy: As last trained.
        iteration: Iterations done.
        steps: Environment steps taken.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._settings: DaggerSettings = assignment.settings
        self._keep_every = assignment.task.keep_every
        expert = load_demonstrator(assignment.task, assignment.demonstrations, assignment.results)
        self._sampling, self._learning = assignment.stream("sampling"), assignment.stream("dagger")
        self._expert = expert
        self._pool = SamplerPool(assignment.task, assignment.loop.batch, [self._sampling])
        shape = expert.observation_dim, expert.action_dim, expert.discrete
        self.policy = Policy(*shape, self._settings.hidden, generator=self._learning)
        self._observations, self._actions = assignment.expert.observations, assignment.expert.actions
        self.policy.standardizer.update(self._observations)
        self._adam = Adam(self.policy.ordered_parameters(), self._settings.learning_rate)
        self.iteration = self.steps = 0

    def iterate(self) -> dict[str, float]:
        """Train, sample, ask; return a row of the learning curve."""
        loss = self._train()
        batch = self._pool.sample(self.policy)
        learning, expert = self._learning, self._expert
        visited = batch.observation_rows[learning.integers(self._keep_every) :: self._keep_every]
        noise = expert.distribution.noise(learning, (len(visited),), expert.action_dim)
        answers, _ = expert.actor()(visited, noise)
        self._observations = np.concatenate((self._observations, visited))
        self._actions = np.concatenate((self._actions, answers))

        self.iteration += 1
        self.steps += len(batch)
        return {
            "iteration": self.iteration,
            "steps": self.steps,
            **batch.episode_figures(),
            "entropy": self.policy.mean_entropy(batch.rows(batch.outputs)),
            "pairs": len(self._actions),
            "training_loss": loss,
        }

    def _train(self) -> float:
        """Take the gradient steps; return the mean negative log-likelihood of their minibatches."""
        policy, settings = self.policy, self._settings
        losses: list[float] = []
        for _ in range(settings.gradient_steps):
            rows = self._learning.integers(len(self._actions), size=settings.minibatch)
            observations = torch.from_numpy(policy.standardizer(self._observations[rows]))
            actions = torch.from_numpy(self._actions[rows])

            def loss(output: Tensor, block: slice, actions: Tensor = actions) -> Tensor:
                log_pi = policy.distribution.log_probability(output, policy.log_std, actions[block])
                losses.append(-float(log_pi.detach().mean()))  # a minibatch is one block
                return -log_pi.sum() / len(actions)

            gradient, _ = objective_gradient(policy.network, observations, loss, [policy.log_std])
            self._adam.step(gradient)
        return float(np.mean(losses))

    def state(self) -> State:
        """Return everything the next iteration depends on; `join` copies it."""
        return join(
            {
                "policy": self.policy.state(),
                "adam": self._adam.state(),
                "data": {"observations": self._observations, "actions": self._actions},
                "streams": {"sampling": pack(self._sampling), "learning": pack(self._learning)},
                "progress": {"iteration": np.array([self.iteration]), "steps": np.array([self.steps])},
            }
        )

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""
        self.policy.load_state(part(state, "policy"))
        self._adam.load_state(part(state, "adam"))
        self._observations, self._actions = state["data.observations"], state["data.actions"]
        self.iteration, self.steps = int(state["progress.iteration"][0]), int(state["progress.steps"][0])
        unpack(self._sampling, state["streams.sampling"])
        unpack(self._learning, state["streams.learning"])
