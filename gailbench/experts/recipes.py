"""How each shipped expert was trained: where a task needed more than the defaults, with the reason.

`gailbench expert train --task T` uses these, so it repeats the shipped expert's recipe.

The rule: an expert is trained until it is at the paper's level, not far beyond. Its returns are the 1 of the score, and
its action noise decides which states the demonstrations cover; both change as a training goes on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from gailbench.algorithms.loop import LoopSettings
from gailbench.networks import Activation
from gailbench.plumbing.errors import GailbenchError, nearest
from gailbench.tasks import Task


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
    reason: str = ""

    def loop_settings(self) -> LoopSettings:
        return LoopSettings(
            batch=self.batch,
            gae_lambda=self.gae_lambda,
            hidden=self.hidden,
            activation=self.activation,
        )

    def training_task(self, task: Task) -> Task:
        """The task as it is trained on."""
        return replace(task, horizon=self.horizon)

    def settings(self) -> dict[str, Any]:
        """What determines the training, as JSON: all but the reason."""
        settings = {**asdict(self), "hidden": list(self.hidden)}
        del settings["reason"]
        if self.level is None:
            del settings["level"]
        return settings

    def course(self) -> dict[str, Any]:
        """What determines each iteration, as JSON: a training with another number of iterations begins the same."""
        return {name: value for name, value in self.settings().items() if name not in ("iterations", "level")}


def recipe_for(task: Task) -> Recipe:
    """Return the recipe of one of the paper's tasks, or an own task's: the defaults but for its file's [expert].

    Raises:
        GailbenchError: The file's table has something that no recipe has, or of another type.
    """
    if task.name in RECIPES:
        return RECIPES[task.name]
    recipe = Recipe(iterations=200, batch=task.batch, horizon=task.horizon)
    given: dict[str, Any] = {}
    known = {field.name: type(getattr(recipe, field.name)) for field in fields(recipe)}
    for name, value in task.expert:
        if name not in known:
            raise GailbenchError(f"[expert] of '{task.name}' has '{name}'{nearest(name, list(known))}")
        wanted = float if name == "level" else known[name]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise GailbenchError(f"[expert] of '{task.name}' has {name} = {value!r}; it must be {wanted.__name__}")
        given[name] = value
    return replace(recipe, **given)


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
        seed=4,
        level=4.46,
        reason="The recipe of the authors' best experts, up to their return per step. Most seeds find a poor gait: "
        "after 60 iterations seeds 0 to 4 were at 2,084, 2,010, 1,909, 2,081 and 3,551 per 2,000 steps, and seed 0 "
        "ended at 3,450. Trained on to 5,789, with half of the authors' action noise, it left GAIL with 4 of its "
        "trajectories at 0.48.",
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
