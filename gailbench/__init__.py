"""gailbench: Generative Adversarial Imitation Learning (Ho & Ermon, 2016), reproduced cell by cell.

The names below are imported when they are first used, so that `import gailbench` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["GailbenchError", "load_policy", "load_results", "run", "sample_demonstrations", "tasks"]

if TYPE_CHECKING:
    from gailbench import tasks
    from gailbench.api import load_policy, load_results, run, sample_demonstrations
    from gailbench.plumbing.errors import GailbenchError


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gailbench' has no attribute {name!r}")
    if name == "tasks":
        return import_module("gailbench.tasks")
    return getattr(import_module("gailbench.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
