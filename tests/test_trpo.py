"""Advantages, conjugate gradient, the trust-region step, the policy's step and the value function."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from gailbench.algorithms.loop import LoopSettings, RewardLearner
from gailbench.algorithms.reward import TrueReward
from gailbench.networks import MLP, assign, flatten
from gailbench.policy import Policy
from gailbench.sampling import Batch
from gailbench.tasks import get_task
from gailbench.trpo import (
    TrustRegion,
    ValueFunction,
    conjugate_gradient,
    discounted_returns,
    fisher_product,
    generalized_advantages,
    policy_step,
    standardized,
    subsample,
    trust_region_step,
)

pytestmark = pytest.mark.usefixtures("one_thread")

MakeBatch = Callable[..., Batch]
SampleBatch = Callable[..., tuple[Policy, Batch]]
Poison = Callable[[Batch, float], Batch]

# What entries that are not valid may hold.
WASTE = [1e30, -1e30, float("nan")]

# ---- Discounted returns and advantages, three steps (rows) of three environments (columns):
# the first terminates after its second step, the second with the last, where the third reaches the time limit. What
# follows the first's end is another episode.

REWARDS = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [4.0, 4.0, 4.0]])
VALUES = np.array([[2.0, 2.0, 2.0], [4.0, 4.0, 4.0], [6.0, 6.0, 6.0]])
TERMINATED = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0]])
TRUNCATED = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1]])


def random_episodes(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rewards, values and ends of 60 steps of 5 environments: whole episodes."""
    generator = np.random.default_rng(seed)
    done = generator.random((60, 5)) < 0.1
    done[-1] = True
    return generator.normal(size=(60, 5)), generator.normal(size=(60, 5)), done


def test_discounted_returns_by_hand(make_batch: MakeBatch) -> None:
    done = make_batch(np.zeros((3, 3, 1)), np.zeros((3, 3)), terminated=TERMINATED, truncated=TRUNCATED).done
    returns = discounted_returns(REWARDS, done, 0.5)
    # 4 (the next episode) and 2 (its episode's last) and 2 = 1 + 2/2; 4, 4 = 2 + 4/2 and 3 = 1 + 4/2 of the others.
    assert_array_equal(returns, [[2, 3, 3], [2, 4, 4], [4, 4, 4]])


def test_advantages_by_hand(make_batch: MakeBatch) -> None:
    done = make_batch(np.zeros((3, 3, 1)), np.zeros((3, 3)), terminated=TERMINATED, truncated=TRUNCATED).done
    advantages = generalized_advantages(REWARDS, VALUES, done, 0.5, 0.5)
    # One-step errors: last steps 4 - 6 = -2, ended second step 2 - 4 = -2, other second steps 2 + 6/2 - 4 = 1, first
    # steps 1 + 4/2 - 2 = 1; then A = delta + A_next / 4.
    assert_array_equal(advantages, [[0.5, 1.125, 1.125], [-2, 0.5, 0.5], [-2, -2, -2]])


def test_lambda_1_gives_returns_minus_values() -> None:
    rewards, values, done = random_episodes()
    advantages = generalized_advantages(rewards, values, done, 0.9, 1.0)
    assert_allclose(advantages, discounted_returns(rewards, done, 0.9) - values, atol=1e-12)


def test_lambda_0_gives_one_step_errors() -> None:
    rewards, values, done = random_episodes()
    following = np.where(done, 0.0, np.concatenate((values[1:], np.zeros((1, 5)))))
    advantages = generalized_advantages(rewards, values, done, 0.9, 0.0)
    assert_allclose(advantages, rewards + 0.9 * following - values, atol=1e-12)


def test_advantages_are_discounted_sums_of_one_step_errors_within_the_episode() -> None:
    rewards, values, done = random_episodes(1)
    errors = generalized_advantages(rewards, values, done, 0.9, 0.0)
    expected = np.zeros_like(errors)
    for n in range(5):
        for t in range(60):
            for k in range(t, 60):
                expected[t, n] += (0.9 * 0.8) ** (k - t) * errors[k, n]
                if done[k, n]:
                    break
    assert_allclose(generalized_advantages(rewards, values, done, 0.9, 0.8), expected, atol=1e-12)


def test_standardized_advantages() -> None:
    found = standardized(np.array([1.0, 2.0, 6.0]))
    assert found.dtype == np.float32
    assert_allclose([found.mean(), found.std()], [0, 1], atol=1e-6)


def test_advantages_are_limited_in_robust_standard_deviations() -> None:
    advantages = 2.0 + 3.0 * np.random.default_rng(0).standard_normal(100_001)
    usual = standardized(np.clip(advantages, 2.0 - 4.5, 2.0 + 4.5))
    advantages[advantages.argsort()[:500]] = -1e6  # falls
    assert_allclose(standardized(advantages, 1.5), usual, atol=0.02)
    assert np.abs(standardized(advantages)[advantages > 0]).max() < 0.1  # without a limit nothing else is left
    mostly_equal = np.array([1.0, 1.0, 1.0, 1.0, 7.0])
    assert_array_equal(standardized(mostly_equal, 1.0), standardized(mostly_equal))


def test_nothing_leaks_across_an_episodes_end() -> None:
    rewards, values, done = random_episodes(2)
    done[:] = False
    done[[30, 59]] = True
    changed = [rewards.copy(), values.copy()]
    changed[0][31:] += 100
    changed[1][31:] -= 100
    for before, after in (
        (
            generalized_advantages(rewards, values, done, 0.9, 0.9),
            generalized_advantages(*changed, done, 0.9, 0.9),
        ),
        (
            discounted_returns(rewards, done, 0.9),
            discounted_returns(changed[0], done, 0.9),
        ),
    ):
        assert_array_equal(before[:31], after[:31])
        assert (before[31:] != after[31:]).all()


@pytest.mark.parametrize("value", [1e30, -1e30])
def test_what_waits_after_an_environments_last_episode_has_no_influence(value: float) -> None:
    rewards, values, done = random_episodes(5)
    last = np.array([59, 31, 50, 0, 17])
    done[last, np.arange(5)] = True
    valid = np.arange(60)[:, None] <= last
    done &= valid
    changed = [np.where(valid, array, value) for array in (rewards, values)]
    for before, after in (
        (discounted_returns(rewards, done, 0.9), discounted_returns(changed[0], done, 0.9)),
        (generalized_advantages(rewards, values, done, 0.9, 0.8), generalized_advantages(*changed, done, 0.9, 0.8)),
    ):
        assert_array_equal(before[valid], after[valid])


# ---- Conjugate gradient


def positive_definite(size: int, low: float, high: float, seed: int = 0) -> torch.Tensor:
    """A random matrix with eigenvalues from low to high, float64."""
    generator = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(generator.normal(size=(size, size)))
    return torch.from_numpy(basis @ np.diag(np.linspace(low, high, size)) @ basis.T)


def counted(matrix: torch.Tensor) -> tuple[Callable[[torch.Tensor], torch.Tensor], list[int]]:
    calls: list[int] = []

    def product(v: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return matrix @ v

    return product, calls


def test_conjugate_gradient_solves_the_system() -> None:
    matrix, b = positive_definite(20, 0.5, 30.0), torch.linspace(-1, 2, 20, dtype=torch.float64)
    kept = b.clone()
    x, _ = conjugate_gradient(lambda v: matrix @ v, b, iterations=40, tolerance=1e-12)
    assert_allclose(x.numpy(), torch.linalg.solve(matrix, b).numpy(), atol=1e-9)
    assert torch.equal(b, kept)


def test_conjugate_gradient_needs_one_iteration_per_distinct_eigenvalue() -> None:
    matrix = torch.diag(torch.tensor([2.0, 2.0, 5.0, 5.0, 9.0], dtype=torch.float64))
    product, calls = counted(matrix)
    b = torch.arange(1.0, 6.0, dtype=torch.float64)
    x, _ = conjugate_gradient(product, b, iterations=100, tolerance=1e-10)
    assert_allclose(x.numpy(), (b / matrix.diagonal()).numpy(), atol=1e-9)
    assert len(calls) == 3


def test_conjugate_gradient_stops_at_the_iteration_limit() -> None:
    matrix, b = positive_definite(20, 0.5, 30.0), torch.linspace(-1, 2, 20, dtype=torch.float64)
    product, calls = counted(matrix)
    x, product_with_x = conjugate_gradient(product, b, iterations=4, tolerance=1e-12)
    assert len(calls) == 4
    assert_allclose(product_with_x.numpy(), (matrix @ x).numpy(), atol=1e-12)
    # What it returns is the best of the Krylov space b, Ab, A^2 b, A^3 b in the norm of A.
    krylov = torch.stack([torch.linalg.matrix_power(matrix, k) @ b for k in range(4)], dim=1)
    best = krylov @ torch.linalg.solve(krylov.T @ matrix @ krylov, krylov.T @ b)
    assert_allclose(x.numpy(), best.numpy(), atol=1e-6)
    assert float((matrix @ x - b).norm()) > 1e-3


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_conjugate_gradient_stops_at_a_residual_relative_to_the_right_hand_side(scale: float) -> None:
    matrix, b = positive_definite(20, 0.5, 30.0), scale * torch.linspace(-1, 2, 20, dtype=torch.float64)

    def residual(iterations: int, tolerance: float) -> tuple[float, int]:
        product, calls = counted(matrix)
        x, _ = conjugate_gradient(product, b, iterations, tolerance)
        return float((matrix @ x - b).norm() / b.norm()), len(calls)

    reached, calls = residual(100, 1e-2)
    assert reached < 1e-2 <= residual(calls - 1, 0.0)[0]  # there, and not an iteration before
    assert 2 < calls < residual(100, 1e-5)[1] <= 20


def test_conjugate_gradient_of_zero_is_zero() -> None:
    product, calls = counted(torch.eye(3))
    for vector in conjugate_gradient(product, torch.zeros(3), 10, 1e-5):
        assert torch.equal(vector, torch.zeros(3))
    assert not calls


# ---- Trust-region step


class Quadratic:
    """Objective g x - x Q x / 2 and divergence x H x / 2 around the start."""

    def __init__(self, size: int, seed: int, curvature: tuple[float, float] = (5.0, 50.0), bend: float = 0.5):
        generator = torch.Generator().manual_seed(seed)
        self.start = torch.randn(size, generator=generator, dtype=torch.float64)
        self.x = self.start.clone()
        self.gradient = torch.randn(size, generator=generator, dtype=torch.float64)
        self.hessian = positive_definite(size, *curvature, seed=seed)
        self.bend = bend * positive_definite(size, 1.0, 20.0, seed=seed + 1)

    @property
    def step(self) -> torch.Tensor:
        return self.x - self.start

    def evaluate(self) -> tuple[float, float]:
        d = self.step
        return float(self.gradient @ d - 0.5 * d @ self.bend @ d), float(0.5 * d @ self.hessian @ d)

    def run(self, settings: TrustRegion, scale: float = 1.0) -> object:
        def evaluate() -> tuple[float, float]:
            improvement, divergence = self.evaluate()
            return scale * improvement, divergence

        return trust_region_step([self.x], scale * self.gradient, lambda v: self.hessian @ v, evaluate, settings)


@pytest.mark.parametrize("seed", range(8))
def test_step_improves_the_objective_within_and_close_to_the_limit(seed: int) -> None:
    problem, settings = Quadratic(8, seed), TrustRegion()
    outcome = problem.run(settings)
    improvement, divergence = problem.evaluate()
    assert outcome.accepted
    assert outcome.improvement == improvement > 0
    assert outcome.divergence == divergence
    # Ten iterations solve eight dimensions; damping by 0.1 beside curvatures of 5 to 50 costs under 2 %.
    assert 0.98 * settings.limit < divergence <= settings.limit


def test_step_is_the_natural_gradient_scaled_to_the_limit() -> None:
    problem = Quadratic(8, seed=0, bend=0.0)
    problem.run(TrustRegion(limit=0.02, damping=0.0, iterations=30, tolerance=1e-12))
    direction = torch.linalg.solve(problem.hessian, problem.gradient)
    expected = direction * torch.sqrt(2 * 0.02 / (problem.gradient @ direction))
    assert_allclose(problem.step.numpy(), expected.numpy(), rtol=1e-6)


def test_damping_enters_both_the_direction_and_the_scale() -> None:
    problem = Quadratic(8, seed=0, curvature=(0.01, 0.2), bend=0.0)
    problem.run(TrustRegion(iterations=30, tolerance=1e-12))
    damped = problem.hessian + 0.1 * torch.eye(8, dtype=torch.float64)
    direction = torch.linalg.solve(damped, problem.gradient)
    expected = direction * torch.sqrt(2 * 0.01 / (direction @ damped @ direction))
    assert_allclose(problem.step.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e3, 1.0, 1e-3, 1e-5])
def test_step_does_not_depend_on_the_scale_of_the_objective(scale: float) -> None:
    # Down to a largest gradient entry of 1e-6 there is a step, and the limit alone sets its length.
    problem, reference = Quadratic(8, seed=3), Quadratic(8, seed=3)
    settings = TrustRegion()
    outcome = problem.run(settings, scale)
    reference.run(settings)
    assert outcome.accepted
    assert 0.98 * settings.limit < outcome.divergence <= settings.limit
    assert_allclose(problem.step.numpy(), reference.step.numpy(), rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_divergence_never_passes_the_wall(seed: int) -> None:
    # A divergence that grows far faster than its curvature at the start says.
    problem, settings = Quadratic(8, seed), TrustRegion()

    def evaluate() -> tuple[float, float]:
        improvement, divergence = problem.evaluate()
        return improvement, divergence + 1e7 * divergence**4

    outcome = trust_region_step([problem.x], problem.gradient, lambda v: problem.hessian @ v, evaluate, settings)
    assert outcome.accepted
    assert outcome.halvings > 0
    assert outcome.divergence == evaluate()[1] <= settings.wall * settings.limit


def made_up(outcomes: Callable[[float], tuple[float, float]]) -> tuple[object, float, list[float]]:
    """Step one parameter with unit gradient and curvature on a made-up objective.

    `outcomes` maps the fraction of the full step to (improvement as a fraction of what the full step predicts,
    divergence as a multiple of the limit). Returns the outcome, the fraction stepped and the fractions tried.
    """
    settings = TrustRegion(damping=0.0)
    full = float(np.sqrt(2 * settings.limit))  # 1/2 step^2 = limit; the prediction is gradient * step = full
    x = torch.tensor([3.0], dtype=torch.float64)
    tried: list[float] = []

    def evaluate() -> tuple[float, float]:
        tried.append((float(x) - 3.0) / full)
        improvement, divergence = outcomes(tried[-1])
        return improvement * full, divergence * settings.limit

    one = torch.ones(1, dtype=torch.float64)
    outcome = trust_region_step([x], one, lambda v: v, evaluate, settings)
    return outcome, (float(x) - 3.0) / full, tried


def test_halvings_count_until_the_objective_improves() -> None:
    outcome, stepped, tried = made_up(lambda fraction: (fraction if fraction < 0.3 else -1.0, 0.0))
    assert_allclose(tried, [1, 0.5, 0.25])
    assert (outcome.accepted, outcome.halvings) == (True, 2)
    assert stepped == pytest.approx(0.25)


def test_halvings_count_until_the_divergence_is_within_the_wall() -> None:
    outcome, stepped, tried = made_up(lambda fraction: (fraction, 2.01 if fraction > 0.1 else 1.99))
    assert_allclose(tried, [1, 0.5, 0.25, 0.125, 0.0625])
    assert (outcome.accepted, outcome.halvings) == (True, 4)
    assert stepped == pytest.approx(0.0625)


def test_ten_percent_of_the_predicted_improvement_is_enough_and_less_is_not() -> None:
    outcome, _, _ = made_up(lambda fraction: (0.101 * fraction, 1.0))
    assert (outcome.accepted, outcome.halvings) == (True, 0)
    outcome, stepped, _ = made_up(lambda fraction: (0.099 * fraction, 1.0))
    assert not outcome.accepted
    assert stepped == 0
    # The prediction shrinks with the step: half a step must bring 5 % of the full one's.
    outcome, _, _ = made_up(lambda fraction: (0.06, 1.0))
    assert (outcome.accepted, outcome.halvings) == (True, 1)


@pytest.mark.parametrize("bad", [-1.0, float("nan")])
def test_parameters_are_restored_exactly_when_no_halving_is_accepted(bad: float) -> None:
    network = MLP((3, 7, 2), "tanh", np.random.default_rng(0))
    before = [parameter.detach().numpy().tobytes() for parameter in network.parameters()]
    gradient = torch.linspace(-1, 1, flatten(network.parameters()).numel())
    tried = []

    def evaluate() -> tuple[float, float]:
        tried.append(flatten(network.parameters()))
        return bad, 0.0

    outcome = trust_region_step(network.parameters(), gradient, lambda v: v, evaluate, TrustRegion())
    assert not outcome.accepted
    assert (outcome.improvement, outcome.divergence) == (0.0, 0.0)
    assert len(tried) == 11  # the full step and ten halvings
    assert all(not torch.equal(one, other) for one, other in pairwise(tried))
    assert [parameter.detach().numpy().tobytes() for parameter in network.parameters()] == before


@pytest.mark.parametrize(("largest", "accepted"), [(0.9e-6, False), (1.1e-6, True)])
def test_no_step_where_the_largest_gradient_entry_is_under_1e_6(largest: float, accepted: bool) -> None:
    x = torch.zeros(3, dtype=torch.float64)
    gradient = torch.tensor([0.0, -largest, 1e-9], dtype=torch.float64)
    outcome = trust_region_step(
        [x], gradient, lambda v: v, lambda: (float(gradient @ x), float(0.5 * x @ x)), TrustRegion()
    )
    assert outcome.accepted == accepted
    assert bool(x.any()) == accepted


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_step_along_a_gradient_that_is_not_finite(bad: float) -> None:
    x = torch.zeros(2)
    outcome = trust_region_step([x], torch.tensor([1.0, bad]), lambda v: v, lambda: (1.0, 0.0), TrustRegion())
    assert not outcome.accepted
    assert not x.any()


# ---- Fisher products


def random_policy(discrete: bool, activation: str, hidden: tuple[int, ...] = (7, 6)) -> Policy:
    """All parameters away from 0, float64."""
    policy = Policy(4, 3, discrete, hidden, activation).double()
    size = policy.vector().numel()
    assign(policy.ordered_parameters(), torch.from_numpy(np.random.default_rng(0).normal(0.0, 0.6, size)))
    return policy


@pytest.mark.parametrize("activation", ["tanh", "leaky_relu"])
@pytest.mark.parametrize("discrete", [False, True])
def test_fisher_product_is_the_hessian_of_the_mean_kl(discrete: bool, activation: str) -> None:
    policy = random_policy(discrete, activation)
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(15, 4, generator=generator, dtype=torch.float64)
    product = fisher_product(policy, observations)

    old_output, old_free = policy.network(observations).detach(), policy.log_std.detach().clone()
    parameters = [p for p in policy.ordered_parameters() if p.numel()]
    output = policy.network(observations)
    kl = policy.distribution.kl(old_output, old_free, output, policy.log_std).mean()
    slope = torch.cat([g.reshape(-1) for g in torch.autograd.grad(kl, parameters, create_graph=True)])
    for _ in range(3):
        v = torch.randn(len(slope), generator=generator, dtype=torch.float64)
        hessian_v = flatten(torch.autograd.grad(slope @ v, parameters, retain_graph=True, materialize_grads=True))
        assert float(hessian_v.norm()) > 0.1
        assert_allclose(product(v).numpy(), hessian_v.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("discrete", [False, True])
def test_fisher_product_is_the_expected_outer_product_of_scores(discrete: bool) -> None:
    policy = random_policy(discrete, "tanh", hidden=(3,))
    generator = np.random.default_rng(1)
    observations = torch.from_numpy(generator.normal(size=(3, 4)))
    outputs = policy.network(observations).detach()
    parameters = list(policy.network.parameters())
    samples = 20_000
    scores = []  # of each sample, (P,)
    for row in range(3):
        repeated = outputs[row].repeat(samples, 1)
        noise = policy.distribution.noise(generator, (samples,), 3)
        log_std = policy.log_std.detach()
        actions = torch.from_numpy(policy.distribution.sample(repeated.numpy(), log_std.numpy(), noise))
        leaf = repeated.requires_grad_()
        free = log_std.repeat(samples, 1).requires_grad_()
        if discrete:
            log_probability = torch.log_softmax(leaf, -1)[torch.arange(samples), actions]
            by_output, by_free = torch.autograd.grad(log_probability.sum(), leaf)[0], free.detach()
        else:
            normal = torch.distributions.Normal(leaf, torch.exp(free))
            by_output, by_free = torch.autograd.grad(normal.log_prob(actions).sum(), (leaf, free))
        jacobian = torch.stack(  # (A, P)
            [flatten(torch.autograd.grad(policy.network(observations)[row, action], parameters)) for action in range(3)]
        )
        scores.append(torch.cat((by_output @ jacobian, by_free), dim=1))
    product = fisher_product(policy, observations)
    for _ in range(5):
        v = torch.from_numpy(generator.normal(size=policy.vector().numel()))
        squares = torch.stack([torch.square(score @ v) for score in scores])  # (rows, samples)
        error = float(torch.sqrt(squares.var(1).sum() / samples)) / 3
        assert abs(float(v @ product(v)) - float(squares.mean())) < 4 * error


def test_subsample_draws_a_tenth_of_the_rows_with_replacement() -> None:
    rows = subsample(20_000, 0.1, np.random.default_rng(0)).numpy()
    assert len(rows) == 2_000
    assert rows.min() >= 0
    assert rows.max() < 20_000
    # Of 2,000 draws from 20,000 about 97.5 repeat an earlier one; without replacement none would.
    assert 50 < 2_000 - len(np.unique(rows)) < 150
    assert len(subsample(3, 0.1, np.random.default_rng(0))) == 1


# ---- The policy's step

TASKS = pytest.mark.parametrize("task", ["cartpole", "hopper"])


def advantages_of(batch: Batch, seed: int = 0) -> np.ndarray:
    """Standardized numbers that depend on the action taken."""
    actions = batch.rows(batch.actions).astype(np.float64)
    actions = actions if actions.ndim == 1 else actions.sum(1)
    values = actions + np.random.default_rng(seed).normal(0.0, 0.5, len(batch))
    return ((values - values.mean()) / values.std()).astype(np.float32)


def kls_by_hand(old: Policy, new: Policy, batch: Batch) -> tuple[float, float]:
    """Mean KL(old || new) and KL(new || old) over the batch's observations."""
    x = torch.from_numpy(old.standardizer(batch.rows(batch.observations)))
    with torch.no_grad():
        ends = [(policy.network(x), policy.log_std) for policy in (old, new)]
        return tuple(float(old.distribution.kl(*a, *b).mean()) for a, b in (ends, ends[::-1]))


@TASKS
def test_policy_step_stays_within_the_wall_and_improves(task: str, sample_batch: SampleBatch) -> None:
    policy, batch = sample_batch(task, envs=8, steps=50)
    old, settings = copy.deepcopy(policy), TrustRegion()
    advantages = advantages_of(batch)
    outcome = policy_step(policy, batch, advantages, np.random.default_rng(0), settings)

    assert outcome.accepted
    forward, _ = kls_by_hand(old, policy, batch)
    assert outcome.divergence == pytest.approx(forward, rel=1e-2, abs=1e-5)
    assert 0.3 * settings.limit < forward <= settings.wall * settings.limit

    x = torch.from_numpy(policy.standardizer(batch.rows(batch.observations)))
    with torch.no_grad():
        actions = torch.from_numpy(batch.rows(batch.actions))
        log_pi = policy.distribution.log_probability(policy.network(x), policy.log_std, actions).numpy()
    ratio = np.exp(log_pi - batch.rows(batch.log_probabilities))
    assert outcome.improvement == pytest.approx(float(np.mean(ratio * advantages) - advantages.mean()), abs=1e-5)
    assert outcome.improvement > 0


@TASKS
def test_policy_step_measures_kl_from_old_to_new(task: str, sample_batch: SampleBatch) -> None:
    # A large region, where the two directions are far apart.
    policy, batch = sample_batch(task, envs=8, steps=50, seed=1)
    old = copy.deepcopy(policy)
    outcome = policy_step(policy, batch, advantages_of(batch), np.random.default_rng(0), TrustRegion(limit=1.0))
    assert outcome.accepted
    forward, backward = kls_by_hand(old, policy, batch)
    assert outcome.divergence == pytest.approx(forward, rel=1e-3)
    assert abs(forward - backward) > 0.1 * forward


@TASKS
def test_policy_step_leaves_the_standardizer_and_the_batch_alone(task: str, sample_batch: SampleBatch) -> None:
    policy, batch = sample_batch(task, envs=4, steps=25)
    standardizer, vector = policy.standardizer.state(), policy.vector()
    kept = copy.deepcopy(batch)
    policy_step(policy, batch, advantages_of(batch), np.random.default_rng(0), TrustRegion())
    assert not torch.equal(policy.vector(), vector)
    for name, value in policy.standardizer.state().items():
        assert_array_equal(value, standardizer[name])
    for name in ("observations", "actions", "outputs", "log_probabilities", "rewards"):
        assert_array_equal(getattr(batch, name), getattr(kept, name))


@TASKS
def test_policy_step_makes_good_actions_likelier(task: str, sample_batch: SampleBatch) -> None:
    policy, batch = sample_batch(task, envs=8, steps=50)
    advantages = advantages_of(batch)
    policy_step(policy, batch, advantages, np.random.default_rng(0), TrustRegion())
    x = torch.from_numpy(policy.standardizer(batch.rows(batch.observations)))
    with torch.no_grad():
        actions = torch.from_numpy(batch.rows(batch.actions))
        log_pi = policy.distribution.log_probability(policy.network(x), policy.log_std, actions).numpy()
    change = log_pi - batch.rows(batch.log_probabilities)
    assert np.corrcoef(change, advantages)[0, 1] > 0.1


def test_policy_step_moves_the_deviations(sample_batch: SampleBatch) -> None:
    policy, batch = sample_batch("hopper", envs=8, steps=50)
    # Good is what is far from the mean: the deviations must grow.
    z = (batch.actions - batch.outputs) / np.exp(policy.log_std.detach().numpy())
    gaps = batch.rows(np.square(z).sum(-1))
    before = policy.log_std.detach().clone()
    advantages = ((gaps - gaps.mean()) / gaps.std()).astype(np.float32)
    policy_step(policy, batch, advantages, np.random.default_rng(0), TrustRegion())
    assert (policy.log_std.detach() > before).all()


def test_policy_step_without_advantage_is_no_step(sample_batch: SampleBatch) -> None:
    policy, batch = sample_batch("cartpole", envs=4, steps=25)
    vector = policy.vector()
    outcome = policy_step(policy, batch, np.zeros(len(batch), np.float32), np.random.default_rng(0), TrustRegion())
    assert not outcome.accepted
    assert torch.equal(policy.vector(), vector)


def test_policy_steps_with_equal_generators_give_equal_bytes(sample_batch: SampleBatch) -> None:
    policy, batch = sample_batch("hopper", envs=4, steps=50)
    vectors = []
    for seed in (0, 0, 1):
        own = copy.deepcopy(policy)
        policy_step(own, batch, advantages_of(batch), np.random.default_rng(seed), TrustRegion())
        vectors.append(own.vector())
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])  # another tenth of the batch for the curvature


@TASKS
@pytest.mark.parametrize("waste", WASTE)
def test_policy_step_knows_valid_pairs_only(task: str, waste: float, sample_batch: SampleBatch, poison: Poison) -> None:
    policy, batch = sample_batch(task, envs=4, steps=25)
    own = copy.deepcopy(policy)
    outcomes = [
        policy_step(p, b, advantages_of(b), np.random.default_rng(0), TrustRegion())
        for p, b in ((policy, batch), (own, poison(batch, waste)))
    ]
    assert outcomes[0].accepted
    assert outcomes[0] == outcomes[1]
    assert torch.equal(policy.vector(), own.vector())


# ---- The value function


def value_function(observation_dim: int, horizon: int, hidden: tuple[int, ...] = (16, 16)) -> ValueFunction:
    return ValueFunction(observation_dim, horizon, hidden, "tanh", np.random.default_rng(0), TrustRegion())


def test_values_are_zero_at_first() -> None:
    value = value_function(3, 100)
    assert_array_equal(value.predict(np.ones((5, 3), np.float32), np.arange(5)), np.zeros(5))


def test_predict_by_hand() -> None:
    # A linear network: 2 x + 3 t / horizon + 0.5, on standardized x and targets.
    value = value_function(1, 50, hidden=())
    assign(value.network.parameters(), torch.tensor([2.0, 3.0, 0.5]))
    value.inputs.update(np.array([[1.0], [5.0]]))  # mean 3, deviation 2
    value.targets.update(np.array([[-10.0], [30.0]]))  # mean 10, deviation 20
    values = value.predict(np.array([[3.0], [7.0], [3.0]], np.float32), np.array([0, 0, 25]))
    assert_allclose(values, 10 + 20 * np.array([0.5, 2 * 2 + 0.5, 1.5 + 0.5]), rtol=1e-5)


def test_predict_inverts_the_standardization_of_the_targets() -> None:
    value = value_function(1, 50, hidden=())
    assign(value.network.parameters(), torch.tensor([2.0, 3.0, 0.5]))
    observations, times = np.random.default_rng(0).normal(size=(20, 1)).astype(np.float32), np.arange(20)
    standardized = value.predict(observations, times)  # before any target: the network's own output
    targets = np.random.default_rng(1).normal(500.0, 30.0, (100, 1))
    value.targets.update(targets)
    assert_allclose(
        value.predict(observations, times), standardized * (targets.std() + 1e-6) + targets.mean(), rtol=1e-6
    )


def test_predict_batch_values_every_pair(sample_batch: SampleBatch) -> None:
    _, batch = sample_batch("cartpole", envs=3, steps=30, horizon=20, seed=1)
    value = value_function(4, 20)
    value.fit(batch, np.random.default_rng(0).normal(3.0, 1.0, batch.valid.shape), np.random.default_rng(0))
    values = value.predict_batch(batch)
    assert values.shape == batch.valid.shape
    for t, n in np.argwhere(batch.valid)[::7]:
        expected = value.predict(batch.observations[t, n][None], batch.times[t, n][None])
        assert_allclose(values[t, n], expected[0], rtol=1e-5)
    assert batch.rows(values).std() > 0.01
    assert not batch.valid.all()
    assert not values[~batch.valid].any()


@pytest.mark.parametrize("seed", range(3))
def test_fit_lowers_the_squared_error_within_the_wall(seed: int, sample_batch: SampleBatch) -> None:
    _, batch = sample_batch("hopper", envs=8, steps=50, seed=seed)
    value = value_function(11, 50)
    returns = discounted_returns(batch.rewards, batch.done, 0.995)
    observations, times = batch.rows(batch.observations), batch.rows(batch.times)
    for _ in range(4):
        # The standardizers see the batch before the fit, so "before" is by the network as it was under them.
        before = copy.deepcopy(value)
        before.inputs.update(observations)
        before.targets.update(batch.rows(returns)[:, None])
        outcome = value.fit(batch, returns, np.random.default_rng(seed))
        assert outcome.accepted
        scale = value.targets.std[0] + 1e-6
        old, new = (v.predict(observations, times) / scale for v in (before, value))
        target = batch.rows(returns) / scale
        assert np.mean((new - target) ** 2) < np.mean((old - target) ** 2)
        improvement = np.mean((old - target) ** 2) - np.mean((new - target) ** 2)
        assert outcome.improvement == pytest.approx(improvement, rel=1e-2)
        change = np.mean((new - old) ** 2)
        assert outcome.divergence == pytest.approx(change, rel=1e-2)
        assert 0.001 < change <= 0.02


def test_fit_measures_its_region_by_the_mean_squared_change(make_batch: MakeBatch) -> None:
    # A linear network on many rows: the measure is exactly quadratic, its curvature must be twice the mean outer
    # product, and without damping and subsampling the fit then ends exactly at the limit.
    settings = TrustRegion(damping=0.0, subsample=1.0, iterations=50, tolerance=1e-12)
    value = ValueFunction(1, 10, (), "tanh", np.random.default_rng(0), settings)
    generator = np.random.default_rng(0)
    batch = make_batch(generator.normal(size=(10, 2_000, 1)), np.zeros((10, 2_000)))
    returns = 5 * batch.observations[..., 0].astype(np.float64) + generator.normal(size=(10, 2_000))
    outcome = value.fit(batch, returns, generator)
    assert outcome.accepted
    assert outcome.divergence == pytest.approx(0.01, rel=0.03)  # rows drawn with replacement


def test_values_depend_on_time(make_batch: MakeBatch) -> None:
    # Equal observations: only the time tells how much return is left.
    steps = 20
    batch = make_batch(np.ones((steps, 10, 2)), np.zeros((steps, 10)), rewards=np.ones((steps, 10)))
    returns = np.repeat(np.arange(steps, 0, -1.0)[:, None], 10, axis=1)
    value, generator = value_function(2, steps), np.random.default_rng(0)
    for _ in range(60):
        value.fit(batch, returns, generator)
    values = value.predict_batch(batch)
    assert np.corrcoef(values[:, 0], returns[:, 0])[0, 1] > 0.99
    assert np.abs(values - returns).mean() < 2.0


def test_value_state_round_trip_continues_with_the_same_bytes(sample_batch: SampleBatch) -> None:
    _, batch = sample_batch("hopper", envs=4, steps=25)
    returns = np.random.default_rng(0).normal(50.0, 10.0, batch.valid.shape)
    value = value_function(11, 25)
    value.fit(batch, returns, np.random.default_rng(1))
    state = value.state()
    value.fit(batch, returns, np.random.default_rng(2))
    again = ValueFunction(11, 25, (16, 16), "tanh", np.random.default_rng(9), TrustRegion())
    again.load_state(state)
    again.fit(batch, returns, np.random.default_rng(2))
    assert {k: v.tobytes() for k, v in again.state().items()} == {k: v.tobytes() for k, v in value.state().items()}


@TASKS
@pytest.mark.parametrize("waste", WASTE)
def test_value_function_knows_valid_pairs_only(
    task: str, waste: float, sample_batch: SampleBatch, poison: Poison
) -> None:
    _, batch = sample_batch(task, envs=4, steps=25)
    poisoned = poison(batch, waste)
    returns = np.random.default_rng(0).normal(50.0, 10.0, batch.valid.shape)
    values = [value_function(batch.observations.shape[2], 25) for _ in range(2)]
    for value, own, targets in zip(
        values, (batch, poisoned), (returns, np.where(batch.valid, returns, waste)), strict=True
    ):
        assert value.fit(own, targets, np.random.default_rng(1)).accepted
        assert value.inputs.count == value.targets.count == len(batch)
        assert_allclose(value.inputs.mean, batch.rows(batch.observations).mean(0, dtype=np.float64), atol=1e-9)
        assert_allclose(value.targets.mean, [batch.rows(returns).mean()])
    first, second = ({k: v.tobytes() for k, v in value.state().items()} for value in values)
    assert first == second
    assert_array_equal(values[0].predict_batch(batch), values[1].predict_batch(poisoned))


# ---- All together


def test_trpo_balances_the_pole_within_15_iterations() -> None:
    learner = RewardLearner(get_task("cartpole"), TrueReward(), LoopSettings(batch=5_000), seed=0)
    returns = [learner.iterate()["return_mean"] for _ in range(15)]
    assert returns[0] < 40
    assert max(returns) > 150
    assert np.mean(returns[-3:]) > 150


def test_time_limit_ends_the_problem_in_training_too() -> None:
    """A task whose episodes always reach a short limit: the values learned are those of the steps left."""
    task = replace(get_task("mountaincar"), horizon=10)
    learner = RewardLearner(task, TrueReward(), LoopSettings(batch=2_000, gamma=1.0, hidden=(16,)), seed=0)
    for _ in range(40):
        learner.iterate()
    values = learner._value.predict(np.full((10, 2), [-0.5, 0.0], np.float32), np.arange(10))
    # Rewards are -1 per step and episodes never end early: V(t) = -(10 - t). With a bootstrap over the limit and
    # without discount it would fall without bound.
    assert_allclose(values, np.arange(-10, 0), atol=1.5)
