"""The figures as objects: panels, lines, limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from gailbench.paper import FIGURE_1A, FIGURE_1B
from gailbench.paper.tables import published_runs
from gailbench.report import figures, findings_of
from gailbench.report.curves import load_curves
from gailbench.report.drawings import _drawings, file_name
from gailbench.report.load import load_results
from gailbench.report.styles import STYLES
from gailbench.report.table import paper_table, run_scores
from gailbench.report_formats import FIGURE_FORMATS

WriteRun = Callable[..., Path]


def _labels(figure: Figure, panel: int) -> set[str]:
    return {label for line in figure.axes[panel].get_lines() if not (label := str(line.get_label())).startswith("_")}


def _curves(task: str, results: Path, baselines: pd.DataFrame) -> Figure:
    loaded = load_results(results)
    scores = run_scores(loaded, baselines)
    curves, _ = load_curves(loaded.runs[loaded.runs["algorithm"] != "bc"])
    curves = curves.merge(scores[["run", "method", "trajectories"]], on="run")
    return figures.curves_figure(task, paper_table(loaded, baselines), scores, curves, baselines)


def _strips(task: str, results: Path, baselines: pd.DataFrame) -> Figure:
    loaded = load_results(results)
    table, scores = paper_table(loaded, baselines), run_scores(loaded, baselines)
    returns = loaded.returns.merge(scores.drop(columns="mean"), on="run").merge(loaded.runs[["run", "seed"]], on="run")
    return figures.strips_figure(task, table, returns, baselines)


def test_figure_1a_has_a_panel_per_task_and_the_papers_lines_in_each(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    for seed in (0, 1):
        write_run(trajectories=4, seed=seed, returns=[20.0 + 40 * seed])
    write_run(trajectories=18, returns=[90.0])
    loaded = load_results(results)
    figure = figures.scores_figure(paper_table(loaded, baselines), run_scores(loaded, baselines), FIGURE_1A)
    titles = [axes.get_title() for axes in figure.axes]
    assert [title.removesuffix(" (paper)") for title in titles[:8]] == [
        *("cartpole", "acrobot", "mountaincar", "halfcheetah", "hopper", "walker", "ant", "humanoid")
    ]
    assert [title for title in titles[:8] if not title.endswith("(paper)")] == ["walker"]
    paper = {"BC, paper", "FEM, paper", "GTAL, paper", "GAIL, paper"}
    assert _labels(figure, titles.index("ant (paper)")) == paper
    walker = figure.axes[titles.index("walker")]
    assert _labels(figure, titles.index("walker")) == paper | {"GAIL"}
    (ours,) = [line for line in walker.get_lines() if line.get_label() == "GAIL"]
    assert list(pd.Series(ours.get_ydata()).fillna(-1)) == [0.4, -1, 0.9, -1]  # gaps stay gaps
    (bars,) = [found for found in walker.collections if isinstance(found, LineCollection)]
    lines = [np.asarray(path.vertices)[:, 1] for path in bars.get_paths()]
    assert [sorted(line) for line in lines if np.isfinite(line).all()] == [[0.2, 0.6]]  # lowest, highest seed
    assert "Above the view" not in figure.get_supxlabel()
    # The paper's markers are hollow everywhere, and ant's reach down to -1.44 in the panel.
    ant = figure.axes[titles.index("ant (paper)")]
    assert ant.get_ylim()[0] < -1.44
    assert all(line.get_markerfacecolor() == "none" for line in ant.get_lines() if line.get_marker() in "s^vo")
    assert ours.get_markerfacecolor() != "none"
    legend = [text.get_text() for text in figure.axes[8].get_legend().get_texts()]
    assert legend == ["BC, paper", "FEM, paper", "GTAL, paper", "GAIL", "the paper's"]


def test_an_axis_of_scores_is_straight_above_0_and_logarithmic_below() -> None:
    scores = np.array([-100.0, -1.44, -0.1, 0.0, 0.5, 1.2])
    places = figures._bent(scores)
    assert list(places[3:]) == [0, 0.5, 1.2]
    assert places[1] == pytest.approx(-0.35 * np.log(1 + 1.44 / 0.35))
    assert figures._straight(places) == pytest.approx(scores)


def test_figure_1b_has_a_line_per_entropy_weight(results: Path, write_run: WriteRun, baselines: pd.DataFrame) -> None:
    write_run(task="reacher", settings="entropy_weight-0.001", returns=[-10.0])
    loaded = load_results(results)
    figure = figures.weights_figure(paper_table(loaded, baselines), run_scores(loaded, baselines), FIGURE_1B)
    assert _labels(figure, 0) == {
        *("BC, paper", "GAIL λ = 0, paper", "GAIL λ = 0.001, paper", "GAIL λ = 0.01, paper"),
        "GAIL λ = 0.001",
    }
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == ["BC, paper", "GAIL λ = 0, paper", "GAIL λ = 0.001", "GAIL λ = 0.01, paper", "the paper's"]


def test_curves_have_a_column_per_size_and_a_row_per_quantity(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    for trajectories in (4, 11):
        for seed in (0, 2):
            write_run(trajectories=trajectories, seed=seed)
    write_run(algorithm="fem", trajectories=11)
    write_run(algorithm="bc", trajectories=4, returns=[33.0])
    figure = _curves("walker", results, baselines)
    assert len(figure.axes) == 2 * (1 + len(figures.DIAGNOSTIC_ROWS))
    assert [figure.axes[i].get_title() for i in (0, 1)] == ["4 traj.", "11 traj."]
    assert _labels(figure, 0) == {"GAIL", "BC"}
    assert _labels(figure, 1) == {"GAIL", "FEM"}
    assert _labels(figure, 5) == {"GAIL, expert accuracy"}
    assert _labels(figure, 7) == {"GAIL, policy accuracy"}
    assert figure.get_supxlabel().startswith("Environment steps (millions)")
    (gail,) = [line for line in figure.axes[0].get_lines() if line.get_label() == "GAIL"]
    assert list(gail.get_xdata()) == [0.05, 0.1, 0.15]  # millions of steps
    assert list(gail.get_ydata()) == [101, 201, 301]  # the mean of two seeds
    assert len(figure.axes[0].collections) == 1  # the band over seeds


def test_a_reward_without_demonstrations_is_drawn_beside_every_size(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    for trajectories in (4, 11):
        write_run(trajectories=trajectories)
    write_run(algorithm="constant", trajectories=0, entropy_weight=None)
    figure = _curves("walker", results, baselines)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["4 traj.", "11 traj."]
    assert _labels(figure, 0) == _labels(figure, 1) == {"GAIL", "constant"}
    assert list(figure.axes[0].get_legend_handles_labels()[1]) == ["constant", "GAIL"]  # drawn below the others


def test_curves_of_behavioral_cloning_alone_are_its_level(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(algorithm="bc", returns=[33.0])
    figure = _curves("walker", results, baselines)
    assert len(figure.axes) == 1
    assert _labels(figure, 0) == {"BC"}


def test_long_curves_are_averaged_to_what_a_panel_shows(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(iterations_of_curve=500)
    figure = _curves("walker", results, baselines)
    (gail,) = [line for line in figure.axes[0].get_lines() if line.get_label() == "GAIL"]
    assert list(gail.get_ydata()[:2]) == [500, 1400]  # of iterations 1 to 9, 10 to 18
    assert len(gail.get_ydata()) == 56


def test_strips_set_the_papers_runs_beside_ours(results: Path, write_run: WriteRun, baselines: pd.DataFrame) -> None:
    for seed in (0, 1):
        write_run(task="reacher", algorithm="bc", trajectories=4, seed=seed, returns=[-10.0 - seed, -12.0 - seed])
    (axes,) = _strips("reacher", results, baselines).axes
    dots, ours, paper = axes.collections[:3]
    assert len(dots.get_offsets()) == 4
    assert list(np.asarray(ours.get_offsets())[:, 1]) == [-11, -12]
    theirs = published_runs().query("task == 'reacher' and algorithm == 'bc' and trajectories == 4")["mean"]
    assert list(np.asarray(paper.get_offsets())[:, 1]) == list(theirs)
    assert len(np.asarray(paper.get_facecolor())) == 0  # hollow
    assert [label.get_text() for label in axes.get_xticklabels()] == ["BC", "λ = 0", "λ = 0.001", "λ = 0.01"]


def test_ticks_of_a_logarithmic_axis_are_plain_numbers(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run(task="reacher", trajectories=4, returns=[-4.0, -2000.0])  # a random policy returns about -43
    figure = _strips("reacher", results, baselines)
    drawn = figures.render(figure, ["svg"])["svg"].decode()
    assert {"0", "\N{MINUS SIGN}100", "\N{MINUS SIGN}1000"} <= set(re.findall(r"<!-- (\S+) -->", drawn))
    assert "the axis is logarithmic" in " ".join(figure.get_supxlabel().split())


def test_drawing_leaves_the_users_matplotlib_settings_alone(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run()
    before = dict(matplotlib.rcParams)
    files = figures.render(_curves("walker", results, baselines), FIGURE_FORMATS)
    assert dict(matplotlib.rcParams) == before
    assert files["png"].startswith(b"\x89PNG")
    assert files["svg"].lstrip().startswith(b"<?xml")
    assert files["pdf"].startswith(b"%PDF")


def test_an_algorithm_has_one_color() -> None:
    assert STYLES["GAIL"] == STYLES["GAIL λ = 0"]
    colors = [color for name, (color, _) in STYLES.items() if name != "GAIL λ = 0"]
    assert len(set(colors)) == len(colors)


def test_other_runs_have_figures_beside_the_tables_runs_of_the_same_algorithm(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    for trajectories in (4, 11):
        write_run(trajectories=trajectories, iterations_of_curve=10)
    write_run(algorithm="fem", trajectories=11)
    write_run(settings="gail.learning_rate-0.003,iterations-100", iterations=100, returns=[90.0], iterations_of_curve=4)
    write_run(task="reacher", trajectories=4)
    findings = findings_of(results, baselines=baselines)
    own = "GAIL, gail.learning_rate-0.003, iterations-100"
    drawn = {drawing.name: drawing.draw(*drawing.arguments) for drawing in _drawings(findings)}
    assert {name for name in drawn if name.startswith("other_")} == {
        *("other_scores", "other_curves_walker", "other_strips_walker")
    }
    scores = drawn["other_scores"]
    assert _labels(scores, 0) == {"GAIL", "GAIL, paper", own}
    curves = drawn["other_curves_walker"]
    assert curves.axes[0].get_title() == "11 traj."
    assert curves.axes[1].get_title() == ""  # no column of other sizes
    assert _labels(curves, 0) == {"GAIL", own}
    ends = {str(line.get_label()): np.asarray(line.get_xdata())[-1] for line in curves.axes[0].get_lines()}
    assert (ends["GAIL"], ends[own]) == (0.2, 0.2)  # millions of steps: as far as the other run goes
    (legend,) = drawn["other_strips_walker"].legends
    assert [" ".join(text.get_text().split()) for text in legend.get_texts()] == ["GAIL", own]
    assert _labels(drawn["curves_walker"], 1) == {"GAIL", "FEM"}  # the table's figure is the table's alone


def test_tasks_whose_names_differ_have_files_whose_names_differ() -> None:
    assert file_name("own-task_1.2") == "own-task_1.2"
    names = [file_name(task) for task in ("a/b", "a b", "a_b")]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"a_b(-[0-9a-f]{8})?", name) for name in names)


def test_no_task_that_nobody_ran_has_a_figure_of_other_runs(
    results: Path, write_run: WriteRun, baselines: pd.DataFrame
) -> None:
    write_run()
    drawings = _drawings(findings_of(results, baselines=baselines))
    assert not [drawing.name for drawing in drawings if drawing.name.startswith("other_")]
