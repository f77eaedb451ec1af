"""How each shipped expert was trained: where a task needed more than the defaults, with the reason.

`gailbench expert train --task T` uses these, so it repeats the shipped expert's recipe.

The rule: an expert is trained until it is at the paper's level, not far beyond. Its returns are the 1 of the score, and
its action noise decides which states the demonstrations cover; both change as a training goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, get_type_hints

from gailbench.algorithms.loop import LoopSettings
from gailbench.networks import Activation
from gailbench.plumbing.errors import GailbenchError, nearest
from gailbench.plumbing.typed import typed
from gailbench.tasks import Task
from gailbench.trpo import TrustRegion

# Iterations that fit the value function to a policy that a training begins with.
HELD = 20


@dataclass(frozen=True)
class Recipe:
    """Settings of an expert's training.

    Attributes:
        iterations: In all, at most.
        batch: Pairs per iteration.
        horizon: Steps of a training episode; experts are evaluated and sampled at the task's own.
        gae_lambda: Of generalized advantage estimation.
        hidden: Hidden widths of policy and value function.
        activation: Of their hidden layers.
        seed: The seed used.
        level: Return per step of training episodes, mean of ten successive iterations, at which training ends; None to
            use up all iterations.
        trust_region: Limit of a policy step, mean KL(old || new).
        start: SHA-256 of the policy that training begins with; None for a random one.
        held: Iterations at the beginning in which only the value function learns; with a policy to begin with, `HELD`
            if not given.
        reason: Why it is not the default.
    """

    iterations: int
    batch: int
    horizon: int
    gae_lambda: float = 0.97
    hidden: tuple[int, ...] = (64, 64)
    activation: Activation = "tanh"
    seed: int = 0
    level: float | None = None
    trust_region: float = TrustRegion.limit
    start: str | None = None
    held: int = 0
    reason: str = ""

    def loop_settings(self) -> LoopSettings:
        return LoopSettings(
            batch=self.batch,
            gae_lambda=self.gae_lambda,
            hidden=self.hidden,
            activation=self.activation,
            policy_region=TrustRegion(limit=self.trust_region),
        )

    def training_task(self, task: Task) -> Task:
        """The task as it is trained on."""
        return replace(task, horizon=self.horizon)

    def settings(self) -> dict[str, Any]:
        """What determines the training, as JSON: all but the reason. What came later is left out where it is unused, so
        that trainings begun before go on."""
        settings = {**asdict(self), "hidden": list(self.hidden)}
        del settings["reason"]
        for field in fields(self):
            if field.name in ("level", "trust_region", "start", "held") and settings[field.name] == field.default:
                del settings[field.name]
        return settings

    def course(self) -> dict[str, Any]:
        """What determines each iteration, as JSON: a training with another number of iterations begins the same."""
        return {name: value for name, value in self.settings().items() if name not in ("iterations", "level")}


# What a user sets; a policy to begin with is a file, whose hash the recipe takes.
SETTINGS = [field.name for field in fields(Recipe) if field.name != "start"]


def recipe_for(task: Task) -> Recipe:
    """Return the recipe of one of the paper's tasks, or an own task's: the defaults but for its file's [expert].

    Raises:
        GailbenchError: The file's table has something that no recipe has, or of another type.
    """
    if task.name in RECIPES:
        return RECIPES[task.name]
    return changed(
        Recipe(iterations=200, batch=task.batch, horizon=task.horizon), task.expert, f"[expert] of '{task.name}'"
    )


def changed(recipe: Recipe, given: Iterable[tuple[str, Any]], where: str) -> Recipe:
    """Return a recipe with some of its settings changed; `where` they were given is for messages.

    Raises:
        GailbenchError: A recipe has no such setting, or it cannot have such a value.
    """
    kinds = get_type_hints(Recipe)
    changes: dict[str, Any] = {}
    for name, value in given:
        if name not in SETTINGS:
            raise GailbenchError(f"{where} has '{name}'{nearest(name, SETTINGS)}")
        changes[name] = typed(f"{where}: {name}", kinds[name], value)
    new = replace(recipe, **changes)
    if least := [name for name in ("iterations", "batch", "horizon") if getattr(new, name) < 1]:
        raise GailbenchError(f"{where}: {least[0]} is {getattr(new, least[0])}; it must be at least 1")
    if not new.hidden or min(new.hidden) < 1:
        raise GailbenchError(f"{where}: hidden is {new.hidden}; it must be widths of at least 1")
    if not 0 <= new.gae_lambda <= 1:
        raise GailbenchError(f"{where}: gae_lambda is {new.gae_lambda}; it must be from 0 to 1")
    if not new.trust_region > 0:
        raise GailbenchError(f"{where}: trust_region is {new.trust_region}; it must be above 0")
    if negative := [name for name in ("seed", "held") if getattr(new, name) < 0]:
        raise GailbenchError(f"{where}: {negative[0]} is {getattr(new, negative[0])}; it must be at least 0")
    return new


def _classic(task_horizon: int = 200, **changes: Any) -> Recipe:
    """As the authors' classic experts: 64x64 tanh, lambda 0.98."""
    return replace(Recipe(iterations=101, batch=5_000, horizon=task_horizon, gae_lambda=0.98), **changes)


def _authors_best(**changes: Any) -> Recipe:
    """As the authors' best experts: one layer of 50 leaky ReLU units, lambda 0.98, episodes of up to 2,000 steps."""
    recipe = Recipe(iterations=500, batch=100_000, horizon=2000, gae_lambda=0.98, hidden=(50,), activation="leaky_relu")
    return replace(recipe, **changes)


RECIPES: dict[str, Recipe] = {
    "cartpole": _classic(
        task_horizon=1000,
        iterations=40,
        reason="Trained on 200-step episodes it drifts towards the track's end, which it need not fear; on 1,000-step "
        "ones it stays in the middle. Of 101-iteration experts, whose entropy is below 0.5, the first trajectory (20 "
        "pairs) left 3 of 6 runs of GAIL at returns of 9 to 16; after 40 iterations the entropy is 0.55.",
    ),
    "acrobot": _classic(
        task_horizon=500,
        iterations=400,
        batch=20_000,
        reason="An untrained policy never swings up within 200 steps, so the reward says nothing; within 500 it does. "
        "The larger batch removes rare episodes that never end.",
    ),
    "mountaincar": _classic(
        task_horizon=1000,
        iterations=600,
        batch=10_000,
        reason="A flat reward until the flag is first reached: within 1,000 steps the policies of some seeds get there "
        "by chance (0 and 3 of 0 to 4), within 200 none does.",
    ),
    "reacher": Recipe(iterations=500, batch=50_000, horizon=50),
    "halfcheetah": _authors_best(
        seed=5,
        level=4.46,
        reason="The recipe of the authors' best experts, up to their return per step. Most seeds find a poor gait: "
        "after 60 iterations seeds 0 to 5 were at 2,084, 2,010, 1,909, 2,081, 3,551 and 4,991 per 2,000 steps. The "
        "faster one learns, the more action noise is left at the level: seed 4 had -0.43 per action dimension there, "
        "and left GAIL with 4 of its trajectories at 0.62; seed 5 has -0.18, the authors' -0.28.",
    ),
    "hopper": Recipe(iterations=300, batch=50_000, horizon=1000, gae_lambda=0.98),
    "walker": _authors_best(
        iterations=1_250,
        batch=25_000,
        seed=2,
        reason="The network, horizon and lambda of the authors' best expert, in a quarter of their batches: an "
        "iteration goes as far as the trust region lets it, whatever it has seen. Seed 0's return per step was 4.24 "
        "after 6.2 million pairs; with batches of 100,000 it was 3.23 after 6.9. Batches of 10,000 were no faster "
        "per pair. Seed 2 found a faster gait: 5.23 after 6.2 million pairs.",
    ),
    "ant": Recipe(
        iterations=850,
        batch=10_000,
        horizon=1000,
        reason="The authors' network and lambda with a fifth of their batches, for walker's reason: after 1.36 million "
        "pairs return per step was -1.31, and with batches of 25,000 it was -1.77.",
    ),
    "humanoid": Recipe(
        iterations=2_300,
        batch=5_000,
        horizon=1000,
        gae_lambda=0.9,
        reason="Batches still smaller than ant's, for walker's reason, and a lambda with less noise: training episodes "
        "returned 2,674 after 2.5 million pairs; with batches of 10,000 and lambda 0.97 it was 508.",
    ),
}
