"""One real run of every command: what it prints, where, its exit code and the files it leaves."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import numpy as np
import pytest
from cli_helpers import Finished, call, launch

import gailbench
from gailbench import demonstrations, experts
from gailbench.algorithms import LOOP_COLUMNS
from gailbench.cli import cli
from gailbench.experts.recipes import RECIPES
from gailbench.paper.tables import published_baselines
from gailbench.plumbing.interrupts import STOP
from gailbench.policy import read_policy
from gailbench.report.markdown import BEGIN, END
from gailbench.runs import grid
from gailbench.tasks import ALGORITHMS, TASKS, Task

TINY = ("--iterations", 2, "--batch", 1000)
CARD_KEYS = {
    "task",
    "stochastic_mean",
    "stochastic_std",
    "deterministic_mean",
    "deterministic_std",
    "steps",
    "paper_mean",
}


def test_version_prints_the_installed_version(tmp_path: Path) -> None:
    finished = launch("--version", folder=tmp_path)
    assert finished.code == 0
    assert gailbench.__version__ in finished.out
    assert finished.err == ""


# Tasks


def test_tasks_lists_the_nine_tasks_on_stdout(tmp_path: Path) -> None:
    finished = launch("tasks", folder=tmp_path)
    assert (finished.code, finished.err) == (0, "")
    rows = [line.split() for line in finished.out.splitlines()]
    assert [row[0] for row in rows[1:]] == list(TASKS)
    assert all(TASKS[row[0]].environment == row[1] for row in rows[1:])


def test_tasks_as_json_has_every_setting_of_every_task(tmp_path: Path) -> None:
    finished = launch("tasks", "--json", folder=tmp_path)
    assert (finished.code, finished.err) == (0, "")
    listed = {entry["name"]: entry for entry in json.loads(finished.out)}
    assert list(listed) == list(TASKS)
    for entry in listed.values():
        assert set(entry) == {field.name for field in fields(Task)}
    humanoid, reacher = listed["humanoid"], listed["reacher"]
    assert humanoid["sizes"] == [80, 160, 240]
    assert (humanoid["batch"], humanoid["iterations"], humanoid["horizon"]) == (50_000, 1_500, 1_000)
    assert reacher["entropy_weights"] == [0.0, 0.001, 0.01]
    assert reacher["algorithms"] == ["bc", "gail"]


# Experts


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A folder with a cart-pole expert of two iterations, and how its training ended."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, launch(
        "expert", "train", "--task", "cartpole", "--iterations", 2, "--out", "own/cartpole.safetensors", folder=folder
    )


def test_expert_train_writes_policy_card_curve_and_checkpoint(trained: tuple[Path, Finished]) -> None:
    folder, finished = trained
    assert finished.code == 0, finished.err
    assert sorted(path.name for path in (folder / "own").iterdir()) == [
        "cartpole.checkpoint.safetensors",
        "cartpole.csv",
        "cartpole.json",
        "cartpole.safetensors",
    ]
    assert [path.name for path in folder.iterdir()] == ["own"]
    assert finished.out.startswith("cartpole: stochastic ")
    assert "own/cartpole.safetensors" in finished.out


def test_expert_train_shows_plan_curve_and_next_command_on_stderr(trained: tuple[Path, Finished]) -> None:
    lines = trained[1].err.splitlines()
    assert lines[0].startswith("cartpole: at least 10.0 thousand steps, about ")
    assert [line.split(":")[0] for line in lines[1:3]] == ["iteration 1", "iteration 2"]
    assert lines[-1] == "next: gailbench demos sample --task cartpole --expert own/cartpole.safetensors"


def test_an_expert_card_says_what_it_scores_and_how_it_was_made(trained: tuple[Path, Finished]) -> None:
    policy = trained[0] / "own" / "cartpole.safetensors"
    card = json.loads(policy.with_suffix(".json").read_text())
    assert set(card) >= CARD_KEYS | {"sha256", "settings", "versions", "command", "episodes", "environment"}
    assert card["sha256"] == hashlib.sha256(policy.read_bytes()).hexdigest()
    assert card["settings"] == {**RECIPES["cartpole"].settings(), "iterations": 2}
    assert {"gailbench", "torch", "mujoco", "gymnasium", "numpy", "python"} <= set(card["versions"])
    assert card["command"].endswith("expert train --task cartpole --iterations 2 --out own/cartpole.safetensors")
    assert 0 < card["stochastic_mean"] <= 200
    assert card["paper_mean"] == published_baselines().loc["cartpole", "expert_mean"]
    # One more batch than iterations: it started the standardizers.
    recipe = RECIPES["cartpole"]
    assert 3 * recipe.batch <= card["steps_trained"] < 3 * (recipe.batch + recipe.horizon)


def test_an_experts_learning_curve_has_a_row_per_iteration(trained: tuple[Path, Finished]) -> None:
    curve = _rows((trained[0] / "own" / "cartpole.csv").read_text())
    assert tuple(curve[0]) == LOOP_COLUMNS
    assert [row["iteration"] for row in curve] == ["1", "2"]
    assert all(float(row["return_mean"]) > 0 for row in curve)


def test_the_same_seed_trains_the_same_expert(trained: tuple[Path, Finished], tmp_path: Path) -> None:
    first = trained[0] / "own" / "cartpole.safetensors"
    command = ("expert", "train", "--task", "cartpole", "--iterations", 2)
    again = launch(*command, "--out", "again.safetensors", folder=tmp_path)
    other = call(*command, "--seed", 1, "--out", tmp_path / "other.safetensors")
    assert (again.code, other.code) == (0, 0)
    assert (tmp_path / "again.safetensors").read_bytes() == first.read_bytes()
    assert (tmp_path / "again.csv").read_bytes() == first.with_suffix(".csv").read_bytes()
    assert (tmp_path / "other.safetensors").read_bytes() != first.read_bytes()


def test_expert_train_never_overwrites_the_policy_with_its_card(tmp_path: Path) -> None:
    out = tmp_path / "cartpole.json"
    finished = call("expert", "train", "--task", "cartpole", "--iterations", 1, "--out", out)
    if finished.code == 0:
        read_policy(out)
    else:
        assert finished.code in (1, 2)
        assert not out.exists()


def test_expert_list_shows_every_shipped_expert(tmp_path: Path) -> None:
    finished = launch("expert", "list", folder=tmp_path)
    assert (finished.code, finished.err) == (0, "")
    assert [line.split()[0] for line in finished.out.splitlines()[1:]] == experts.shipped()


def test_expert_list_as_json_gives_the_cards() -> None:
    finished = call("expert", "list", "--json")
    assert (finished.code, finished.err) == (0, "")
    cards = json.loads(finished.out)
    assert [card["task"] for card in cards] == experts.shipped()
    for card in cards:
        assert set(card) >= CARD_KEYS
        assert all(isinstance(card[key], float) for key in CARD_KEYS - {"task", "steps"})
        assert isinstance(card["steps"], int)


def test_expert_evaluate_measures_a_policy_file(trained: tuple[Path, Finished]) -> None:
    finished = launch(
        "expert",
        "evaluate",
        *("--task", "cartpole", "--expert", "own/cartpole.safetensors", "--episodes", 4, "--json"),
        folder=trained[0],
    )
    assert (finished.code, finished.err) == (0, "")
    (result,) = json.loads(finished.out)
    assert result["task"] == "cartpole"
    assert result["episodes"] == 4
    assert 1 <= result["stochastic_mean"] <= 200
    assert 1 <= result["deterministic_mean"] <= 200
    assert result["stochastic_std"] >= 0


def test_expert_evaluate_takes_the_shipped_expert_by_default() -> None:
    finished = call("expert", "evaluate", "--task", "cartpole", "--episodes", 2)
    assert finished.code == 0
    assert finished.out == (
        "cartpole: stochastic 200.00 ± 0.00, deterministic 200.00 ± 0.00 (2 episodes each)\n"  # that of a perfect one
    )


def test_expert_random_measures_the_uniform_policy(tmp_path: Path) -> None:
    finished = launch(
        "expert", "random", "--task", "cartpole", "--episodes", 3, "--out", "random.json", folder=tmp_path
    )
    assert (finished.code, finished.err) == (0, "")
    figures = json.loads((tmp_path / "random.json").read_text())["cartpole"]
    assert finished.out == f"cartpole: {figures['mean']:.2f} ± {figures['std']:.2f} (3 episodes)\n"
    assert 8 <= figures["mean"] <= 200
    assert (figures["episodes"], figures["seed"], figures["horizon"]) == (3, 0, 200)


def test_expert_random_replaces_a_file_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "random.json"
    path.write_text("mine")
    measure = ("expert", "random", "--task", "cartpole", "--episodes", 1, "--out", path)
    refused = call(*measure)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == f"gailbench: {path} exists already; give another --out, or --overwrite\n"
    assert path.read_text() == "mine"
    assert call(*measure, "--overwrite").code == 0
    assert "cartpole" in path.read_text()


# Demonstrations


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A folder with three cart-pole demonstrations, and how their sampling ended."""
    folder = tmp_path_factory.mktemp("sampled")
    return folder, launch("demos", "sample", "--task", "cartpole", "--trajectories", 3, folder=folder)


def test_demos_sample_writes_whole_trajectories_of_the_shipped_expert(sampled: tuple[Path, Finished]) -> None:
    folder, finished = sampled
    assert finished.code == 0, finished.err
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["cartpole.npz"]
    found = demonstrations.read(folder / "demos" / "cartpole.npz")
    card = experts.card("cartpole")
    assert card is not None
    assert (found.task, found.trajectories, found.seed) == ("cartpole", 3, 0)
    assert found.expert_sha256 == card["sha256"]
    assert (found.terminated | found.truncated).all()
    np.testing.assert_array_equal(found.returns, found.lengths)  # a reward of 1 in every step
    assert f"return {found.returns.mean():.2f} ± {found.returns.std():.2f}" in finished.out
    assert finished.err == "next: gailbench run --task cartpole --demos demos/cartpole.npz --sizes 1\n"


def test_demos_show_says_what_a_file_holds(sampled: tuple[Path, Finished]) -> None:
    folder, _ = sampled
    finished = launch("demos", "show", "demos/cartpole.npz", "--json", folder=folder)
    assert (finished.code, finished.err) == (0, "")
    found = demonstrations.read(folder / "demos" / "cartpole.npz")
    shown = json.loads(finished.out)
    assert shown["task"] == "cartpole"
    assert (shown["trajectories"], shown["pairs"]) == (3, len(found.observations))
    assert shown["return_mean"] == pytest.approx(found.returns.mean(), abs=1e-4)
    assert (shown["observation_dim"], shown["actions"]) == (4, "2 discrete")
    assert shown["sha256"] == found.sha256()

    plain = call("demos", "show", folder / "demos" / "cartpole.npz")
    assert plain.code == 0
    assert plain.out.splitlines() == [f"{name}: {value}" for name, value in shown.items()]


def test_the_same_seed_samples_the_same_demonstrations(sampled: tuple[Path, Finished], tmp_path: Path) -> None:
    first = demonstrations.read(sampled[0] / "demos" / "cartpole.npz")
    for seed in (0, 1):
        path = tmp_path / f"{seed}.npz"
        done = call("demos", "sample", "--task", "cartpole", "--trajectories", 3, "--seed", seed, "--out", path)
        assert done.code == 0
        assert (demonstrations.read(path).sha256() == first.sha256()) is (seed == 0)


def test_sampling_never_overwrites_unasked(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    path.write_bytes(b"precious")
    sample = ("demos", "sample", "--task", "cartpole", "--trajectories", 1, "--out", path)
    refused = call(*sample)
    assert (refused.code, path.read_bytes()) == (1, b"precious")
    assert "own.npz exists already; give another --out, or --overwrite" in refused.err
    assert call(*sample, "--overwrite").code == 0
    assert demonstrations.read(path).trajectories == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_before_anything_has_to_be_saved_is_control_c(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "plan_all", lambda *arguments: os.kill(os.getpid(), number))
    before = {stop: signal.getsignal(stop) for stop in STOP}
    try:
        interrupted = call("run", "--task", "cartpole")
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)
    assert (interrupted.code, interrupted.err.strip()) == (130, "gailbench: interrupted")


# Runs and report


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A folder with results of all four algorithms and two seeds, and how their run ended."""
    folder = tmp_path_factory.mktemp("ran")
    command = ("run", "--task", "cartpole", "--sizes", 1, "--seeds", "0,1", *TINY, "--jobs", 2)
    return folder, launch(*command, folder=folder)


def test_run_leaves_a_complete_folder_for_every_algorithm_and_seed(ran: tuple[Path, Finished]) -> None:
    folder, finished = ran
    assert (finished.code, finished.out) == (0, "")
    task = folder / "results" / "runs" / "task=cartpole"
    assert {path.parent.relative_to(task).as_posix() for path in task.rglob("evaluation.csv")} == {
        f"algorithm={algorithm}/settings={settings}/trajectories=1/seed={seed}"
        for algorithm in ALGORITHMS
        for settings in ["iterations-2" if algorithm == "bc" else "batch-1000,iterations-2"]
        for seed in (0, 1)
    }
    assert not list(task.rglob("checkpoint.safetensors"))
    assert not list(task.rglob("error.txt"))


def test_run_tells_its_budget_first_and_the_next_command_last(ran: tuple[Path, Finished]) -> None:
    lines = ran[1].err.splitlines()
    # FEM, GTAL and GAIL, two seeds, two iterations of 1,000; BC takes no environment steps.
    assert lines[0].startswith(
        "8 runs: 0 complete, 0 to resume, 8 new; at least 12.0 thousand environment steps, about "
    )
    assert lines[0].endswith("with 2 jobs")
    assert [line.split(",")[0] for line in lines[1:-1]] == [f"[{k}/8" for k in range(1, 9)]
    assert lines[-1] == "next: gailbench report --results results"


def test_the_next_command_can_be_copied_whatever_the_folder_is_called(tmp_path: Path) -> None:
    results = tmp_path / "res ü x"
    run = call("run", "--task", "cartpole", "--algorithms", "constant", *TINY, "--jobs", 1, "--results", results)
    assert run.code == 0, run.err
    assert shlex.split(run.err.splitlines()[-1].removeprefix("next: "))[-1] == str(results)


def test_planning_runs_does_not_import_torch(sampled: tuple[Path, Finished], tmp_path: Path) -> None:
    """Its import takes seconds, and workers do it again."""
    demos = sampled[0] / "demos" / "cartpole.npz"
    arguments = ["run", "--task", "cartpole", "--sizes", "1", "--demos", str(demos), "--dry-run"]
    code = "import sys; from gailbench.cli import cli; cli(sys.argv[1:], standalone_mode=False); "
    code += "sys.exit('torch' in sys.modules)"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "about " in done.stderr


def test_a_second_run_skips_what_is_complete(ran: tuple[Path, Finished]) -> None:
    folder, _ = ran
    before = {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*")}
    finished = launch(
        "run", "--task", "cartpole", "--sizes", 1, "--seeds", "0,1", *TINY, "--results", "results", folder=folder
    )
    assert finished.code == 0
    assert finished.err.startswith("8 runs: 8 complete, 0 to resume, 0 new; 0 environment steps")
    assert {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*")} == before


def test_report_prints_the_table_and_writes_it(ran: tuple[Path, Finished]) -> None:
    folder, _ = ran
    paper = launch(
        "run", "--task", "cartpole", "--sizes", 1, "--algorithms", "bc", "--seeds", "0,1", "--jobs", 1, folder=folder
    )
    assert paper.code == 0, paper.err
    finished = launch("report", folder=folder)
    assert finished.code == 0, finished.err
    report = folder / "results" / "report"
    table = _rows((report / "table.csv").read_text())
    assert list(table[0]) == [
        *("task", "algorithm", "entropy_weight", "trajectories", "seeds", "episodes", "mean", "std"),
        *("normalized_mean", "paper_mean", "paper_std", "paper_normalized_mean"),
        *("failed_runs", "paper_failed_runs", "failures_p", "published"),
    ]
    cells = folder.glob("results/runs/task=cartpole/algorithm=bc/settings=paper/trajectories=1/seed=*/evaluation.csv")
    returns = [float(row["return"]) for path in cells for row in _rows(path.read_text())]
    filled = [row for row in table if row["mean"]]
    assert [(row["task"], row["algorithm"], row["trajectories"]) for row in filled] == [("cartpole", "bc", "1")]
    assert (filled[0]["seeds"], filled[0]["episodes"]) == ("2", "100")
    assert float(filled[0]["mean"]) == pytest.approx(np.mean(returns), rel=1e-6)
    assert float(filled[0]["std"]) == pytest.approx(np.std(returns), rel=1e-6)
    lines = finished.out.splitlines()
    assert lines[0].split() == ["task", "trajectories", "BC"]
    assert [line.split()[:2] for line in lines[1:2]] == [["cartpole", "1"]]  # and no tasks that nobody ran
    assert lines[-1].startswith("Of the paper's 136 cells 1 has runs")  # the headline comes last
    assert "report.html" in lines[-1]
    assert (report / "table.md").read_text().startswith("Of the paper's")
    assert f"files written to {Path('results/report')}" in finished.err
    assert (folder / "results" / "README.md").read_text().startswith("# Results")
    assert (report / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_report_writes_what_is_asked_for(ran: tuple[Path, Finished], tmp_path: Path) -> None:
    readme, other = tmp_path / "README.md", tmp_path / "other.csv"
    readme.write_text(f"{BEGIN}\n{END}\n")
    other.write_text("task,algorithm,trajectories,seed,episode,return\ncartpole,mine,1,0,0,150\n")
    options = ("--results", ran[0] / "results", "--out", tmp_path / "out", "--format", "csv,json")
    finished = call("report", *options, "--add", other, "--readme", readme)
    assert finished.code == 0, finished.err
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".csv", ".json"}
    assert "cartpole,mine,,1,1,1,150" in (tmp_path / "out" / "table.csv").read_text()
    assert "mine" in readme.read_text()
    assert "mine" in finished.out
    for wrong, word in (("--format", "eps"), ("--add", "nowhere.csv"), ("--readme", "nowhere.md")):
        refused = call("report", *options, wrong, word)
        assert refused.code in (1, 2)
        assert word in refused.err


def test_show_prints_one_run(ran: tuple[Path, Finished]) -> None:
    run = next((ran[0] / "results" / "runs").glob("task=cartpole/algorithm=gail/*/*/seed=0"))
    finished = launch("show", run, folder=ran[0])
    assert (finished.code, finished.err) == (0, "")
    assert finished.out.startswith("cartpole, GAIL, ")
    assert "settings that are not the paper's" in finished.out
    assert json.loads(call("show", run, "--json").out)["status"] == "complete"


# Bench


def test_bench_as_json_gives_speeds_and_their_quotients(tmp_path: Path) -> None:
    finished = launch("bench", "--task", "cartpole", "--rounds", 1, "--json", folder=tmp_path)
    assert finished.code == 0, finished.err
    (speed,) = json.loads(finished.out)
    assert set(speed) >= {
        "task",
        "threads",
        "physics_steps_per_second",
        "sampling_steps_per_second",
        "training_steps_per_second",
        "sampling_ratio",
        "training_ratio",
    }
    assert (speed["task"], speed["threads"], speed["states"]) == ("cartpole", 1, "expert")
    physics = speed["physics_steps_per_second"]
    for name in ("sampling", "training"):
        assert speed[f"{name}_steps_per_second"] > 0
        # Ratios are given to four decimals.
        assert speed[f"{name}_ratio"] == pytest.approx(speed[f"{name}_steps_per_second"] / physics, rel=1e-3, abs=1e-4)
    assert list(tmp_path.iterdir()) == []


# Help


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


EVERY = dict(_commands(cli))
COMMANDS = {path: command for path, command in EVERY.items() if not isinstance(command, click.Group)}
by_command = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def test_the_commands_are_those_of_the_documentation() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        *("tasks check", "config show", "run", "report", "show", "video", "bench", "demos sample", "demos show"),
        *("demos import", "demos export"),
        *("expert train", "expert list", "expert evaluate", "expert random"),
    }


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_help_has_an_example_that_parses(path: tuple[str, ...]) -> None:
    finished = call(*path, "--help")
    assert (finished.code, finished.err) == (0, "")
    _, _, rest = finished.out.partition("Example")
    examples = [line.strip() for line in rest.splitlines() if line.strip().startswith("gailbench ")]
    assert examples
    for example in examples:
        words = shlex.split(example)[1:]
        assert tuple(words[: len(path)]) == path
        own = next(tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in EVERY)  # of a group, one of its commands
        EVERY[own].make_context("gailbench", words[len(own) :])


@by_command
def test_help_shows_the_default_of_every_option(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    context = click.Context(command, parent=click.Context(cli, **cli.context_settings))
    shown = " ".join(call(*path, "--help").out.split())
    for option in command.params:
        if not isinstance(option, click.Option) or option.is_flag or option.name == "help":
            continue
        record = option.get_help_record(context)
        assert record is not None
        assert any(word in record[1] for word in ("default: ", "if not given", "[required]", "Also ")), record
        assert " ".join(record[1].split()) in shown


def test_the_general_help_lists_commands_and_exit_codes(tmp_path: Path) -> None:
    finished = launch("--help", folder=tmp_path)
    assert (finished.code, finished.err) == (0, "")
    for name in cli.commands:
        assert f"\n  {name} " in finished.out
    assert "Example" in finished.out
    for code in ("0 success", "1 an error", "2 wrong usage", "3 finished", "130 interrupted"):
        assert code in finished.out


@pytest.mark.parametrize("group", [(), ("expert",), ("demos",)], ids=lambda path: " ".join(path) or "gailbench")
def test_without_a_command_the_help_is_readable(group: tuple[str, ...]) -> None:
    finished = call(*group)
    assert finished.code == 2
    assert "\n  -h, --help" in finished.out + finished.err


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))
