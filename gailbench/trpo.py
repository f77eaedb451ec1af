"""Trust-region policy optimization (Schulman et al. 2015), and a value function that is fitted by the same steps.

The formulas are pure functions. `policy_step` and `ValueFunction.fit` combine them.

Legend: T steps, N environments, B pairs, O dimension of observations, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gailbench.networks import MLP, Activation, Standardizer, assign, flatten, objective_gradient
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.state import State, join, part
from gailbench.plumbing.typed import Count, CountOrZero, NotNegative, Positive, PositiveShare, Share
from gailbench.policy import Policy
from gailbench.sampling import Batch

Floats = NDArray[np.float64]
# Trust-region steps of the value function per iteration in which only the value function is trained.
CATCH_UP = 10


@dataclass(frozen=True)
class TrustRegion:
    """Settings of a trust-region step; the defaults are those of the authors' code.

    Attributes:
        limit: Size of the trust region: mean KL(old || new) of a policy, mean squared change of a value function.
        iterations: Maximum number of conjugate gradient iterations.
        tolerance: Conjugate gradient ends when the norm of the residual, relative to the gradient's, is below this.
        damping: Added to the diagonal of the curvature.
        subsample: Fraction of the batch, drawn with replacement, for curvature products.
        halvings: Maximum number of halvings in the line search.
        accept: A step is accepted from this fraction of the predicted improvement on.
        wall: A step is rejected if its divergence is above this multiple of the limit.
        smallest_gradient: No step is taken if the largest entry of the gradient is below this.
    """

    limit: Positive = 0.01
    iterations: Count = 10
    tolerance: NotNegative = 1e-5
    damping: NotNegative = 0.1
    subsample: PositiveShare = 0.1
    halvings: CountOrZero = 10
    accept: Share = 0.1
    wall: Positive = 2.0
    smallest_gradient: NotNegative = 1e-6


@dataclass(frozen=True)
class StepOutcome:
    """The outcome of a trust-region step. The defaults are the outcome of no step.

    Attributes:
        accepted: Whether the parameters changed.
        halvings: How often the step was halved.
        improvement: Improvement of the objective.
        divergence: Divergence between before and after, in the measure of the trust region.
    """

    accepted: bool = False
    halvings: int = 0
    improvement: float = 0.0
    divergence: float = 0.0


def discounted_returns(rewards: Floats, done: NDArray[np.bool_], gamma: float) -> Floats:
    """Return R_t = r_t + gamma R_{t+1}, (T, N), within each episode; R is 0 after an episode's end.

    Raises:
        GailbenchError: The rewards are not one per step and environment. NumPy could repeat them silently.
    """
    if rewards.shape != done.shape:
        raise GailbenchError(f"the reward is an array of shape {rewards.shape}, expected {done.shape} as of the batch")
    returns = np.empty_like(rewards)
    following = np.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        following = rewards[t] + gamma * np.where(done[t], 0.0, following)
        returns[t] = following
    return returns


def generalized_advantages(
    rewards: Floats,
    values: Floats,
    done: NDArray[np.bool_],
    gamma: float,
    lam: float,
) -> Floats:
    """Return the generalized advantages (Schulman et al. 2016, eq. 16): A_t = sum_l (gamma lambda)^l delta_{t+l}, (T,
    N), with delta_t = r_t + gamma V_{t+1} - V_t. V is 0 after an episode's end, also if the time limit ended it."""
    advantages = np.empty_like(rewards)
    following_value = np.zeros(rewards.shape[1])
    following = np.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * np.where(done[t], 0.0, following_value) - values[t]
        following = delta + gamma * lam * np.where(done[t], 0.0, following)
        advantages[t] = following
        following_value = values[t]
    return advantages


def standardized(advantages: Floats, limit: float | None = None) -> NDArray[np.float32]:
    """Return advantages (B,) with mean 0 and standard deviation 1.

    With a limit, advantages further from the median than `limit` robust standard deviations are first set to this
    distance. The robust standard deviation is 1.4826 times the median distance from the median; if it is 0, nothing is
    limited. Where few episodes end in a fall, the steps before the falls otherwise make up most of the variance of the
    advantages, and most of the noise of the policy's gradient.
    """
    if limit is not None:
        median = np.median(advantages)
        distance = limit * 1.4826 * np.median(np.abs(advantages - median))
        if distance > 0:
            advantages = np.clip(advantages, median - distance, median + distance)
    return ((advantages - advantages.mean()) / (advantages.std() + 1e-8)).astype(np.float32)


def conjugate_gradient(
    matvec: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Solve A x = b for a positive definite A, given by its product with vectors. It ends when the norm of the residual
    is below `tolerance` |b|.

    Returns:
        x and A x, both (P,). A x needs no further product.
    """
    x = torch.zeros_like(b)
    residual = b.clone()
    direction = b.clone()
    squared = residual @ residual
    enough = tolerance**2 * squared
    for _ in range(iterations):
        if squared <= enough:
            break
        product = matvec(direction)
        alpha = squared / (direction @ product)
        x += alpha * direction
        residual -= alpha * product
        following = residual @ residual
        direction = residual + (following / squared) * direction
        squared = following
    return x, b - residual


def trust_region_step(
    parameters: Iterable[Tensor],
    gradient: Tensor,
    curvature: Callable[[Tensor], Tensor],
    evaluate: Callable[[], tuple[float, float]],
    settings: TrustRegion,
) -> StepOutcome:
    """Maximize an objective within the trust region, in place.

    Args:
        parameters: The parameters, changed in place.
        gradient: Gradient of the objective, (P,).
        curvature: v -> H v, where H is the undamped Hessian of the divergence at the current parameters.
        evaluate: () -> (improvement of the objective, divergence), for the parameters at the time of the call.
        settings: Settings of the trust region.
    """
    parameters = list(parameters)
    if not torch.isfinite(gradient).all() or gradient.abs().max() < settings.smallest_gradient:
        return StepOutcome()

    def damped(v: Tensor) -> Tensor:
        return curvature(v) + settings.damping * v

    direction, product = conjugate_gradient(damped, gradient, settings.iterations, settings.tolerance)
    # 1/2 s^T H s = limit
    step = direction * torch.sqrt(2 * settings.limit / (direction @ product))
    predicted = float(gradient @ step)
    before = flatten(parameters)
    for halvings in range(settings.halvings + 1):
        fraction = 0.5**halvings
        assign(parameters, before + fraction * step)
        improvement, divergence = evaluate()
        enough = improvement >= settings.accept * fraction * predicted
        if enough and divergence <= settings.wall * settings.limit:
            return StepOutcome(True, halvings, improvement, divergence)
    assign(parameters, before)
    return StepOutcome(halvings=settings.halvings)


def subsample(count: int, fraction: float, generator: np.random.Generator) -> Tensor:
    """Return indices of a fraction of `count` rows, drawn with replacement."""
    return torch.from_numpy(generator.integers(count, size=max(1, round(fraction * count))))


def fisher_product(policy: Policy, observations: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the function v -> F v. F is the Hessian of the mean KL(old || new) over standardized observations (B, O)
    at the policy's current parameters: J^T M J, where M is the Fisher information of the distribution's parameters."""
    linearization = policy.network.linearize(observations)
    output, free = linearization.output, policy.log_std.detach()
    size = free.numel()

    def product(v: Tensor) -> Tensor:
        network, own = v[: v.numel() - size], v[v.numel() - size :]
        change = policy.distribution.fisher(output, free, linearization.jvp(network))
        return torch.cat((linearization.vjp(change / len(observations)), policy.distribution.fisher_free(free, own)))

    return product


def policy_step(
    policy: Policy,
    batch: Batch,
    advantages: NDArray[np.float32],
    generator: np.random.Generator,
    settings: TrustRegion,
) -> StepOutcome:
    """Take a trust-region step of the policy on the surrogate mean(pi_new / pi_old * A) (Schulman et al. 2015, eq. 14).

    Args:
        policy: The policy, changed in place. Its standardizer does not change.
        batch: A batch that was sampled by the policy with its current parameters.
        advantages: Standardized advantages, (B,).
        generator: Draws the rows for curvature products.
        settings: Settings of the trust region.
    """
    distribution = policy.distribution
    observations = torch.from_numpy(policy.standardizer(batch.observation_rows))
    actions = torch.from_numpy(batch.action_rows)
    old_output = torch.from_numpy(batch.rows(batch.outputs))
    old_free = policy.log_std.detach().clone()
    old_log_probability = torch.from_numpy(batch.rows(batch.log_probabilities))
    weights = torch.from_numpy(advantages)

    def surrogate(output: Tensor, rows: slice = slice(None)) -> Tensor:
        log_probability = distribution.log_probability(output, policy.log_std, actions[rows])
        ratio = torch.exp(log_probability - old_log_probability[rows])
        return (ratio * weights[rows]).sum() / len(batch)

    @torch.no_grad()
    def evaluate() -> tuple[float, float]:
        output = policy.network.evaluate(observations)
        kl = distribution.kl(old_output, old_free, output, policy.log_std).mean()
        return float(surrogate(output) - before), float(kl)

    gradient, output = objective_gradient(policy.network, observations, surrogate, [policy.log_std])
    with torch.no_grad():
        before = surrogate(output)
    curvature = fisher_product(policy, observations[subsample(len(batch), settings.subsample, generator)])
    return trust_region_step(policy.ordered_parameters(), gradient, curvature, evaluate, settings)


class ValueFunction:
    """V(s, t): a network on the standardized observation and t / horizon that predicts standardized returns.

    Args:
        observation_dim: O.
        horizon: Time limit, in steps.
        hidden: Widths of the hidden layers.
        activation: Activation of the hidden layers.
        generator: Draws the initial weights.
        settings: Trust region of a fit. Its measure is the mean squared change of the network's output.
    """

    def __init__(
        self,
        observation_dim: int,
        horizon: int,
        hidden: tuple[int, ...],
        activation: Activation,
        generator: np.random.Generator,
        settings: TrustRegion,
    ) -> None:
        self.network = MLP((observation_dim + 1, *hidden, 1), activation, generator)
        self.horizon = horizon
        self.settings = settings
        self.inputs = Standardizer(observation_dim)
        self.targets = Standardizer(1)

    def _features(self, observations: NDArray[np.float32], times: NDArray[np.int64]) -> Tensor:
        features = np.empty((len(observations), observations.shape[1] + 1), dtype=np.float32)
        features[:, :-1] = self.inputs(observations)
        features[:, -1] = times / self.horizon
        return torch.from_numpy(features)

    def predict(self, observations: NDArray[np.float32], times: NDArray[np.int64]) -> Floats:
        """Return the values (B,) at observations (B, O) and times (B,)."""
        return self.targets.invert(self.network.evaluate(self._features(observations, times)).numpy())[:, 0]

    def predict_batch(self, batch: Batch) -> Floats:
        """Return the values (T, N) of a batch's pairs."""
        return batch.grid(self.predict(batch.observation_rows, batch.rows(batch.times)))

    def fit(self, batch: Batch, returns: Floats, generator: np.random.Generator, catch_up: bool = False) -> StepOutcome:
        """Update the standardizers with this batch, then take a trust-region step on the mean squared error against
        returns (T, N), or `CATCH_UP` steps. Return the outcome of the last step."""
        self.inputs.update(batch.observation_rows)
        observed = batch.rows(returns)[:, None]
        self.targets.update(observed)
        features = self._features(batch.observation_rows, batch.rows(batch.times))
        target = torch.from_numpy(self.targets(observed))
        outcome = StepOutcome()
        for _ in range(CATCH_UP if catch_up else 1):
            outcome = self._step(features, target, generator)
        return outcome

    def _step(self, features: Tensor, target: Tensor, generator: np.random.Generator) -> StepOutcome:
        """Take one trust-region step on the mean squared error at features (B, O + 1) against targets (B, 1)."""

        def objective(output: Tensor, rows: slice = slice(None)) -> Tensor:
            return -torch.square(output - target[rows]).sum() / len(features)

        gradient, old = objective_gradient(self.network, features, objective)
        before = objective(old)
        rows = features[subsample(len(features), self.settings.subsample, generator)]
        linearization = self.network.linearize(rows)

        def curvature(v: Tensor) -> Tensor:
            return linearization.vjp(linearization.jvp(v) * (2 / len(rows)))

        def evaluate() -> tuple[float, float]:
            new = self.network.evaluate(features)
            return float(objective(new) - before), float(torch.square(new - old).mean())

        return trust_region_step(self.network.parameters(), gradient, curvature, evaluate, self.settings)

    def state(self) -> State:
        """Return everything that the next fit depends on."""
        return join(
            {
                "network": {"parameters": flatten(self.network.parameters()).numpy()},
                "inputs": self.inputs.state(),
                "targets": self.targets.state(),
            }
        )

    def load_state(self, state: State) -> None:
        """Continue from a value of `state`."""
        assign(self.network.parameters(), torch.from_numpy(state["network.parameters"]))
        self.inputs.load_state(part(state, "inputs"))
        self.targets.load_state(part(state, "targets"))
