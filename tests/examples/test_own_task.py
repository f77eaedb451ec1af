"""The example of an own task: from its file to the report, at a tiny budget."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from cli_helpers import call

from gailbench import demonstrations
from gailbench.policy import read_policy
from gailbench.tasks import ALGORITHMS, find_task

FILE = Path(__file__).parents[2] / "examples" / "inverted-pendulum" / "task.toml"
NAME = "inverted-pendulum"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the expert was trained, demonstrations were sampled, all four ran and the report was written."""
    folder = tmp_path_factory.mktemp("own-task")
    task = ("--task", FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (
            ("tasks", "check", FILE),
            ("expert", "train", *task, "--iterations", 3),
            ("demos", "sample", *task),
            ("run", *task, "--sizes", 4, "--iterations", 2, "--batch", 400, "--jobs", 1),
            ("report", "--format", "md,csv,html"),
        ):
            finished = call(*command)
            assert finished.code == 0, finished.err
    return folder


def test_every_line_of_the_file_is_explained() -> None:
    """A comment stands above each key, or above the table that it is in."""
    explained = False
    for line in FILE.read_text().splitlines():
        if not line:
            explained = False
        elif line.startswith("#"):
            explained = True
        else:
            assert explained, line


def test_the_file_says_what_the_task_is() -> None:
    task, content = find_task(str(FILE)), tomllib.loads(FILE.read_text())
    assert (task.name, task.environment, task.horizon) == (NAME, "InvertedPendulum-v5", 200)
    assert task.algorithms == ALGORITHMS
    assert (task.sizes, task.batch) == (tuple(content["sizes"]), content["batch"])
    assert dict(task.settings)["gail.hidden"] == tuple(content["settings"]["gail"]["hidden"])


def test_the_expert_is_in_the_results_with_its_card(folder: Path) -> None:
    card = json.loads((folder / "results" / "experts" / f"{NAME}.json").read_text())
    assert card["task"] == NAME
    assert card["stochastic_mean"] > card["random"]["mean"]  # three iterations help


def test_demonstrations_are_sampled_from_it(folder: Path) -> None:
    task = find_task(str(FILE))
    sampled = demonstrations.read(folder / "demos" / f"{NAME}.npz")
    assert (sampled.task, sampled.trajectories) == (NAME, task.demonstrations)
    runs = demonstrations.read(folder / "results" / "demos" / f"{NAME}.npz")  # those that `run` sampled itself
    assert runs.sha256() == sampled.sha256()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_ran_on_the_task_of_the_file(algorithm: str, folder: Path) -> None:
    runs = folder / "results" / "runs" / f"task={NAME}" / f"algorithm={algorithm}"
    (run,) = (path.parent for path in runs.rglob("evaluation.csv"))
    spec = json.loads((run / "spec.json").read_text())
    assert spec["trajectories"] == 4
    assert spec["definition"]["kwargs"] == [["reset_noise_scale", 0.01]]
    hidden = (100, 100) if algorithm == "bc" else (32, 32)  # [settings.loop] is for what learns from a reward
    assert read_policy(run / "policy.safetensors").hidden == hidden
    assert len(pd.read_csv(run / "evaluation.csv")) == 50


def test_the_report_has_all_four(folder: Path) -> None:
    other = pd.read_csv(folder / "results" / "report" / "other_settings.csv")
    assert sorted(other["algorithm"]) == sorted(ALGORITHMS)
    assert set(other["task"]) == {NAME}
