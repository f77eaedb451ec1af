"""Made-up run folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gailbench.report import load
from gailbench.runs import folder
from gailbench.tasks import TASKS

WriteRun = Callable[..., Path]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture
def baselines() -> pd.DataFrame:
    """Random 0 and expert 100 on walker, -50 and 0 on reacher; nothing known of the others."""
    frame = pd.DataFrame(index=pd.Index(TASKS, name="task"), columns=["random_mean", "expert_mean"], dtype=float)
    frame.loc["walker"] = [0.0, 100.0]
    frame.loc["reacher"] = [-50.0, 0.0]
    return frame


@pytest.fixture(autouse=True)
def any_number_of_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of these tests have a few evaluation episodes, where real ones have 50."""

    def read(path: Path) -> Any:
        return folder.read_evaluation(path, len(path.read_text().splitlines()) - 1)

    monkeypatch.setattr(load, "read_evaluation", read)


@pytest.fixture
def write_run(results: Path) -> WriteRun:
    """Return a function that writes one run folder; keywords override spec.json."""

    def write(
        task: str = "walker",
        algorithm: str = "gail",
        trajectories: int = 11,
        seed: int = 0,
        settings: str = "paper",
        returns: Sequence[float] | None = (10.0, 20.0),
        iterations_of_curve: int = 3,
        **spec: Any,
    ) -> Path:
        name = f"task={task}/algorithm={algorithm}/settings={settings}/trajectories={trajectories}/seed={seed}"
        run = results / "runs" / name
        run.mkdir(parents=True)
        weight = float(settings.split("-")[1]) if settings.startswith("entropy_weight-") else 0.0
        known = {
            "task": task,
            "algorithm": algorithm,
            "settings": settings,
            "trajectories": trajectories,
            "seed": seed,
            "entropy_weight": weight if algorithm == "gail" else None,
            "batch": TASKS.get(task, TASKS["walker"]).batch,
            "iterations": TASKS.get(task, TASKS["walker"]).iterations,
            "demonstrations_sha256": "d" * 64,
            "expert_sha256": "e" * 64,
            "format": 1,
        }
        (run / "spec.json").write_text(json.dumps(known | spec))
        empty = algorithm == "bc"
        diagnostics = "0.7,0.8,0.6,0.1,0.01,2.5" if algorithm == "gail" else ",,,,0.01,2.5"
        rows = [
            f"{i},,,,,,,,,,,,,,,,0.5,0.6"
            if empty
            else f"{i},{50_000 * i},50,{100 * i + seed},5,1000,0,1,{diagnostics},0,0.5,,"
            for i in range(1, iterations_of_curve + 1)
        ]
        header = (
            "iteration,steps,episodes,return_mean,return_std,length_mean,length_std,reward_mean,"
            "discriminator_loss,expert_accuracy,policy_accuracy,jensen_shannon,kl,entropy,halvings,"
            "explained_variance,training_loss,validation_loss"
        )
        (run / "curve.csv").write_text("\n".join([header, *rows]) + "\n")
        if returns is not None:
            lines = [f"{episode},{value},1000" for episode, value in enumerate(returns)]
            (run / "evaluation.csv").write_text("\n".join(["episode,return,length", *lines]) + "\n")
        return run

    return write
