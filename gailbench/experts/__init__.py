"""The experts: TRPO policies trained on the true reward, shipped as safetensors, each with a card in JSON.

`random.json` holds the random policy's returns beside them: both ends of the normalized score.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gailbench.errors import GailbenchError
from gailbench.files import sha256
from gailbench.tasks import TASKS, Task

if TYPE_CHECKING:
    from gailbench.policy import Policy

FOLDER = Path(__file__).parent


@cache
def card(task: str) -> dict[str, Any] | None:
    """Return the card of a task's shipped expert, None if none is shipped."""
    path = FOLDER / f"{task}.json"
    return json.loads(path.read_text()) if path.exists() else None


@cache
def random_returns() -> dict[str, dict[str, Any]]:
    """Return the random policy's returns (uniform actions) by task: mean, std, episodes, seed."""
    path = FOLDER / "random.json"
    return json.loads(path.read_text()) if path.exists() else {}


def shipped() -> list[str]:
    """Return the tasks that ship with an expert, in the paper's order."""
    return [task for task in TASKS if (FOLDER / f"{task}.safetensors").exists()]


def load(task: Task, path: Path | None = None) -> tuple[Policy, str]:
    """Return an expert and the SHA-256 of its file: the task's shipped one, or that of a file.

    Raises:
        GailbenchError: There is none, the file is damaged, does not match its card, or is of another task's shape.
    """
    from gailbench.policy import read_policy  # imports torch, which takes a second

    if path is None:
        path = FOLDER / f"{task.name}.safetensors"
        if not path.exists():
            raise GailbenchError(
                f"no expert is shipped for '{task.name}'; 'gailbench expert train --task {task.name}' trains one, "
                "and 'gailbench demos sample --expert FILE' samples it"
            )
    policy = read_policy(path)
    digest = sha256(path.read_bytes())
    card_path = path.with_suffix(".json")
    if card_path.exists():
        content = json.loads(card_path.read_text())
        if content.get("task") != task.name:
            raise GailbenchError(f"{path} is an expert of '{content.get('task')}', not of '{task.name}'")
        if content.get("sha256") != digest:
            raise GailbenchError(
                f"{path} does not match the SHA-256 in {card_path.name}: one of the two was changed or damaged"
            )
    return policy, digest
