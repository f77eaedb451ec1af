"""The claims of docs/gridworld.md, each to 1e-6: occupancy measures, IRL and GAIL where every expectation is exact."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.optimize import linprog, minimize
from scipy.spatial.distance import jensenshannon
from scipy.special import expit, log_expit, softmax

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "gridworld" / "occupancy.py"
spec = importlib.util.spec_from_file_location("gridworld_occupancy", SCRIPT)
assert spec is not None
assert spec.loader is not None
grid = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = grid  # dataclasses look their module up
spec.loader.exec_module(grid)

Array = NDArray[np.float64]
TOLERANCE = 1e-6
SETTINGS = grid.Settings()
WORLD = grid.GridWorld()
PROCESS = grid.process_of(WORLD)
COST = grid.cost_of(WORLD)
SHAPE = COST.shape
GAMMA = PROCESS.discount
EXPERT_POLICY = grid.rl(PROCESS, COST, SETTINGS.tolerance)[0]
EXPERT = grid.occupancy(PROCESS, EXPERT_POLICY)
MASS = 1 / (1 - GAMMA)


def close(actual: object, desired: object) -> None:
    assert_allclose(actual, desired, rtol=0, atol=TOLERANCE)


def random_policy(seed: int) -> Array:
    return np.random.default_rng(seed).dirichlet(np.ones(SHAPE[1]), SHAPE[0])


def rl_objective(policy: Array, cost: Array) -> float:
    """-H(pi) + E_pi[c], by its definition."""
    rho = grid.occupancy(PROCESS, policy)
    return float((rho * (cost + np.log(policy))).sum())


def slopes(function: Callable[[Array], float], point: Array, step: float = 1e-5) -> Array:
    """Central differences."""
    gradient = np.zeros_like(point)
    for index in np.ndindex(point.shape):
        move = np.zeros_like(point)
        move[index] = step
        gradient[index] = (function(point + move) - function(point - move)) / (2 * step)
    return gradient


@pytest.fixture(scope="module")
def irl_cost() -> Array:
    return grid.irl(PROCESS, EXPERT, SETTINGS)


@pytest.fixture(scope="module")
def gail_policies() -> Array:
    return grid.gail(PROCESS, EXPERT, 0.0, SETTINGS)


# Occupancy measures


def test_the_process_is_a_process() -> None:
    close(PROCESS.transitions.sum(axis=2), 1)
    close(PROCESS.initial.sum(), 1)
    assert PROCESS.transitions.min() >= 0


def test_moves_go_where_the_map_says() -> None:
    state = {cell: index for index, cell in enumerate(WORLD.cells)}
    up, right, down, left = range(4)
    stay = WORLD.slip / 4
    straight = 1 - WORLD.slip + stay
    close(PROCESS.transitions[state[0, 0], right, state[0, 1]], straight)
    close(PROCESS.transitions[state[0, 0], down, state[1, 0]], straight)
    close(PROCESS.transitions[state[0, 0], up, state[0, 0]], straight + stay)  # the edge above, a slip to the left
    close(PROCESS.transitions[state[1, 1], right, state[1, 1]], straight + stay)  # a wall to the right and below
    close(PROCESS.transitions[state[1, 1], left, state[1, 0]], straight)


def test_the_linear_solve_is_the_discounted_sum_over_time() -> None:
    policy = random_policy(0)
    chain = np.einsum("sa,sat->st", policy, PROCESS.transitions)
    at, total = PROCESS.initial, np.zeros(SHAPE[0])
    for t in range(400):  # 0.9^400 is 5e-19
        total += GAMMA**t * at
        at = at @ chain
    close(grid.occupancy(PROCESS, policy), policy * total[:, None])
    close(grid.occupancy(PROCESS, policy).sum(), MASS)


def test_a_policy_comes_back_from_its_occupancy_measure() -> None:
    for seed in range(5):
        policy = random_policy(seed)
        close(grid.policy_of(grid.occupancy(PROCESS, policy)), policy)


def test_an_occupancy_measure_comes_back_from_its_policy() -> None:
    one, other = (grid.occupancy(PROCESS, random_policy(seed)) for seed in (1, 2))
    rho = 0.3 * one + 0.7 * other  # in the set, as it is convex, but not made from a policy
    close(grid.occupancy(PROCESS, grid.policy_of(rho)), rho)
    mixed = 0.3 * random_policy(1) + 0.7 * random_policy(2)
    assert np.abs(grid.occupancy(PROCESS, mixed) - rho).max() > 0.01  # the map is not linear


def test_occupancy_measures_satisfy_the_flow_constraints() -> None:
    for seed in range(5):
        rho = grid.occupancy(PROCESS, random_policy(seed))
        assert rho.min() >= 0
        close(grid.flow_residual(PROCESS, rho), 0)


def test_whatever_satisfies_the_flow_constraints_is_an_occupancy_measure() -> None:
    # A linear program knows the constraints alone: here as a matrix, whose columns are residuals of unit vectors.
    zero = grid.flow_residual(PROCESS, np.zeros(SHAPE))
    units = np.eye(COST.size).reshape(-1, *SHAPE)
    matrix = np.stack([grid.flow_residual(PROCESS, unit) - zero for unit in units], axis=1)
    objective = np.random.default_rng(0).normal(size=COST.size)
    solution = linprog(objective, A_eq=matrix, b_eq=-zero, bounds=(0, None), method="highs")
    rho = solution.x.reshape(SHAPE)
    close(grid.occupancy(PROCESS, grid.policy_of(rho)), rho)


def test_other_measures_break_the_flow_constraints() -> None:
    uniform = np.full(SHAPE, MASS / COST.size)  # the right total, the wrong flow
    assert np.abs(grid.flow_residual(PROCESS, uniform)).max() > 0.1
    assert np.abs(grid.flow_residual(PROCESS, 1.001 * EXPERT)).max() > 1e-4


def test_the_entropy_of_a_policy_is_that_of_its_occupancy_measure() -> None:
    policy = random_policy(3)
    per_state = -(policy * np.log(policy)).sum(axis=1)
    chain = np.einsum("sa,sat->st", policy, PROCESS.transitions)
    values = np.linalg.solve(np.eye(SHAPE[0]) - GAMMA * chain, per_state)  # by Bellman's equation
    close(grid.causal_entropy(grid.occupancy(PROCESS, policy)), PROCESS.initial @ values)


def test_the_entropy_is_strictly_concave_in_the_occupancy_measure() -> None:
    for seed in range(5):
        one, other = (grid.occupancy(PROCESS, random_policy(2 * seed + k)) for k in (0, 1))
        chord = (grid.causal_entropy(one) + grid.causal_entropy(other)) / 2
        assert grid.causal_entropy((one + other) / 2) > chord + 0.01


# RL and IRL


def test_action_values_are_the_expected_discounted_cost() -> None:
    policy, cost = random_policy(4), np.random.default_rng(4).normal(size=SHAPE)
    start = PROCESS.initial @ (policy * grid.action_values(PROCESS, policy, cost)).sum(axis=1)
    close(start, (grid.occupancy(PROCESS, policy) * cost).sum())


def test_soft_value_iteration_minimizes_cost_minus_entropy() -> None:
    cost = np.random.default_rng(5).normal(size=SHAPE)
    policy, values = grid.rl(PROCESS, cost, SETTINGS.tolerance)
    close(policy.sum(axis=1), 1)
    close(PROCESS.initial @ values, rl_objective(policy, cost))

    def loss(x: Array) -> tuple[float, Array]:
        other = softmax(x.reshape(SHAPE), axis=1)
        q = grid.action_values(PROCESS, other, cost + np.log(other))
        gradient = grid.occupancy(PROCESS, other) * (q - (other * q).sum(axis=1, keepdims=True))
        return rl_objective(other, cost), gradient.ravel()

    # Descent on the logits finds the same minimum, and noise only makes it worse.
    descent = minimize(loss, np.zeros(COST.size), jac=True, method="BFGS", options={"gtol": 1e-7})
    close(descent.fun, rl_objective(policy, cost))
    logits = np.log(policy)
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(scale=0.01, size=SHAPE)
        assert rl_objective(softmax(logits + noise, axis=1), cost) > rl_objective(policy, cost)


def test_the_gradient_of_irl_is_the_difference_of_occupancy_measures() -> None:
    cost = np.random.default_rng(6).normal(size=SHAPE)
    value, gradient = grid.irl_dual(PROCESS, cost, EXPERT, SETTINGS.tolerance)
    policy, _ = grid.rl(PROCESS, cost, SETTINGS.tolerance)
    close(value, rl_objective(policy, cost) - (EXPERT * cost).sum())
    directions = np.random.default_rng(0).normal(size=(5, *SHAPE))

    def along(steps: Array) -> float:
        return grid.irl_dual(PROCESS, cost + np.tensordot(steps, directions, 1), EXPERT, SETTINGS.tolerance)[0]

    close((directions * gradient).sum(axis=(1, 2)), slopes(along, np.zeros(len(directions))))
    close(gradient, grid.occupancy(PROCESS, policy) - EXPERT)


def test_irl_is_maximum_likelihood() -> None:
    cost = np.random.default_rng(6).normal(size=SHAPE)
    policy, _ = grid.rl(PROCESS, cost, SETTINGS.tolerance)
    value, _ = grid.irl_dual(PROCESS, cost, EXPERT, SETTINGS.tolerance)
    close(value, (EXPERT * np.log(policy)).sum())
    close(grid.likelihood_gap(np.log(policy), EXPERT), -grid.causal_entropy(EXPERT) - value)
    close(grid.likelihood_gap(np.log(EXPERT_POLICY), EXPERT), 0)


def test_rl_of_irl_has_the_experts_occupancy_measure(irl_cost: Array) -> None:
    policy, _ = grid.rl(PROCESS, irl_cost, SETTINGS.tolerance)
    close(grid.occupancy(PROCESS, policy), EXPERT)
    close(policy, EXPERT_POLICY)


@pytest.mark.parametrize("seed", range(3))
def test_rl_of_irl_matches_experts_that_minimize_no_simple_cost(seed: int) -> None:
    expert = grid.occupancy(PROCESS, random_policy(seed))
    policy, _ = grid.rl(PROCESS, grid.irl(PROCESS, expert, SETTINGS), SETTINGS.tolerance)
    close(grid.occupancy(PROCESS, policy), expert)


def test_the_maximum_of_irl_is_minus_the_experts_entropy(irl_cost: Array) -> None:
    value, _ = grid.irl_dual(PROCESS, irl_cost, EXPERT, SETTINGS.tolerance)
    close(value, -grid.causal_entropy(EXPERT))
    assert grid.irl_dual(PROCESS, 0 * COST, EXPERT, SETTINGS.tolerance)[0] < value - 0.1


def test_irl_recovers_the_cost_up_to_shaping(irl_cost: Array) -> None:
    units = np.eye(SHAPE[0])
    basis = np.stack([grid.shaping(PROCESS, unit).ravel() for unit in units], axis=1)
    difference = (irl_cost - COST).ravel()
    potential = np.linalg.lstsq(basis, difference, rcond=None)[0]
    close(basis @ potential, difference)
    assert np.abs(difference).max() > 0.1  # the cost itself is not recovered


def test_shaping_leaves_the_optimal_policy_as_it_is() -> None:
    potential = np.random.default_rng(7).normal(size=SHAPE[0])
    policy, _ = grid.rl(PROCESS, COST + grid.shaping(PROCESS, potential), SETTINGS.tolerance)
    close(policy, EXPERT_POLICY)


def test_shaping_by_the_values_leaves_minus_the_policys_logarithm() -> None:
    policy, values = grid.rl(PROCESS, COST, SETTINGS.tolerance)
    close(COST - grid.shaping(PROCESS, values), -np.log(policy))


def test_minus_log_of_any_policy_is_a_cost_that_it_minimizes() -> None:
    policy = random_policy(8)
    close(grid.rl(PROCESS, -np.log(policy), SETTINGS.tolerance)[0], policy)


# GAIL


@pytest.mark.parametrize("seed", range(3))
def test_no_discriminator_beats_the_closed_form(seed: int) -> None:
    rho = grid.occupancy(PROCESS, random_policy(seed))
    best = grid.optimal_discriminator(rho, EXPERT)
    logits = np.log(best) - np.log1p(-best)
    value = grid.psi_ga_conjugate(rho, EXPERT)
    close(value, grid.discriminator_objective(best, rho, EXPERT))
    for index in np.ndindex(SHAPE):  # each entry up and down
        for move in (-0.1, 0.1):
            moved = logits.copy()
            moved[index] += move
            assert grid.discriminator_objective(expit(moved), rho, EXPERT) < value


@pytest.mark.parametrize("seed", range(3))
def test_maximizing_over_logits_finds_the_closed_form(seed: int) -> None:
    rho = grid.occupancy(PROCESS, random_policy(seed))
    p, q = rho.ravel(), EXPERT.ravel()

    def loss(x: Array) -> tuple[float, Array]:
        return -float(p @ log_expit(x) + q @ log_expit(-x)), q * expit(x) - p * expit(-x)

    def hessian(x: Array) -> Array:
        return np.diag((p + q) * expit(x) * expit(-x))

    start = np.zeros(p.size)
    found = minimize(loss, start, jac=True, hess=hessian, method="trust-exact", options={"gtol": 1e-12})
    close(-found.fun, grid.psi_ga_conjugate(rho, EXPERT))
    close(expit(found.x).reshape(SHAPE), grid.optimal_discriminator(rho, EXPERT))


def test_the_conjugate_of_psi_ga_is_the_maximum_over_discriminators() -> None:
    rho = grid.occupancy(PROCESS, random_policy(1))
    for seed in range(5):  # for any D the two objectives agree at c = log D
        discriminator = np.random.default_rng(seed).uniform(0.01, 0.99, SHAPE)
        cost = np.log(discriminator)
        conjugate = ((rho - EXPERT) * cost).sum() - grid.psi_ga(cost, EXPERT)
        close(conjugate, grid.discriminator_objective(discriminator, rho, EXPERT))
    best = np.log(grid.optimal_discriminator(rho, EXPERT))
    close(((rho - EXPERT) * best).sum() - grid.psi_ga(best, EXPERT), grid.psi_ga_conjugate(rho, EXPERT))
    assert grid.psi_ga(np.zeros(SHAPE), EXPERT) == np.inf


@pytest.mark.parametrize("seed", range(3))
def test_psi_ga_conjugate_is_twice_jensen_shannon_minus_two_log_two(seed: int) -> None:
    rho = grid.occupancy(PROCESS, random_policy(seed))
    divergence = jensenshannon(rho.ravel(), EXPERT.ravel()) ** 2  # SciPy scales both to sum to 1
    close(grid.jensen_shannon(rho, EXPERT), divergence)
    p, q = (1 - GAMMA) * rho, (1 - GAMMA) * EXPERT
    close(grid.psi_ga_conjugate(p, q), 2 * divergence - 2 * np.log(2))
    close(grid.psi_ga_conjugate(rho, EXPERT), MASS * (2 * divergence - 2 * np.log(2)))
    close(grid.optimal_discriminator(p, q), grid.optimal_discriminator(rho, EXPERT))
    assert divergence > 0.01


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_policys_gradient_is_that_of_a_fixed_discriminator(weight: float) -> None:
    policy = random_policy(9)
    q = grid.action_values(PROCESS, policy, grid.gail_cost(PROCESS, policy, EXPERT, weight))
    advantages = q - (policy * q).sum(axis=1, keepdims=True)
    gradient = grid.occupancy(PROCESS, policy) * advantages

    def objective(logits: Array) -> float:
        return grid.gail_objective(PROCESS, softmax(logits, axis=1), EXPERT, weight)

    close(gradient, slopes(objective, np.log(policy)))


def test_gail_without_entropy_has_the_experts_occupancy_measure(gail_policies: Array) -> None:
    close(grid.occupancy(PROCESS, gail_policies[-1]), EXPERT)
    close(gail_policies[-1], EXPERT_POLICY)
    objective = grid.gail_objective(PROCESS, gail_policies[-1], EXPERT, 0.0)
    close(objective, -2 * np.log(2) * MASS)  # JS = 0
    close(grid.optimal_discriminator(grid.occupancy(PROCESS, gail_policies[-1]), EXPERT), 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_gail_matches_experts_that_minimize_no_simple_cost(seed: int) -> None:
    expert = grid.occupancy(PROCESS, random_policy(seed))
    close(grid.occupancy(PROCESS, grid.gail(PROCESS, expert, 0.0, SETTINGS)[-1]), expert)


def test_jensen_shannon_falls_with_every_iteration_of_gail(gail_policies: Array) -> None:
    divergences = [grid.jensen_shannon(grid.occupancy(PROCESS, policy), EXPERT) for policy in gail_policies]
    seen = [divergence for divergence in divergences if divergence > 1e-13]  # above rounding
    assert len(seen) > 50
    assert (np.diff(seen) < 0).all()


def test_gail_tends_to_the_expert_as_the_entropys_weight_tends_to_0() -> None:
    weights = (1e-1, 1e-2, 1e-3, 1e-4, 1e-7)
    ends = [grid.gail(PROCESS, EXPERT, weight, SETTINGS)[-1] for weight in weights]
    errors = np.array([np.abs(grid.occupancy(PROCESS, policy) - EXPERT).max() for policy in ends])
    assert errors[0] > 0.1  # the entropy does move the optimum
    assert_allclose(errors[1:-1] / errors[:-2], 0.1, rtol=0.1)  # in proportion to its weight
    close(errors[-1], 0)


@pytest.mark.parametrize("weight", [1.0, 0.1])
def test_gail_ends_at_a_saddle_point(weight: float) -> None:
    # D is the best against the policy, and the policy is the best against the cost log D, by soft value iteration.
    policy = grid.gail(PROCESS, EXPERT, weight, SETTINGS)[-1]
    cost = np.log(grid.optimal_discriminator(grid.occupancy(PROCESS, policy), EXPERT))
    best, _ = grid.rl(PROCESS, cost / weight, SETTINGS.tolerance)
    close(best, policy)
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(scale=0.01, size=SHAPE)
        other = softmax(np.log(policy) + noise, axis=1)
        objective = grid.gail_objective(PROCESS, other, EXPERT, weight)
        assert objective > grid.gail_objective(PROCESS, policy, EXPERT, weight)


# The page


def test_the_page_names_functions_that_exist() -> None:
    page = (ROOT / "docs" / "gridworld.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(\w+)\(", page))
    assert len(names) > 10
    assert [name for name in sorted(names) if not hasattr(grid, name)] == []


def test_the_script_draws_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "gridworld.png"
    monkeypatch.setattr(sys, "argv", ["occupancy.py", "--out", str(out), "--weights", "0", "0.1"])
    grid.main()
    assert out.read_bytes().startswith(b"\x89PNG")
