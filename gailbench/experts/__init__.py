"""The experts: policies trained by TRPO on the true reward. They ship as safetensors files, each with a card in JSON.

`random.json` holds the returns of the random policy. Random returns are 0 in the normalized score, expert returns are
1.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.files import read_regular, sha256_of
from gailbench.simulation import dimensions
from gailbench.tasks import TASKS, Task, as_option

if TYPE_CHECKING:
    from gailbench.demonstrations import Demonstrations
    from gailbench.policy import Policy

FOLDER = Path(__file__).parent


@cache
def card(task: str) -> dict[str, Any] | None:
    """Return the card of a task's shipped expert; None if no expert is shipped.

    Raises:
        GailbenchError: The card is damaged.
    """
    path = FOLDER / f"{task}.json"
    return read_card(path) if path.exists() else None


def read_card(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, "expert's card"))
        if not isinstance(content, dict) or not {"task", "sha256"} <= set(content):
            raise ValueError("task or sha256 is missing")
    except (ValueError, RecursionError) as error:
        raise GailbenchError(f"{path} is not a readable expert's card ({first_line(error)})") from None
    return content


def own_cards(results: Path) -> dict[str, dict[str, Any]]:
    """Return the cards in a results folder, by file name: the experts of a user's own tasks. Damaged cards are left
    out."""
    cards = {}
    for path in sorted((results / "experts").glob("*.json")):
        with contextlib.suppress(GailbenchError):
            cards[path.stem] = read_card(path)
    return cards


def own_horizons(results: Path) -> dict[str, int]:
    """Return the horizons of a user's own tasks with experts in a results folder. Cards of earlier versions, which name
    none, are left out."""
    horizons = {name: card.get("horizon") for name, card in own_cards(results).items() if name not in TASKS}
    return {name: horizon for name, horizon in horizons.items() if isinstance(horizon, int) and horizon > 0}


@cache
def random_returns() -> dict[str, dict[str, Any]]:
    """Return the returns of the random policy (uniform actions) by task: mean, std, episodes, seed."""
    path = FOLDER / "random.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def shipped() -> list[str]:
    """Return the tasks that ship with an expert, in the paper's order."""
    return [task for task in TASKS if (FOLDER / f"{task}.safetensors").exists()]


def default_path(task: Task, results: Path = Path("results")) -> Path:
    """Return the path of a task's expert: in the package for the paper's tasks, in the results folder for others."""
    folder = FOLDER if task.name in TASKS else results / "experts"
    return folder / f"{task.name}.safetensors"


def card_of(task: Task, results: Path) -> dict[str, Any] | None:
    """Return the card of a task's expert; None if there is no expert.

    Raises:
        GailbenchError: The card is damaged.
    """
    if task.name in TASKS:
        return card(task.name)
    path = default_path(task, results).with_suffix(".json")
    return read_card(path) if path.exists() else None


def check_exists(task: Task, results: Path) -> None:
    """Check that a task has an expert.

    Raises:
        GailbenchError: The task has no expert. The message says how to train one.
    """
    path = default_path(task, results)
    if not path.exists():
        raise GailbenchError(
            f"there is no expert of '{task.name}' at {path}; 'gailbench run --demos' takes demonstrations of your own, "
            f"and this command trains one: {_command(task, path)}"
        )


def check_trained_on(task: Task, path: Path, card: Mapping[str, Any]) -> None:
    """Check that an expert was trained on a task as it is now. Cards of earlier versions name only the environment.

    Raises:
        GailbenchError: The environment, the horizon or the environment's keyword arguments have changed since.
    """
    if changes := changes_since(task, card):
        name, (then, now) = next(iter(changes.items()))
        raise GailbenchError(
            f"{path} was trained on '{task.name}' with {name} {then}, which is now {now}; give the changed task "
            f"another name, or train its expert anew: {_command(task, path)} --overwrite"
        )


def _command(task: Task, path: Path) -> str:
    """Return the command that trains a task's expert at its path."""
    out = "" if task.name in TASKS else f" --out {shlex.quote(str(path))}"
    return f"gailbench expert train {as_option(task)}{out}"


def changes_since(task: Task, card: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what has changed in a task since its expert was trained, by name: then and now."""
    now = problem(task)
    return {name: (card[name], value) for name, value in now.items() if card.get(name, value) != value}


def problem(task: Task) -> dict[str, Any]:
    """Return what an expert of a task was trained to do, for its card: environment, horizon and keyword arguments."""
    kwargs = json.loads(json.dumps(dict(task.kwargs)))
    return {"environment": task.environment, "horizon": task.horizon, "kwargs": kwargs}


def load(task: Task, path: Path | None = None, results: Path = Path("results")) -> tuple[Policy, str]:
    """Return an expert and the SHA-256 of its file. Without `path` it is the task's expert (see `default_path`).

    Raises:
        GailbenchError: There is no expert, or its file is damaged, does not match its card, or does not fit the task.
    """
    from gailbench.policy import read_policy  # imports torch, which takes a second

    named = path is not None
    if path is None:
        check_exists(task, results)
        path = default_path(task, results)
    policy = read_policy(path)
    digest = sha256_of(path)
    card_path = path.with_suffix(".json")
    if card_path.exists():
        content = read_card(card_path)
        if content["task"] != task.name:
            raise GailbenchError(f"{path} is an expert of '{content['task']}', not of '{task.name}'")
        if content["sha256"] != digest:
            raise GailbenchError(
                f"{path} does not match the SHA-256 in {card_path.name}: one of the two was changed or damaged"
            )
        if not named:
            check_trained_on(task, path, content)
    check_dimensions(task, path, policy.observation_dim, policy.action_dim, policy.discrete)
    return policy, digest


def load_demonstrator(task: Task, demonstrations: Demonstrations | None, results: Path) -> Policy:
    """Return the expert that the demonstrations were sampled from, for algorithms that query the expert.

    Raises:
        GailbenchError: The task has no expert, or the demonstrations were sampled from another policy. A run's spec
            holds the hash of the policy that its demonstrations were sampled from, and would then be wrong.
    """
    policy, digest = load(task, results=results)
    if demonstrations is None or demonstrations.expert_sha256 != digest:
        raise GailbenchError(
            f"this algorithm queries the expert of '{task.name}', but the demonstrations were not sampled from it; "
            "leave out --demos"
        )
    return policy


def check_dimensions(task: Task, source: Path | str, observation_dim: int, action_dim: int, discrete: bool) -> None:
    """Check that dimensions are those of a task. `source` is what has them, for the message: a file, "the policy".

    Raises:
        GailbenchError: They are not. The message says what was expected.
    """
    found, expected = (observation_dim, action_dim, discrete), dimensions(task)
    if found != expected:
        raise GailbenchError(
            f"{source} does not fit '{task.name}': it has {_words(found)}, expected {_words(expected)}"
        )


def _words(values: tuple[int, int, bool]) -> str:
    observation_dim, action_dim, discrete = values
    actions = f"{action_dim} discrete actions" if discrete else f"actions of {action_dim} numbers"
    return f"observations of {observation_dim} numbers and {actions}"
