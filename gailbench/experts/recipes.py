"""The recipes of the shipped experts: their training settings, with reasons.

`gailbench expert train --task T` uses these recipes.

An expert is trained until its return is about the paper's. Its return is 1 in the normalized score, and its action
noise determines which states the demonstrations cover. Both change during training.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from gailbench.algorithms.loop import LoopSettings
from gailbench.networks import Activation
from gailbench.plumbing.errors import GailbenchError, nearest
from gailbench.plumbing.typed import Count, CountOrZero, Positive, Share, typed
from gailbench.tasks import Task
from gailbench.trpo import TrustRegion

# With --start: number of first iterations in which only the value function is trained.
HELD = 20
# Settings that were added after the first experts had been trained.
LATER = ("level", "gamma", "trust_region", "advantage_limit", "start", "held", "noise_scale")


@dataclass(frozen=True)
class Recipe:
    """Settings of an expert's training.

    Attributes:
        iterations: Maximum number of iterations.
        batch: State-action pairs per iteration.
        horizon: Maximum length of a training episode in steps. Evaluation and sampling use the task's horizon.
        gamma: Discount factor.
        gae_lambda: lambda of generalized advantage estimation.
        hidden: Widths of the hidden layers of policy and value function.
        activation: Activation of the hidden layers.
        seed: Seed of the training.
        level: Training ends when the return per step, averaged over ten successive iterations, reaches this level. With
            None it ends after all iterations.
        trust_region: Limit of a policy step, as mean KL(old || new).
        advantage_limit: Limit of the advantages, in robust standard deviations; None for no limit.
        start: SHA-256 of the policy that training starts from; None for a random policy.
        held: Number of first iterations in which only the value function is trained. With None it is `HELD` with
            `start`, else 0.
        noise_scale: Factor of the action noise's standard deviations before the first iteration. Gaussian policies
            only.
        before: Recipe of the training before this one, whose policy this one starts from; None for a random policy.
        reason: Why the recipe differs from the defaults.
    """

    iterations: Count
    batch: Count
    horizon: Count
    gamma: Share = 0.995
    gae_lambda: Share = 0.97
    hidden: tuple[Count, ...] = (64, 64)
    activation: Activation = "tanh"
    seed: CountOrZero = 0
    level: float | None = None
    trust_region: Positive = TrustRegion.limit
    advantage_limit: Positive | None = None
    start: str | None = None
    held: CountOrZero | None = None
    noise_scale: Positive = 1.0
    before: Recipe | None = None
    reason: str = ""

    def loop_settings(self) -> LoopSettings:
        return LoopSettings(
            batch=self.batch,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            hidden=self.hidden,
            activation=self.activation,
            policy_region=TrustRegion(limit=self.trust_region),
        )

    def training_task(self, task: Task) -> Task:
        """Return the task with the horizon of training."""
        return replace(task, horizon=self.horizon)

    def trainings(self, out: Path) -> list[tuple[Recipe, Path, Path | None]]:
        """Return the trainings that make the expert `out`, in their order: the recipe of each, the policy file that it
        writes, and the one that it starts from. Earlier policies lie beside `out`."""
        if self.before is None:
            return [(self, out, None)]
        earlier = self.before.trainings(out.with_suffix(".before.safetensors"))
        return [*earlier, (self, out, earlier[-1][1])]

    def with_seed(self, seed: int) -> Recipe:
        """Return the recipe with another seed, also for the training before."""
        return replace(self, seed=seed, before=None if self.before is None else self.before.with_seed(seed))

    def settings(self) -> dict[str, Any]:
        """Return everything that determines the training, as JSON: all but the reason and the training before, whose
        policy's hash is in `start`. Fields of later versions are left out if they have their defaults, so that older
        trainings can be continued."""
        settings = {**asdict(self), "hidden": list(self.hidden)}
        del settings["before"], settings["reason"]
        for field in fields(self):
            if field.name in LATER and settings[field.name] == field.default:
                del settings[field.name]
        if not self.held and self.start is None:
            settings.pop("held", None)
        return settings

    def course(self) -> dict[str, Any]:
        """Return everything that determines each iteration, as JSON. It does not depend on when the training ends."""
        return {name: value for name, value in self.settings().items() if name not in ("iterations", "level")}


# Settings that a user can change by name. The policy that training starts from is given as a file instead (--start).
SETTINGS = [field.name for field in fields(Recipe) if field.name not in ("start", "before")]


def recipe_for(task: Task) -> Recipe:
    """Return the recipe of a task. A user's own task has the defaults, changed by the table [expert] of its file.

    Raises:
        GailbenchError: The table has an unknown setting or a value of a wrong type.
    """
    if task.name in RECIPES:
        return RECIPES[task.name]
    return changed(
        Recipe(iterations=200, batch=task.batch, horizon=task.horizon), task.expert, f"[expert] of '{task.name}'"
    )


def changed(recipe: Recipe, given: Iterable[tuple[str, Any]], where: str) -> Recipe:
    """Return a recipe with some settings changed. `where` says where they were given, for messages.

    Raises:
        GailbenchError: A setting is unknown, or its value is not allowed.
    """
    kinds = get_type_hints(Recipe, include_extras=True)
    changes: dict[str, Any] = {}
    for name, value in given:
        if name not in SETTINGS:
            raise GailbenchError(f"{where} has '{name}'{nearest(name, SETTINGS)}")
        changes[name] = typed(f"{where}: {name}", kinds[name], value)
    return replace(recipe, **changes)


def _classic(task_horizon: int = 200, **changes: Any) -> Recipe:
    """Return the recipe of the authors' experts on the classic tasks, with changes: 64x64 tanh, lambda 0.98."""
    return replace(Recipe(iterations=101, batch=5_000, horizon=task_horizon, gae_lambda=0.98), **changes)


def _authors_best(**changes: Any) -> Recipe:
    """Return the recipe of the authors' best experts, with changes: one layer of 50 leaky ReLU units, lambda 0.98,
    episodes of up to 2,000 steps."""
    recipe = Recipe(iterations=500, batch=100_000, horizon=2000, gae_lambda=0.98, hidden=(50,), activation="leaky_relu")
    return replace(recipe, **changes)


RECIPES: dict[str, Recipe] = {
    "cartpole": _classic(
        task_horizon=1000,
        iterations=40,
        reason="Trained on 200-step episodes the expert drifts towards the track's end, since it loses no reward after "
        "step 200. Trained on 1,000-step episodes it stays in the middle. After 101 iterations the entropy is below "
        "0.5, and with one trajectory (20 pairs) of such experts 3 of 6 runs of GAIL ended at returns of 9 to 16. "
        "After 40 iterations the entropy is 0.55.",
    ),
    "acrobot": _classic(
        task_horizon=500,
        iterations=400,
        batch=20_000,
        reason="An untrained policy never swings up within 200 steps, so all rewards are the same and nothing is "
        "learned. Within 500 steps it sometimes does. With the larger batch there are no rare episodes that never end.",
    ),
    "mountaincar": _classic(
        task_horizon=1000,
        iterations=600,
        batch=10_000,
        reason="All rewards are the same until the flag is first reached. Within 1,000 steps the policies of some "
        "seeds reach it by chance (seeds 0 and 3 of 0 to 4). Within 200 steps none does.",
    ),
    "reacher": Recipe(iterations=500, batch=50_000, horizon=50),
    "halfcheetah": _authors_best(
        seed=5,
        level=4.46,
        reason="The recipe of the authors' best experts, up to their return per step. Most seeds find a poor gait: "
        "after 60 iterations seeds 0 to 5 were at 2,084, 2,010, 1,909, 2,081, 3,551 and 4,991 per 2,000 steps. A seed "
        "that learns faster has more action noise when it reaches the level. The entropy per action dimension was "
        "-0.43 for seed 4, is -0.18 for seed 5, and was -0.28 for the authors'. GAIL with 4 trajectories of seed 4's "
        "expert ended at a normalized score of 0.62.",
    ),
    "hopper": Recipe(iterations=300, batch=50_000, horizon=1000, gae_lambda=0.98),
    "walker": _authors_best(
        iterations=1_250,
        batch=25_000,
        seed=2,
        reason="The network, horizon and lambda of the authors' best expert, with a quarter of their batch. The trust "
        "region limits every iteration in the same way, whatever its batch, so smaller batches learn faster per pair. "
        "Seed 0's return per step was 4.24 after 6.2 million pairs; with batches of 100,000 it was 3.23 after 6.9 "
        "million. Batches of 10,000 were not faster per pair. Seed 2 found a faster gait: 5.23 after 6.2 million "
        "pairs.",
    ),
    "ant": Recipe(
        iterations=430,
        batch=50_000,
        horizon=1000,
        gamma=1.0,
        gae_lambda=0.9,
        held=6,
        before=Recipe(
            iterations=687,
            batch=20_000,
            horizon=1000,
            gamma=0.999,
            gae_lambda=0.9,
            held=15,
            before=Recipe(
                iterations=850,
                batch=10_000,
                horizon=1000,
                reason="The authors' network and lambda with a fifth of their batch, for the same reason as walker. "
                "After 1.36 million pairs the return per step was -1.31; with batches of 25,000 it was -1.77.",
            ),
            reason="The first training's expert returned 4,236, but 8 of 50 episodes ended early. With gamma 0.995 "
            "such an end costs the rewards of only 200 steps. More training with it left the mean length at 958; with "
            "0.999 it went from 937 to 976.",
        ),
        reason="With gamma 1 and larger batches the mean length went on to 988, and less action noise was lost.",
    ),
    "humanoid": Recipe(
        iterations=128,
        batch=20_000,
        horizon=1000,
        gamma=0.999,
        gae_lambda=0.95,
        held=15,
        noise_scale=0.4,
        before=Recipe(
            iterations=2_003,
            batch=10_000,
            horizon=1000,
            gae_lambda=0.9,
            advantage_limit=1.0,
            held=60,
            before=Recipe(
                iterations=5_000,
                batch=5_000,
                horizon=1000,
                gae_lambda=0.9,
                reason="Smaller batches than ant's, for the same reason as walker, and a lambda with less noise. The "
                "return of training episodes was 2,674 after 2.5 million pairs; with batches of 10,000 and lambda 0.97 "
                "it was 508.",
            ),
            reason="Begun with the first training's policy, batches of 5,000 gained 0.03 per step and million pairs, "
            "these 0.05. Falls are most of the variance of the advantages, hence the limit.",
        ),
        reason="The second training's expert returned 7,823 and fell in 5 of 50 episodes, nearly always because of its "
        "action noise: the most probable actions returned 8,504 without a fall. With 0.4 of the noise hardly any "
        "training episode ends early, and the return per step rises by 0.05 per million pairs. After 2.6 million pairs "
        "early ends come back.",
    ),
}
