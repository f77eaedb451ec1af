"""Stochastic policies: a network on standardized observations, and a distribution of actions given its output.

Gaussian: the network gives the mean; the log standard deviation is a free parameter per action. Softmax: the network
gives one logit per action. Actions are neither clipped nor squashed.

Legend: B rows, P parameters, O dimension of observations, A dimension of actions (discrete: number of actions).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gailbench.networks import MLP, Activation, Standardizer, flatten
from gailbench.plumbing import checkpoints
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.state import State, join, part

LOG_2PI = float(np.log(2 * np.pi))


Actor = Callable[
    [NDArray[np.floating[Any]], NDArray[Any] | None],
    tuple[NDArray[Any], NDArray[np.float32]],
]


class Distribution(Protocol):
    """The formulas of a family of action distributions. `output` (B, A) is the network's output. `free` are the
    parameters besides the network's."""

    def log_probability(self, output: Tensor, free: Tensor, actions: Tensor) -> Tensor:
        """Return log pi(a|s), (B,)."""

    def kl(self, old_output: Tensor, old_free: Tensor, output: Tensor, free: Tensor) -> Tensor:
        """Return KL(old || new) of each row, (B,)."""

    def entropy(self, output: Tensor, free: Tensor) -> Tensor:
        """Return the entropy of each row, (B,)."""

    def fisher(self, output: Tensor, free: Tensor, direction: Tensor) -> Tensor:
        """Return the product (B, A) of the Fisher information of each row's output and a change of outputs (B, A)."""

    def fisher_free(self, free: Tensor, direction: Tensor) -> Tensor:
        """Return the product of the Fisher information of the free parameters and a change of them."""

    def sample(
        self, output: NDArray[np.float32], free: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> NDArray[Any]:
        """Return actions, computed from noise that `noise` drew."""

    def noise(self, generator: np.random.Generator, shape: tuple[int, ...], action_dim: int) -> NDArray[Any]:
        """Draw the noise that `sample` needs, for rows of a given shape."""

    def mode(self, output: NDArray[np.float32]) -> NDArray[Any]:
        """Return the most probable actions."""


class Gaussian:
    """Independent normal distributions: mean = output, log standard deviation = free (A,)."""

    def log_probability(self, output: Tensor, free: Tensor, actions: Tensor) -> Tensor:
        z = (actions - output) * torch.exp(-free)
        return -0.5 * (z * z).sum(-1) - free.sum() - 0.5 * LOG_2PI * free.numel()

    def kl(self, old_output: Tensor, old_free: Tensor, output: Tensor, free: Tensor) -> Tensor:
        precision = torch.exp(-2 * free)
        gap = old_output - output
        constant = (free - old_free + 0.5 * torch.exp(2 * (old_free - free)) - 0.5).sum()
        return 0.5 * (gap * gap) @ precision + constant

    def entropy(self, output: Tensor, free: Tensor) -> Tensor:
        return (free.sum() + 0.5 * (LOG_2PI + 1) * free.numel()).expand(len(output))

    def fisher(self, output: Tensor, free: Tensor, direction: Tensor) -> Tensor:
        return direction * torch.exp(-2 * free)

    def fisher_free(self, free: Tensor, direction: Tensor) -> Tensor:
        return 2 * direction

    def sample(
        self, output: NDArray[np.float32], free: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        sampled: NDArray[np.float32] = np.exp(free, dtype=np.float32) * noise
        return np.add(output, sampled, out=sampled)

    def noise(self, generator: np.random.Generator, shape: tuple[int, ...], action_dim: int) -> NDArray[np.float32]:
        return generator.standard_normal((*shape, action_dim), dtype=np.float32)

    def mode(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        return output


class Softmax:
    """Categorical distribution: logits = output; no free parameters."""

    def log_probability(self, output: Tensor, free: Tensor, actions: Tensor) -> Tensor:
        return torch.log_softmax(output, -1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def kl(self, old_output: Tensor, old_free: Tensor, output: Tensor, free: Tensor) -> Tensor:
        old, new = torch.log_softmax(old_output, -1), torch.log_softmax(output, -1)
        return (old.exp() * (old - new)).sum(-1)

    def entropy(self, output: Tensor, free: Tensor) -> Tensor:
        log_p = torch.log_softmax(output, -1)
        return -(log_p.exp() * log_p).sum(-1)

    def fisher(self, output: Tensor, free: Tensor, direction: Tensor) -> Tensor:
        p = torch.softmax(output, -1)
        return p * (direction - (p * direction).sum(-1, keepdim=True))

    def fisher_free(self, free: Tensor, direction: Tensor) -> Tensor:
        return direction

    def sample(
        self, output: NDArray[np.float32], free: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        # Inverse of the distribution function. Scaling the noise by the last value saves normalizing.
        cumulative = np.cumsum(np.exp(output - output.max(-1, keepdims=True)), axis=-1)
        return (noise[..., None] * cumulative[..., -1:] >= cumulative[..., :-1]).sum(-1)

    def noise(self, generator: np.random.Generator, shape: tuple[int, ...], action_dim: int) -> NDArray[np.float32]:
        return generator.random(shape, dtype=np.float32)

    def mode(self, output: NDArray[np.float32]) -> NDArray[np.int64]:
        return output.argmax(-1)


class Policy(nn.Module):
    """pi(a|s): standardizer, network and distribution.

    Args:
        observation_dim: O.
        action_dim: A; for discrete actions the number of actions.
        discrete: Softmax if true, otherwise Gaussian.
        hidden: Widths of the hidden layers.
        activation: Activation of the hidden layers.
        generator: Draws the initial weights. With None they are zero, to be loaded later.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        discrete: bool,
        hidden: tuple[int, ...] = (100, 100),
        activation: Activation = "tanh",
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.observation_dim, self.action_dim, self.discrete = observation_dim, action_dim, discrete
        self.hidden, self.activation = tuple(hidden), activation
        self.network = MLP((observation_dim, *hidden, action_dim), activation, generator)
        self.log_std = nn.Parameter(torch.zeros(0 if discrete else action_dim))
        self.distribution: Distribution = Softmax() if discrete else Gaussian()
        self.standardizer = Standardizer(observation_dim)

    def ordered_parameters(self) -> list[Tensor]:
        """Return the network's parameters (in the order of `Linearization`), then the free parameters."""
        return [*self.network.parameters(), self.log_std]

    def scale_noise(self, factor: float) -> None:
        """Multiply the standard deviations of the actions (Gaussian policies) by a factor."""
        with torch.no_grad():
            self.log_std.add_(math.log(factor))

    def vector(self) -> Tensor:
        """Return all parameters in one vector (P,)."""
        return flatten(self.ordered_parameters())

    def output(self, observations: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the means or logits (B, A) at observations (B, O)."""
        return self.network.numpy_forward()(self.standardizer(observations))

    def actor(self) -> Actor:
        """Return a function (observations (B, O), noise) -> (actions, outputs) with the current parameters. If noise is
        None, the actions are the most probable ones."""
        forward, standardize, distribution = self.network.numpy_forward(), self.standardizer, self.distribution
        free = self.log_std.detach().numpy()

        def act(
            observations: NDArray[np.floating], noise: NDArray[Any] | None
        ) -> tuple[NDArray[Any], NDArray[np.float32]]:
            output = forward(standardize(observations))
            if noise is None:
                return distribution.mode(output), output
            return distribution.sample(output, free, noise), output

        return act

    def predict(
        self,
        observation: NDArray[Any],
        state: None = None,
        episode_start: None = None,
        deterministic: bool = True,
        generator: np.random.Generator | None = None,
    ) -> tuple[Any, None]:
        """Return the action for one observation (O,), or the actions for several (B, O), and None. This is the
        interface of Stable-Baselines.

        Args:
            observation: The observation, as the environment gives it.
            state: Not used, since policies have no memory.
            episode_start: Not used.
            deterministic: Whether to take the most probable action instead of a sample.
            generator: Draws the sample; by default a new generator for each call.

        Raises:
            ValueError: The observation has a wrong number of entries.
        """
        rows = np.asarray(observation, dtype=np.float32)
        if rows.shape[-1:] != (self.observation_dim,) or rows.ndim > 2:
            raise ValueError(f"observation has shape {rows.shape}, expected ({self.observation_dim},) or rows of it")
        batch = np.atleast_2d(rows)
        noise = None
        if not deterministic:
            generator = generator or np.random.default_rng()
            noise = self.distribution.noise(generator, (len(batch),), self.action_dim)
        actions = self.actor()(batch, noise)[0]
        return (actions if rows.ndim == 2 else actions[0]), None

    @torch.inference_mode()
    def mean_entropy(self, output: NDArray[np.float32]) -> float:
        """Return the mean entropy of the action distributions with the network's outputs (B, A)."""
        return float(self.distribution.entropy(torch.from_numpy(output), self.log_std).mean())

    @property
    def finite(self) -> bool:
        """Whether all parameters and all numbers of the standardizer are finite."""
        return all(bool(np.isfinite(values).all()) for values in self.state().values())

    def configuration(self) -> dict[str, Any]:
        """Return the arguments with which `Policy` makes a policy of the same form."""
        return {
            "observation_dim": self.observation_dim,
            "action_dim": self.action_dim,
            "discrete": self.discrete,
            "hidden": list(self.hidden),
            "activation": self.activation,
        }

    def state(self) -> State:
        """Return the parameters and the standardizer, by name."""
        parameters = {name: p.detach().numpy().copy() for name, p in self.named_parameters()}
        return {**parameters, **join({"standardizer": self.standardizer.state()})}

    @torch.no_grad()
    def load_state(self, state: State) -> None:
        """Continue from a value of `state`.

        Raises:
            KeyError: A tensor is missing.
            ValueError: A tensor has a wrong shape. The message names it.
        """
        for name, parameter in self.named_parameters():
            if state[name].shape != tuple(parameter.shape):
                raise ValueError(f"{name} has shape {state[name].shape}, expected {tuple(parameter.shape)}")
            parameter.copy_(torch.from_numpy(np.asarray(state[name], dtype=np.float32)))
        own = part(state, "standardizer")
        if own["sum"].shape != (self.observation_dim,):
            raise ValueError(f"standardizer has {own['sum'].shape[0]} inputs, expected {self.observation_dim}")
        self.standardizer.load_state(own)


def policy_bytes(policy: Policy) -> bytes:
    """Return the content of a policy file: parameters, standardizer and configuration."""
    return checkpoints.to_bytes("policy", policy.state(), policy.configuration())


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        GailbenchError: The file is missing or damaged, or its tensors do not have the shapes of its configuration.
    """
    arrays, configuration = checkpoints.read(path, "policy")
    try:
        if configuration["activation"] not in get_args(Activation):
            raise ValueError(f"unknown activation '{configuration['activation']}'")
        policy = Policy(**{**configuration, "hidden": tuple(configuration["hidden"])})
        policy.load_state(arrays)
        if not policy.finite:
            raise ValueError("it has weights that are not finite numbers")
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError, ArithmeticError, MemoryError) as error:
        raise GailbenchError(f"policy in {path} is damaged: {error}") from None
    return policy
