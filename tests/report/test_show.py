"""One run in the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_helpers import call

from gailbench.report.show import sparkline

WriteRun = Callable[..., Path]


def test_a_run_is_shown_with_its_curve_evaluation_and_the_papers_value(write_run: WriteRun) -> None:
    folder = write_run(returns=[100.0, 300.0])
    finished = call("show", folder)
    assert (finished.code, finished.err) == (0, "")
    lines = {line[2:18].strip(): line[18:] for line in finished.out.splitlines()[1:]}
    assert finished.out.startswith("walker, GAIL, 11 demonstrated trajectories, seed 0\n")
    assert lines["status"] == "complete"
    assert lines["batch"] == "50000"
    assert lines["curve"] == "▁▅█"
    assert "true return 100.0 first, 300.0 best, 300.0 last, 150,000 steps" in finished.out
    assert lines["evaluation"].startswith(
        "200.0 ± 100.0 over 2 trajectories (100.0 lowest, 200.0 median, 300.0 highest)"
    )
    assert lines["paper"] == "6850.3 ± 39.2 over 1 training run, normalized 1.02"


def test_a_run_as_json(write_run: WriteRun) -> None:
    content = json.loads(call("show", write_run(task="cartpole", trajectories=4, returns=[200.0]), "--json").out)
    assert content["evaluation"]["mean"] == 200.0
    assert content["evaluation"]["normalized"] == pytest.approx(1.0)
    assert content["paper"]["training_runs"] == 7
    assert content["spec"]["task"] == "cartpole"


def test_a_run_of_an_own_task_is_normalized_by_its_expert(results: Path, write_run: WriteRun) -> None:
    folder = write_run(task="pole", settings="defaults", returns=[30.0, 50.0])
    (results / "experts").mkdir()
    card = {"task": "pole", "sha256": "", "random": {"mean": 20.0}, "stochastic_mean": 100.0}
    (results / "experts" / "pole.json").write_text(json.dumps(card))
    assert json.loads(call("show", folder, "--json").out)["evaluation"]["normalized"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("change", "status"),
    [("checkpoint.safetensors", "interrupted, or running"), ("error.txt", "failed"), (None, "not complete")],
)
def test_an_incomplete_run_says_how_far_it_is(write_run: WriteRun, change: str | None, status: str) -> None:
    folder = write_run(returns=None)
    if change:
        (folder / change).touch()
    out = call("show", folder).out
    assert f"status          {status}" in out
    assert "not there yet: the run is not complete" in out


def test_cloning_has_no_curve_of_returns_and_other_settings_no_paper(write_run: WriteRun) -> None:
    folder = write_run(algorithm="bc", settings="iterations-5", iterations=5)
    out = call("show", folder).out
    assert "no returns (BC takes no environment steps)" in out
    assert "settings that are not the paper's" in out


def test_what_is_no_run_is_refused(tmp_path: Path, write_run: WriteRun) -> None:
    finished = call("show", tmp_path)
    assert finished.code == 1
    assert "is not a run" in finished.err
    folder = write_run()
    (folder / "evaluation.csv").write_text("episode,return,length\n0,x,1\n")
    finished = call("show", folder)
    assert finished.code == 1
    assert finished.err.count("\n") == 1
    assert "evaluation.csv: episode 0 is not a return" in finished.err


@pytest.mark.parametrize("number", ["inf", "1e308"])
def test_a_curve_with_numbers_beyond_any_return_is_damage(number: str, write_run: WriteRun) -> None:
    folder = write_run()
    (folder / "curve.csv").write_text(f"iteration,steps,return_mean\n1,5,{number}\n2,10,-{number}\n")
    finished = call("show", folder)
    assert (finished.code, finished.out, finished.err.count("\n")) == (1, "", 1)
    assert finished.err.endswith("is damaged: curve.csv has a number beyond 1e+100\n")


DEEP = "[" * 100_000


@pytest.mark.parametrize("name", ["spec.json", "timing.json", "versions.json"])
def test_a_file_of_another_content_is_one_line(name: str, write_run: WriteRun) -> None:
    folder = write_run()
    for content in (DEEP, "", "\ufffd"):
        (folder / name).write_text(content)
        finished = call("show", folder)
        assert (finished.code, finished.err.count("\n")) == (1, 1)
        assert f"{name} is not JSON" in finished.err


@pytest.mark.parametrize("value", [None, 5, 10**400, [], {"a": 1}, "x", "a\nb", "\ud800"], ids=repr)
def test_entries_of_another_type_are_left_out_or_refused(value: object, write_run: WriteRun) -> None:
    folder = write_run()
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "timing.json").write_text(json.dumps({"training_seconds": value}))
    (folder / "versions.json").write_text(json.dumps({"command": value, "commit": value, "torch": value}))
    assert call("show", folder).code == 0
    for key in ("task", "algorithm", "seed", "entropy_weight", "demonstrations_sha256"):
        (folder / "spec.json").write_text(json.dumps({**spec, key: value}))
        finished = call("show", folder)
        assert finished.code in (0, 1)
        if finished.code == 1:
            assert (finished.err.count("\n"), "spec.json" in finished.err) == (1, True)


def test_a_sparkline_is_as_wide_as_it_may_be() -> None:
    assert sparkline([]) == ""
    assert sparkline([5.0, 5.0]) == "▄▄"
    assert sparkline([float(i) for i in range(600)], width=8) == "▁▂▃▄▅▆▇█"
