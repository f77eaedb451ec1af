"""Training experts and measuring them in Gymnasium's own environments."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gailbench.algorithms import LOOP_COLUMNS
from gailbench.algorithms.loop import RewardLearner
from gailbench.algorithms.reward import TrueReward
from gailbench.experts import changes_since, load, problem, read_card
from gailbench.experts.recipes import HELD, Recipe
from gailbench.paper.tables import published_baselines
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.files import check_writable, remove_temporary, sha256, sha256_of, write_atomic
from gailbench.plumbing.interrupts import interruptible
from gailbench.plumbing.locks import Lock
from gailbench.plumbing.streams import stream
from gailbench.plumbing.versions import command, versions
from gailbench.policy import Policy, policy_bytes
from gailbench.sampling import gymnasium_episodes
from gailbench.tasks import TASKS, Task
from gailbench.training import AnotherTraining, CheckpointFile, Row, Training, curve_csv, resumed

EPISODES = 50
RANDOM_EPISODES = 200


@dataclass(frozen=True)
class ExpertFiles:
    """The files of one expert: policy, card, learning curve, and the checkpoint from which its training continues."""

    policy: Path

    @property
    def card(self) -> Path:
        return self.policy.with_suffix(".json")

    @property
    def curve(self) -> Path:
        return self.policy.with_suffix(".csv")

    @property
    def checkpoint(self) -> Path:
        return self.policy.with_suffix(".checkpoint.safetensors")

    @property
    def lock(self) -> Path:
        return self.policy.with_suffix(".lock")

    @property
    def finished(self) -> bool:
        """Whether there is a finished expert. The card is written last; a checkpoint without a card means
        unfinished."""
        return self.card.exists() or (self.policy.exists() and not self.checkpoint.exists())

    def forget_finished(self) -> None:
        """Remove the checkpoint of the finished training. The checkpoint of a later training is kept."""
        if not (self.card.exists() and self.checkpoint.exists()):
            return
        if read_card(self.card).get("checkpoint_sha256") == sha256_of(self.checkpoint):
            self.checkpoint.unlink()


def train(
    task: Task,
    recipe: Recipe,
    out: Path,
    on_row: Callable[[Row], None],
    stop: Callable[[], bool] = lambda: False,
    checkpoint_every: float = 300.0,
    overwrite: bool = False,
    start: Path | None = None,
    notice: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train an expert, keep its best policy by the returns of training, measure it on fresh episodes; return its card.

    The checkpoint stays beside the finished expert. The same call with more iterations continues from it, and gives the
    same bytes as one longer training; but if the training ended at its level, the policy that reached the level is kept
    until a later one is better. A finished expert is only overwritten by its own continuation or with `overwrite`.

    With `start`, a policy file, training starts from this policy. In the first iterations only the value function is
    trained.

    A damaged checkpoint is renamed, `notice` gets a message, and the training starts anew. It is an error instead if
    there is a finished expert, or if the checkpoint belongs to another training.

    Raises:
        Interrupted: `stop` returned true or a signal came; the same call continues the training.
        Locked: Another process trains an expert with the same file.
        GailbenchError: The files cannot be written, or hold a finished expert that this call cannot continue; or the
            policy to start from is damaged or has other networks than the recipe's; or the recipe scales the noise of
            discrete actions.
    """
    files = ExpertFiles(out)
    check_writable(out.parent)
    policy = None
    if start is not None:
        policy, recipe = _start(task, recipe, start)
    try:
        with Lock(files.lock):
            for path in (files.policy, files.card, files.curve, files.checkpoint):
                remove_temporary(path)
            refused: tuple[type[GailbenchError], ...] = (AnotherTraining,)
            if files.finished and overwrite:
                files.forget_finished()
            elif files.finished:
                if (card := _finished(task, recipe, files)) is not None:
                    return card
                refused = (GailbenchError,)
            return _train(task, recipe, policy, files, on_row, stop, checkpoint_every, notice, refused)
    except OSError as error:
        raise GailbenchError(f"cannot write the expert to {error.filename or out}: {error.strerror}") from None


def _start(task: Task, recipe: Recipe, path: Path) -> tuple[Policy, Recipe]:
    """Return the policy to start from, and the recipe with its hash.

    Raises:
        GailbenchError: The policy is damaged, of another task, or has other networks than the recipe's.
    """
    policy, digest = load(task, path)
    if (policy.hidden, policy.activation) != (recipe.hidden, recipe.activation):
        raise GailbenchError(
            f"{path} has hidden layers of {policy.hidden} {policy.activation} units, the recipe of {recipe.hidden} "
            f"{recipe.activation}; give --set hidden and --set activation as the policy has them"
        )
    return policy, replace(recipe, start=digest, held=HELD if recipe.held is None else recipe.held)


def is_finished(task: Task, recipe: Recipe, out: Path, start: Path | None = None) -> bool:
    """Whether `out` is a finished expert of this recipe, started from the policy file `start` or a random policy."""
    files = ExpertFiles(out)
    try:
        if start is not None:
            recipe = _start(task, recipe, start)[1]
        return files.finished and _finished(task, recipe, files) is not None
    except GailbenchError:
        return False


def _finished(task: Task, recipe: Recipe, files: ExpertFiles) -> dict[str, Any] | None:
    """Return the card of a finished expert if the recipe asks for no more training; None if training can continue.

    Raises:
        GailbenchError: The expert is of another training, has more iterations than the recipe's, or has no checkpoint.
    """
    anew = "give --overwrite to train it anew, or another --out to keep it"
    if not files.card.exists():
        raise GailbenchError(f"{files.policy} exists, without the card of a finished training; {anew}")
    card = read_card(files.card)
    settings = dict(card.get("settings", {}))
    planned, level = settings.pop("iterations", 0), settings.pop("level", None)
    if card["task"] != task.name or changes_since(task, card) or settings != recipe.course():
        raise GailbenchError(f"{files.policy} is the expert of another task, seed or recipe; {anew}")
    done = int(card.get("iterations_trained") or planned)
    if recipe.iterations == done or (level is not None and level == recipe.level):
        return card
    if recipe.iterations < done:
        raise GailbenchError(
            f"{files.policy} has {done} iterations already, more than the {recipe.iterations} that are given; {anew}"
        )
    if not files.checkpoint.exists():
        raise GailbenchError(
            f"{files.policy} has {done} iterations, but no checkpoint {files.checkpoint.name} to continue from; {anew}"
        )
    return None


def _train(
    task: Task,
    recipe: Recipe,
    start: Policy | None,
    files: ExpertFiles,
    on_row: Callable[[Row], None],
    stop: Callable[[], bool],
    checkpoint_every: float,
    notice: Callable[[str], None],
    refused: tuple[type[GailbenchError], ...],
) -> dict[str, Any]:
    made_with = versions()  # before hours in which the source may change

    def make() -> Training:
        learner = RewardLearner(recipe.training_task(task), TrueReward(), recipe.loop_settings(), recipe.seed)
        learner.held = recipe.held or 0
        learner.advantage_limit = recipe.advantage_limit
        if start is not None:
            learner.policy.load_state(start.state())
        if recipe.noise_scale != 1.0:
            if learner.policy.discrete:
                raise GailbenchError(
                    f"the actions of {task.name} are discrete and have no noise to scale; leave out noise_scale"
                )
            learner.policy.scale_noise(recipe.noise_scale)
        return Training(learner, recipe.iterations, keep_best=True, level=recipe.level)

    spec = {"task": task.name, "recipe": recipe.course(), **({} if task.name in TASKS else problem(task))}
    checkpoint = CheckpointFile(files.checkpoint, spec, checkpoint_every)
    training = resumed(make, checkpoint, notice, refused)
    if training.learner.iteration > recipe.iterations:
        raise GailbenchError(
            f"{files.checkpoint} has {training.learner.iteration} iterations already, more than the "
            f"{recipe.iterations} that are given; give --iterations {training.learner.iteration} or more, or another "
            "--out"
        )
    training.run(checkpoint, on_row, stop)
    learner = training.learner
    assert isinstance(learner, RewardLearner)
    assert training.best is not None  # a batch holds whole episodes, so every iteration has a return
    policy = learner.policy
    policy.load_state(training.best)
    content = policy_bytes(policy)
    best = training.rows[training.best_row]
    with interruptible():
        figures = measure(task, policy, recipe.seed)
        ends = _published(task) if task.name in TASKS else {"random": measure_random(task, RANDOM_EPISODES, 0)}
    card = {
        "task": task.name,
        **problem(task),
        "sha256": sha256(content),
        **figures,
        "steps": int(best["steps"]),
        "steps_trained": learner.steps,
        "iteration": int(best["iteration"]),
        "iterations_trained": learner.iteration,
        "checkpoint_sha256": sha256_of(files.checkpoint),
        "wall_seconds": round(training.seconds, 1),
        "settings": recipe.settings(),
        "versions": made_with,
        "command": command(),
        **ends,
    }
    write_atomic(files.policy, content)
    write_atomic(files.curve, curve_csv(training.rows, LOOP_COLUMNS))
    write_atomic(files.card, json.dumps(card, indent=2) + "\n")
    return card


def _published(task: Task) -> dict[str, float]:
    """Return the returns of the paper's expert for this task."""
    paper = published_baselines().to_dict("index")[task.name]
    return {"paper_mean": float(paper["expert_mean"]), "paper_std": float(paper["expert_std"])}


def measure(task: Task, policy: Policy, seed: int, episodes: int = EPISODES) -> dict[str, Any]:
    """Return mean and std of the returns of fresh episodes, and how many episodes end before the horizon. There are
    figures for sampled and for the most probable actions, both in Gymnasium's own environment."""
    figures: dict[str, Any] = {"episodes": episodes}
    for kind in ("stochastic", "deterministic"):
        generator = stream(seed, f"evaluation/{kind}")
        returns, lengths = gymnasium_episodes(task, policy, episodes, generator, kind == "deterministic")
        figures[f"{kind}_mean"] = round(float(returns.mean()), 4)
        figures[f"{kind}_std"] = round(float(returns.std()), 4)
        figures[f"{kind}_early_ends"] = int((lengths < task.horizon).sum())
    return figures


def measure_random(task: Task, episodes: int, seed: int) -> dict[str, Any]:
    """Return mean and std of the random policy's returns, with the settings and versions that gave them."""
    returns, _ = gymnasium_episodes(task, None, episodes, stream(seed, f"random/{task.name}"), False)
    return {
        "mean": round(float(returns.mean()), 4),
        "std": round(float(returns.std()), 4),
        "episodes": episodes,
        "seed": seed,
        "environment": task.environment,
        "horizon": task.horizon,
        "versions": {name: versions()[name] for name in ("gymnasium", "mujoco", "numpy")},
    }
