"""Trainings that are killed with SIGKILL, and resumed, end with the bytes of those that were left alone.

The longer version of this, with whole commands, is `benchmarks/kills.py`.
"""

from __future__ import annotations

import multiprocessing
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gailbench import demonstrations, experts
from gailbench.demonstrations import Demonstrations
from gailbench.experts.recipes import RECIPES
from gailbench.experts.train import train
from gailbench.plumbing.computing import prepare_process
from gailbench.runs import folder as folders
from gailbench.runs.execute import execute
from gailbench.runs.spec import make_spec
from gailbench.tasks import get_task

KILLS = 4  # of each kind


@dataclass(frozen=True)
class Kind:
    """A training at a small budget."""

    task: str
    algorithm: str  # or "expert"
    iterations: int


KINDS = (
    Kind("cartpole", "gail", 15),
    Kind("cartpole", "fem", 15),
    Kind("cartpole", "bc", 1_000),
    Kind("hopper", "gail", 8),
    Kind("cartpole", "expert", 8),
    Kind("hopper", "expert", 3),
)


def carry_out(kind: Kind, demos: Demonstrations | None, folder: Path) -> None:
    """Do a training, or what is left of it, with a checkpoint at every iteration."""
    prepare_process(1)
    folders.EPISODES = 5  # hopper's 50 take longer than its training here
    task = get_task(kind.task)
    if demos is None:
        recipe = replace(RECIPES[kind.task], iterations=kind.iterations, batch=1_000)
        train(task, recipe, folder / "expert.safetensors", lambda row: None, checkpoint_every=0)
    else:
        spec = make_spec(task, kind.algorithm, 2, 0, demos, batch=1_000, iterations=kind.iterations)
        execute(spec, demos, folder, checkpoint_every=0)


def results(kind: Kind, folder: Path) -> dict[str, bytes]:
    """Bytes of policy, learning curve and returns, by name."""
    names = ("expert.safetensors", "expert.csv")
    if kind.algorithm != "expert":
        names = ("spec.json", "policy.safetensors", "curve.csv", "evaluation.csv")
        (folder,) = (path.parent for path in folder.rglob("evaluation.csv"))
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def processes() -> Any:
    """Makes processes that do not have to import anything any more when they start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_kills"])
    return context


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.task}-{kind.algorithm}")
def test_a_killed_training_ends_with_the_bytes_of_an_undisturbed_one(
    kind: Kind, processes: Any, tmp_path: Path
) -> None:
    demos = None
    if kind.algorithm != "expert":
        policy, digest = experts.load(get_task(kind.task))
        demos = demonstrations.sample(get_task(kind.task), policy, digest, 2, 0)

    def start(folder: str) -> Any:
        process = processes.Process(target=carry_out, args=(kind, demos, tmp_path / folder))
        process.start()
        return process

    started = time.monotonic()
    undisturbed = start("undisturbed")
    undisturbed.join()
    assert undisturbed.exitcode == 0
    seconds = time.monotonic() - started

    generator = random.Random(KINDS.index(kind))
    kills = begun = 0
    while kills < KILLS:
        # A run that was complete before it could be killed is begun again, elsewhere.
        begun += 1
        folder = f"killed-{begun}"
        killed = start(folder)
        for _ in range(KILLS - kills):
            killed.join(generator.uniform(0, 0.5 * seconds))
            if killed.exitcode is not None:
                break
            killed.kill()
            killed.join()
            kills += 1
            killed = start(folder)
        killed.join()
        assert killed.exitcode == 0
        assert results(kind, tmp_path / folder) == results(kind, tmp_path / "undisturbed")
        leftovers = [path.name for path in (tmp_path / folder).rglob("*") if path.name.endswith((".tmp", "lock"))]
        assert leftovers == []
        # A run's is of no use any more; an expert's stays for more iterations.
        assert len(list((tmp_path / folder).rglob("*checkpoint*"))) == (kind.algorithm == "expert")
