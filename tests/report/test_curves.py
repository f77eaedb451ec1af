"""Learning curves: read from run folders and experts, and thinned for drawing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from gailbench.report.curves import POINTS, load_curves, load_expert_curves, thinned
from gailbench.report.load import load_results
from gailbench.tasks import TASKS

WriteRun = Callable[..., Path]
HORIZONS = {name: task.horizon for name, task in TASKS.items()}


def test_curves_are_read_per_run(results: Path, write_run: WriteRun) -> None:
    write_run(algorithm="gail", iterations_of_curve=2)
    write_run(algorithm="fem", iterations_of_curve=3)
    runs = load_results(results).runs
    curves, remarks = load_curves(runs)
    assert remarks == []
    lengths = dict(zip(runs["algorithm"], curves.groupby("run").size(), strict=True))
    assert lengths == {"gail": 2, "fem": 3}
    assert curves["discriminator_loss"].notna().sum() == 2


def test_an_unreadable_curve_is_named(results: Path, write_run: WriteRun) -> None:
    (write_run(seed=0) / "curve.csv").unlink()
    (write_run(seed=1) / "curve.csv").write_text("iteration,steps,return_mean\n1,x,2\n")
    curves, remarks = load_curves(load_results(results).runs)
    assert curves.empty
    assert [("seed=0" in remarks[0]), ("seed=1" in remarks[1])] == [True, True]


@pytest.mark.parametrize("number", ["inf", "-inf", "1e308"])
def test_a_curve_with_a_number_that_no_figure_can_show_is_left_out(
    results: Path, write_run: WriteRun, number: str
) -> None:
    (write_run() / "curve.csv").write_text(f"iteration,steps,return_mean\n1,5000,{number}\n")
    (results / "experts").mkdir()
    (results / "experts" / "hopper.csv").write_text(f"iteration,steps,return_mean\n1,{number},5\n")
    curves, remarks = load_curves(load_results(results).runs)
    assert curves.empty
    assert remarks[0].endswith("not in the learning curves: curve.csv has a number beyond 1e+100")
    assert load_expert_curves(results, HORIZONS) == (
        {},
        ["the hopper expert's learning curve is not shown: hopper.csv has a number beyond 1e+100"],
    )


def test_the_bound_on_the_divergence_is_clipped_to_what_a_divergence_can_be(results: Path, write_run: WriteRun) -> None:
    path = write_run() / "curve.csv"
    lines = path.read_text().splitlines()
    values = [line.split(",") for line in lines[1:]]
    column = lines[0].split(",").index("jensen_shannon")
    for row, value in zip(values, ("-2", "0.25", "0.9"), strict=True):
        row[column] = value
    path.write_text("\n".join([lines[0], *(",".join(row) for row in values)]) + "\n")
    curves, _ = load_curves(load_results(results).runs)
    assert list(curves["jensen_shannon"]) == [0, 0.25, math.log(2)]


def test_an_experts_long_episodes_are_shown_over_the_tasks_horizon(results: Path) -> None:
    (results / "experts").mkdir()
    rows = "1,50,22,22\n2,100,883,883\n"
    (results / "experts" / "cartpole.csv").write_text(f"iteration,steps,return_mean,length_mean\n{rows}")
    curves, remarks = load_expert_curves(results, HORIZONS)
    assert list(curves["cartpole"]["return_mean"]) == [22, 200]
    assert list(curves["cartpole"].columns) == ["iteration", "steps", "return_mean"]
    assert remarks == []


def test_the_curves_of_an_experts_earlier_trainings_come_first(results: Path) -> None:
    (results / "experts").mkdir()
    for name, rows in (
        ("ant", "1,20,5\n"),
        ("ant.before", "1,10,3\n2,30,4\n"),
        ("ant.before.before", "1,100,1\n2,200,2\n"),
    ):
        (results / "experts" / f"{name}.csv").write_text(f"iteration,steps,return_mean\n{rows}")
    curves, remarks = load_expert_curves(results, HORIZONS)
    assert list(curves["ant"]["steps"]) == [100, 200, 210, 230, 250]
    assert list(curves["ant"]["iteration"]) == [1, 2, 3, 4, 5]
    assert list(curves["ant"]["return_mean"]) == [1, 2, 3, 4, 5]
    assert remarks == []


def test_an_earlier_training_without_an_iteration_adds_nothing_to_an_experts_curve(results: Path) -> None:
    (results / "experts").mkdir()
    for name, rows in (("ant", "1,20,5\n"), ("ant.before", ""), ("ant.before.before", "1,100,1\n")):
        (results / "experts" / f"{name}.csv").write_text(f"iteration,steps,return_mean\n{rows}")
    curves, remarks = load_expert_curves(results, HORIZONS)
    assert list(curves["ant"]["steps"]) == [100, 120]
    assert remarks == []


def test_a_drawn_curve_has_averages_of_consecutive_rows_without_missing_values() -> None:
    values = np.arange(150.0)
    gaps = np.where(values % 3 == 0, values, np.nan)
    gaps[3:6] = np.nan
    drawn = thinned(pd.DataFrame({"steps": values, "return_mean": values, "kl": gaps}))
    assert len(drawn) == 50  # the fewest rows per point with which there are at most POINTS = 60
    assert POINTS == 60
    assert_allclose(drawn["return_mean"], values.reshape(50, 3).mean(axis=1))
    assert_allclose(drawn["kl"], [0, np.nan, *range(6, 150, 3)])
    short = pd.DataFrame({"steps": values[:60]})
    assert_allclose(thinned(short)["steps"], values[:60])
