"""The preliminaries of generative adversarial imitation learning (Ho & Ermon 2016), exact on a small grid world.

Everything is an expectation over a known Markov decision process, so nothing is sampled. `docs/gridworld.md` sets the
maths beside these functions, and `tests/examples/test_gridworld.py` checks each claim to 1e-6.

Shapes: S states, A actions. A policy pi(a|s), a cost c(s, a), an occupancy measure rho(s, a) and a discriminator
D(s, a) are (S, A). Numbers of equations, lemmas and propositions are the paper's. E_pi[c] = sum rho_pi(s, a) c(s, a) is
a discounted sum over time, as in the paper, so E_pi[1] = 1 / (1 - gamma).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import rel_entr, softmax, xlogy

Array = NDArray[np.float64]
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left: (row, column)
ROUNDING = 1e-16  # divergences below are rounding errors, drawn as this


@dataclass(frozen=True)
class Process:
    """A Markov decision process without a cost.

    Attributes:
        transitions: P(s'|s, a), (S, A, S).
        initial: p0(s), (S,).
        discount: gamma.
    """

    transitions: Array
    initial: Array
    discount: float


@dataclass(frozen=True)
class GridWorld:
    """A map and its rules. A move into a wall or over the edge stays where it is.

    Attributes:
        rows: The map. S is where it starts, G the goal, # a wall, any other character an empty cell.
        slip: Probability that a uniformly drawn move replaces the action.
        discount: gamma.
        step_cost: The expert's cost of a step taken outside the goal. At the goal a step costs 0.
    """

    rows: tuple[str, ...] = ("S...#", "..#.G", ".##..", ".....", "..#..")
    slip: float = 0.1
    discount: float = 0.9
    step_cost: float = 2.0

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Row and column of each state."""
        return [(i, j) for i, row in enumerate(self.rows) for j, mark in enumerate(row) if mark != "#"]


@dataclass(frozen=True)
class Settings:
    """Settings of the solvers.

    Attributes:
        tolerance: Soft value iteration stops at changes below it, relative to the values.
        gradient_tolerance: L-BFGS stops at gradients below it.
        step: GAIL's step size.
        iterations: GAIL's.
    """

    tolerance: float = 1e-14
    gradient_tolerance: float = 1e-11
    step: float = 0.3
    iterations: int = 150


def process_of(world: GridWorld) -> Process:
    """Return the grid world's transitions and initial state."""
    state = {cell: index for index, cell in enumerate(world.cells)}
    transitions = np.zeros((len(state), len(MOVES), len(state)))
    for (i, j), s in state.items():
        for move, (down, right) in enumerate(MOVES):
            end = state.get((i + down, j + right), s)
            transitions[s, :, end] += world.slip / len(MOVES)
            transitions[s, move, end] += 1 - world.slip
    starts = np.array([world.rows[i][j] == "S" for i, j in world.cells])
    return Process(transitions, starts / starts.sum(), world.discount)


def cost_of(world: GridWorld) -> Array:
    """Return the cost that the expert minimizes, (S, A)."""
    goal = np.array([world.rows[i][j] == "G" for i, j in world.cells])
    return np.repeat(np.where(goal, 0.0, world.step_cost)[:, None], len(MOVES), axis=1)


def occupancy(process: Process, policy: Array) -> Array:
    """rho_pi(s, a) = pi(a|s) sum_t gamma^t P(s_t = s | pi), (S, A) (Section 3).

    With P_pi(s'|s) = sum_a pi(a|s) P(s'|s, a), the sum over t is (I - gamma P_pi^T)^-1 p0: one linear solve. The
    measure sums to 1 / (1 - gamma).
    """
    chain = np.einsum("sa,sat->st", policy, process.transitions)
    visits = np.linalg.solve(np.eye(len(chain)) - process.discount * chain.T, process.initial)
    return policy * visits[:, None]


def policy_of(rho: Array) -> Array:
    """pi_rho(a|s) = rho(s, a) / sum_a' rho(s, a'), the only policy with this occupancy measure (Proposition 3.1).

    Every state has to be visited: elsewhere rho says nothing about the policy.
    """
    return rho / rho.sum(axis=1, keepdims=True)


def flow_residual(process: Process, rho: Array) -> Array:
    """sum_a rho(s, a) - p0(s) - gamma sum_{s', a} P(s|s', a) rho(s', a), (S,) (Section 3).

    The occupancy measures are the rho >= 0 for which this is 0: what leaves a state is what entered it.
    """
    inflow = np.einsum("sa,sat->t", rho, process.transitions)
    return rho.sum(axis=1) - process.initial - process.discount * inflow


def causal_entropy(rho: Array) -> float:
    """H(pi) = E_pi[-log pi(a|s)], the discounted causal entropy, as a function of rho_pi (Lemma 3.1).

    It is -sum rho(s, a) log(rho(s, a) / sum_a' rho(s, a')), strictly concave in rho.
    """
    return -float(xlogy(rho, policy_of(rho)).sum())


def action_values(process: Process, policy: Array, cost: Array) -> Array:
    """Q(s, a) = c(s, a) + gamma E[V(s')] of a policy, (S, A), with V = (I - gamma P_pi)^-1 sum_a pi(a|s) c(s, a)."""
    chain = np.einsum("sa,sat->st", policy, process.transitions)
    expected = (policy * cost).sum(axis=1)
    values = np.linalg.solve(np.eye(len(chain)) - process.discount * chain, expected)
    return cost + process.discount * process.transitions @ values


def rl(process: Process, cost: Array, tolerance: float) -> tuple[Array, Array]:
    """RL(c) = argmin over pi of -H(pi) + E_pi[c], (S, A), and V, (S,), by soft value iteration (eq. 2).

    V(s) = min over pi(.|s) of sum_a pi(a|s) (Q(s, a) + log pi(a|s)) = -log sum_a exp(-Q(s, a)), where
    Q(s, a) = c(s, a) + gamma sum_s' P(s'|s, a) V(s'). The minimum is at pi(a|s) = exp(V(s) - Q(s, a)), and
    -H(pi) + E_pi[c] is then sum_s p0(s) V(s).
    """
    values, change = np.zeros(len(cost)), np.inf
    while change > tolerance * (1 + np.abs(values).max()):
        q = cost + process.discount * process.transitions @ values
        old, values = values, -np.logaddexp.reduce(-q, axis=1)
        change = np.abs(values - old).max()
    return np.exp(values[:, None] - q), values


def shaping(process: Process, potential: Array) -> Array:
    """f(s) - gamma sum_s' P(s'|s, a) f(s'), (S, A): what a cost may change by without changing RL(c).

    With f = V it turns the cost into the one of the policy itself: c - shaping(V) = Q - V = -log pi for pi = RL(c).
    """
    return potential[:, None] - process.discount * process.transitions @ potential


def irl_dual(process: Process, cost: Array, expert: Array, tolerance: float) -> tuple[float, Array]:
    """The objective of IRL with a constant regularizer and its gradient in the cost, (S, A) (eq. 1).

    d(c) = (min over pi of -H(pi) + E_pi[c]) - E_piE[c] is concave in c, being a minimum of affine functions. Its
    gradient is rho_RL(c) - rho_E: a difference of feature expectations, with one feature per state-action pair.
    """
    policy, values = rl(process, cost, tolerance)
    return float(process.initial @ values - (expert * cost).sum()), occupancy(process, policy) - expert


def likelihood_gap(log_policy: Array, expert: Array) -> float:
    """sum_s rho_E(s) KL(pi_E(.|s), pi(.|s)), which is -H(pi_E) - d(c) for pi = RL(c).

    As log pi = V - Q, the flow of rho_E turns d(c) into E_piE[log pi(a|s)]: maximum causal entropy IRL is maximum
    likelihood. The gap is 0 only at the expert. With x = log(pi / pi_E) it is E_piE[e^x - 1 - x], as pi_E averages
    e^x - 1 to 0 in each state: a sum of terms >= 0, which keeps the digits that d(c) loses near the expert.
    """
    x = log_policy - np.log(policy_of(expert))
    return float((expert * (np.expm1(x) - x)).sum())


def irl(process: Process, expert: Array, settings: Settings) -> Array:
    """A cost that maximizes `irl_dual`, (S, A), by L-BFGS from the cost 0. `expert` is rho_E > 0.

    Maximum causal entropy IRL, with RL solved inside, once per evaluation. L-BFGS works on sqrt(rho_E) c, on which the
    dual is better conditioned. Where the expert never takes an action the maximum is at an infinite cost.
    """
    scale = 1 / np.sqrt(expert)

    def gap(x: Array) -> tuple[float, Array]:
        cost = scale * x.reshape(expert.shape)
        policy, values = rl(process, cost, settings.tolerance)
        gradient = scale * (expert - occupancy(process, policy))
        return likelihood_gap(shaping(process, values) - cost, expert), gradient.ravel()

    found = minimize(
        gap,
        np.zeros(expert.size),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": settings.gradient_tolerance, "ftol": 0.0},
    )
    return scale * found.x.reshape(expert.shape)


def optimal_discriminator(rho: Array, expert: Array) -> Array:
    """D*(s, a) = rho(s, a) / (rho(s, a) + rho_E(s, a)), (S, A): where eq. 14 has its maximum.

    The paper's D is the probability that a pair is the learner's, and log D is the learner's cost. The discriminator in
    `gailbench.algorithms.gail` is the probability that it is the expert's, 1 - D, and its logit has the other sign.
    """
    return rho / (rho + expert)


def discriminator_objective(discriminator: Array, rho: Array, expert: Array) -> float:
    """E_pi[log D] + E_piE[log(1 - D)] (eq. 14), minus the logistic loss of classifying learner against expert."""
    return float((xlogy(rho, discriminator) + xlogy(expert, 1 - discriminator)).sum())


def psi_ga(cost: Array, expert: Array) -> float:
    """psi_GA(c) = E_piE[g(c)], g(x) = -x - log(1 - e^x) if x < 0, else infinite (eq. 13)."""
    if (cost >= 0).any():
        return float("inf")
    return float((expert * (-cost - np.log(-np.expm1(cost)))).sum())


def psi_ga_conjugate(rho: Array, expert: Array) -> float:
    """psi*_GA(rho - rho_E) = max over c of sum (rho - rho_E) c - psi_GA(c) = max over D of eq. 14, with c = log D.

    In units of probability, p = (1 - gamma) rho and q = (1 - gamma) rho_E, the maximum is

        sum p log(p / (p + q)) + q log(q / (p + q)) = 2 JS(p, q) - 2 log 2,

    as p / (p + q) is half of p over the mixture (p + q) / 2. D* is the same for rho and p, so psi*_GA itself is this
    over 1 - gamma. The logistic loss is the negative: 2 log 2 - 2 JS. Eq. 15 writes D_JS for psi*_GA, leaving out the
    shift and the scale. GAIL's minimum, JS = 0, is at psi*_GA = -2 log 2 / (1 - gamma).
    """
    return discriminator_objective(optimal_discriminator(rho, expert), rho, expert)


def jensen_shannon(rho: Array, expert: Array) -> float:
    """JS(p, q) = KL(p, m) / 2 + KL(q, m) / 2 with m = (p + q) / 2, of the measures scaled to sum to 1."""
    p, q = rho / rho.sum(), expert / expert.sum()
    mixture = (p + q) / 2
    return float(rel_entr(p, mixture).sum() + rel_entr(q, mixture).sum()) / 2


def gail_objective(process: Process, policy: Array, expert: Array, entropy_weight: float) -> float:
    """psi*_GA(rho_pi - rho_E) - lambda H(pi), which GAIL minimizes over policies (eq. 15)."""
    rho = occupancy(process, policy)
    return psi_ga_conjugate(rho, expert) - entropy_weight * causal_entropy(rho)


def gail_cost(process: Process, policy: Array, expert: Array, entropy_weight: float) -> Array:
    """log D*(s, a) + lambda log pi(a|s), (S, A), the cost of the policy's gradient (eq. 18).

    D* is at its maximum, so its own change with the policy contributes nothing. The gradient of `gail_objective` in the
    policy's logits is sum_a rho(s, a) * pi(a|s) * (Q(s, a) - V(s)), Q being this cost's `action_values`.
    """
    return np.log(optimal_discriminator(occupancy(process, policy), expert)) + entropy_weight * np.log(policy)


def gail(process: Process, expert: Array, entropy_weight: float, settings: Settings) -> Array:
    """GAIL's policies, (iterations + 1, S, A), from the uniform one on (Algorithm 1 with exact expectations).

    Each iteration maximizes over D in closed form, then takes one natural gradient step of the policy, the direction of
    TRPO: the logits move by -step * Q.
    """
    policies = [np.full_like(expert, 1 / expert.shape[1])]
    for _ in range(settings.iterations):
        cost = gail_cost(process, policies[-1], expert, entropy_weight)
        logits = np.log(policies[-1]) - settings.step * action_values(process, policies[-1], cost)
        policies.append(softmax(logits, axis=1))
    return np.stack(policies)


def draw_cells(axes: Axes, world: GridWorld, policy: Array, rho: Array, top: float) -> QuadMesh:
    """Shade each cell by its share of rho, `top` the darkest; an arrow shows the policy's mean move."""
    cells, share = np.array(world.cells), rho.sum(axis=1) / rho.sum()
    shades = np.full((len(world.rows), len(world.rows[0])), np.nan)
    shades[tuple(cells.T)] = share
    axes.set_facecolor("#555555")  # walls
    mesh = axes.pcolormesh(shades, cmap="Blues", vmin=0, vmax=top, edgecolors="white", linewidth=1)
    inks = np.where(share > top / 2, "white", "black")
    (down, right), (i, j) = (policy @ np.array(MOVES)).T, cells.T + 0.5
    axes.quiver(j, i, right, down, color=inks, angles="xy", scale_units="xy", scale=1.4, width=0.012, pivot="mid")
    for cell, ink in zip(cells, inks, strict=True):
        mark = world.rows[cell[0]][cell[1]].strip(".")
        axes.text(cell[1] + 0.06, cell[0] + 0.06, mark, va="top", color=ink, weight="bold", size=9)
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.invert_yaxis()
    return mesh


def draw(world: GridWorld, settings: Settings, entropy_weights: tuple[float, ...]) -> Figure:
    """Draw the occupancy measures of expert and learners, and how JS falls with GAIL's iterations."""
    process = process_of(world)
    policy, _ = rl(process, cost_of(world), settings.tolerance)
    expert = occupancy(process, policy)
    imitated, _ = rl(process, irl(process, expert, settings), settings.tolerance)
    runs = {weight: gail(process, expert, weight, settings) for weight in entropy_weights}
    start, *_, end = runs[entropy_weights[0]]
    learners = {"RL(IRL(expert))": imitated, "GAIL, first policy": start, "GAIL, last policy": end}

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.05, 1))[0]
    grids, curves = left.subplots(2, 2), right.subplots()
    for axes, (title, learner) in zip(grids.flat, {"Expert": policy, **learners}.items(), strict=True):
        rho = occupancy(process, learner)
        mesh = draw_cells(axes, world, learner, rho, top=float(expert.sum(axis=1).max() / expert.sum()))
        difference = f"largest difference {np.abs(rho - expert).max():.1g}" if title in learners else ""
        axes.set_title(f"{title}\n{difference}", fontsize=10)
    left.colorbar(mesh, ax=grids, location="bottom", shrink=0.6, aspect=30, label="Share of the discounted time")
    for weight, policies in runs.items():
        heights = [max(jensen_shannon(occupancy(process, each), expert), ROUNDING) for each in policies]
        (line,) = curves.semilogy(heights)
        curves.text(len(policies), heights[-1] * 1.3, f"λ = {weight:g}", ha="right", color=line.get_color())
    curves.set(xlabel="Iteration of GAIL", ylabel="JS divergence from the expert (nats)", ylim=(ROUNDING / 3, 1))
    curves.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Draw the figure of docs/gridworld.md."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a .png or .svg file")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.001, 0.01, 0.1, 1.0], help="GAIL's lambdas")
    arguments = parser.parse_args()
    draw(GridWorld(), Settings(), tuple(arguments.weights)).savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
