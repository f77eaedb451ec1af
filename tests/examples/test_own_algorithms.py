"""An installed package's algorithms run, resume and are reported like the built-in ones, and do as their papers say."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cli_helpers import Finished, call, launch, start, wait_until
from numpy.testing import assert_allclose, assert_array_equal

from gailbench import demonstrations, experts
from gailbench.algorithms import registry
from gailbench.algorithms.features import RunningShift
from gailbench.demonstrations import Demonstrations
from gailbench.networks import flatten
from gailbench.policy import Policy
from gailbench.runs.execute import make_learner
from gailbench.runs.spec import make_spec
from gailbench.sampling import Batch
from gailbench.tasks import TASKS

PACKAGE = Path(__file__).parents[2] / "examples" / "own-algorithms"
NAMES = ("airl", "dagger")
CARTPOLE, HOPPER = TASKS["cartpole"], replace(TASKS["hopper"], horizon=40)
BUDGET = ("--sizes", 1, "--batch", 1000, "--iterations", 15, "--set", "dagger.gradient_steps=150")
RUN = ("run", "--task", "cartpole", "--algorithms", ",".join(NAMES), *BUDGET, "--jobs", 1, "--checkpoint-every", 0)
RESULT_FILES = ("spec.json", "curve.csv", "policy.safetensors", "evaluation.csv")


@pytest.fixture(scope="module", autouse=True)
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The package as pip installs it, in a folder where this process and those that it starts look for packages."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(PACKAGE, folder / "source")  # building writes beside the sources
    install = [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--target", folder / "site", folder / "source"]
    subprocess.run([*install, *options], check=True, timeout=120)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "site"), prepend=os.pathsep)
        patch.syspath_prepend(folder / "site")
        registry.cache_clear()
        yield folder / "site"
    registry.cache_clear()


# As commands


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A folder where both have run, and how the command ended."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, launch(*RUN, folder=folder)


def run_folder(folder: Path, algorithm: str) -> Path:
    (found,) = folder.glob(f"results/runs/task=cartpole/algorithm={algorithm}/*/trajectories=1/seed=0")
    return found


def test_both_run_by_name_and_fill_the_columns_they_declare(undisturbed: tuple[Path, Finished]) -> None:
    folder, finished = undisturbed
    assert finished.code == 0, finished.err
    for name in NAMES:
        curve = pd.read_csv(run_folder(folder, name) / "curve.csv")
        assert curve["iteration"].tolist() == list(range(1, 16))
        assert tuple(curve.columns) == registry()[name].columns
        assert curve[list(registry()[name].diagnostics)].notna().all(axis=None)


def test_their_own_settings_are_not_said_to_be_the_papers() -> None:
    shown = call("config", "show", "--task", "cartpole", "--algorithm", "airl", "--json")
    assert shown.code == 0, shown.err
    origins = {name: entry["origin"] for name, entry in json.loads(shown.out).items()}
    assert {origin for name, origin in origins.items() if name.startswith("airl.")} == {"default"}
    assert origins["loop.gamma"] == "paper"


def test_dagger_learns_cart_pole_from_one_trajectory(undisturbed: tuple[Path, Finished]) -> None:
    """Cloning alone reaches a third of the expert's 200 with it."""
    assert pd.read_csv(run_folder(undisturbed[0], "dagger") / "evaluation.csv")["return"].mean() > 190


def test_killed_and_resumed_they_end_with_the_same_bytes(undisturbed: tuple[Path, Finished], tmp_path: Path) -> None:
    for name in NAMES:  # the one is killed at its first checkpoint, then the other
        process = start(*RUN, folder=tmp_path)
        wait_until(lambda name=name: any(tmp_path.rglob(f"algorithm={name}/**/checkpoint.safetensors")), process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (run_folder(tmp_path, name) / "evaluation.csv").exists()
    resumed = launch(*RUN, folder=tmp_path)
    assert resumed.code == 0, resumed.err
    assert resumed.err.startswith("2 runs: 1 complete, 1 to resume, 0 new")
    assert "anew" not in resumed.err
    for name in NAMES:
        for file in RESULT_FILES:
            ours, theirs = (run_folder(folder, name) / file for folder in (tmp_path, undisturbed[0]))
            assert ours.read_bytes() == theirs.read_bytes(), f"{name}: {file}"


def test_the_report_has_their_returns(undisturbed: tuple[Path, Finished]) -> None:
    folder, _ = undisturbed
    reported = launch("report", "--out", "report", "--format", "md,csv,json,html", folder=folder)
    assert reported.code == 0, reported.err
    other = pd.read_csv(folder / "report" / "other_settings.csv")
    assert sorted(other["algorithm"]) == list(NAMES)


def test_their_settings_are_listed_and_set_by_name() -> None:
    shown = call("config", "show", "--task", "cartpole", "--algorithm", "airl", "--set", "airl.hidden=(8,)")
    assert shown.code == 0, shown.err
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["airl.hidden", "8", "command"] in rows
    assert "airl.learning_rate" in [row[0] for row in rows]


# As learners


@pytest.fixture(scope="module")
def demos() -> Callable[..., Demonstrations]:
    """Return a function that samples two trajectories of a task's expert."""

    def sample(task: Any) -> Demonstrations:
        return demonstrations.sample(task, *experts.load(task), 2, 0)

    return sample


def learner_of(name: str, task: Any, demos: Demonstrations, **changes: Any) -> Any:
    changes = {f"{name}.{key}": value for key, value in {"hidden": (16,), **changes}.items()}
    return make_learner(make_spec(task, name, 2, 0, demos, batch=400, changes=changes), demos)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("task", [CARTPOLE, HOPPER], ids=["discrete", "continuous"])
@pytest.mark.parametrize("name", NAMES)
def test_a_learner_that_takes_over_a_state_goes_on_as_the_first_one(name: str, task: Any, demos: Any) -> None:
    found = demos(task)
    first, second = learner_of(name, task, found), learner_of(name, task, found)
    first.iterate()
    if name == "airl":
        first._reward._shift.extreme = -5.0  # as after many iterations
    taken = first.state()
    kept = {key: value.copy() for key, value in taken.items()}
    rows = [first.iterate(), first.iterate()]
    assert all(np.array_equal(taken[key], kept[key]) for key in kept)  # a state owns its arrays
    second.load_state(taken)
    assert [second.iterate(), second.iterate()] == rows
    ours, theirs = first.state(), second.state()
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


@pytest.fixture(params=[CARTPOLE, HOPPER], ids=["discrete", "continuous"])
def airl(request: pytest.FixtureRequest, demos: Any) -> tuple[Any, Batch]:
    """AIRL's reward with weights away from zero, and a batch of its learner's policy."""
    learner = learner_of("airl", request.param, demos(request.param), learning_rate=0.01)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in learner._reward._parameters:
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return learner._reward, learner.sample()


def test_airls_reward_is_log_d_minus_log_one_minus_d_but_for_its_shift(airl: tuple[Any, Batch]) -> None:
    from gailbench_examples.airl import transitions_of

    reward, batch = airl
    shifted = batch.rows(reward.reward(batch))
    assert shifted.min() >= 0  # a task whose episodes end early on failure
    reward._shift = RunningShift("positive", shifted=False)
    own = batch.rows(reward.reward(batch))
    assert own.min() < 0
    assert_allclose(shifted, own - own.min(), atol=1e-9)
    f = reward.f(transitions_of(batch)).detach().numpy().astype(np.float64)
    pi = np.exp(batch.rows(batch.log_probabilities).astype(np.float64))
    d = np.exp(f) / (np.exp(f) + pi)
    assert_allclose(own, np.log(d) - np.log(1 - d), rtol=1e-4, atol=1e-5)


def test_airls_shaping_telescopes_over_an_episode(airl: tuple[Any, Batch]) -> None:
    """Without g the discounted sum of f is -h at the start, and where time ran out gamma^T h at the end."""
    from gailbench_examples.airl import transitions_of

    reward, batch = airl
    with torch.no_grad():
        for parameter in reward._g.parameters():
            parameter.zero_()

    def h(observations: Any) -> Any:
        return reward._h(torch.from_numpy(reward._standardizer(observations))).detach().numpy()[..., 0]

    f = batch.grid(reward.f(transitions_of(batch)).detach().numpy())
    sums = (0.995**batch.times * f * batch.valid).T[batch.valid.T]  # environment by environment, as the lengths
    starts = np.cumsum(batch.lengths) - batch.lengths
    first = batch.observations.swapaxes(0, 1)[batch.valid.T][starts]
    last = batch.next_observations.swapaxes(0, 1)[batch.valid.T][starts + batch.lengths - 1]
    ran_out = ~batch.terminated.T[batch.valid.T][starts + batch.lengths - 1]
    expected = ran_out * 0.995**batch.lengths * h(last) - h(first)
    assert_allclose(np.add.reduceat(sums, starts), expected, atol=1e-4)


def test_airls_fit_raises_the_experts_logits_above_the_policys(airl: tuple[Any, Batch]) -> None:
    reward, batch = airl
    loss = reward.fit(batch)["discriminator_loss"]
    figures = [reward.fit(batch) for _ in range(400)][-1]
    assert figures["discriminator_loss"] < 0.5 * loss
    assert min(figures["expert_accuracy"], figures["policy_accuracy"]) > 0.8


@pytest.mark.parametrize("task", [CARTPOLE, HOPPER], ids=["discrete", "continuous"])
def test_dagger_labels_what_its_policy_visits_with_the_experts_actions(task: Any, demos: Any) -> None:
    found = demos(task)
    pairs = found.subset(2, task.keep_every)
    learner = learner_of("dagger", task, found)
    expert: Policy = learner._expert
    with torch.no_grad():  # without noise the answers are the most probable actions
        expert.log_std.fill_(-100.0)
        expert.network.weights[-1].mul_(1e4 if task is CARTPOLE else 1.0)
        expert.network.biases[-1].mul_(1e4 if task is CARTPOLE else 1.0)
    row = learner.iterate()
    observations, actions = learner._observations, learner._actions
    assert_array_equal(observations[: len(pairs)], pairs.observations)
    assert_array_equal(actions[: len(pairs)], pairs.actions)
    assert row["pairs"] == len(actions) == len(observations) > len(pairs)
    assert len(actions) - len(pairs) in {row["steps"] // task.keep_every, row["steps"] // task.keep_every + 1}
    answers, _ = expert.actor()(observations[len(pairs) :], None)
    assert_allclose(actions[len(pairs) :], answers, atol=1e-6)


@pytest.mark.usefixtures("one_thread")
def test_daggers_gradient_is_that_of_the_mean_negative_log_likelihood(demos: Any) -> None:
    """One step of its Adam, against PyTorch's on the same minibatch."""
    found = demos(HOPPER)
    ours, theirs = (learner_of("dagger", HOPPER, found, gradient_steps=1) for _ in range(2))
    rows = theirs._learning.integers(len(theirs._actions), size=128)
    policy = theirs.policy
    output = policy.network(torch.from_numpy(policy.standardizer(theirs._observations[rows])))
    actions = torch.from_numpy(theirs._actions[rows])
    loss = -policy.distribution.log_probability(output, policy.log_std, actions).mean()
    gradient = torch.autograd.grad(loss, policy.ordered_parameters())
    theirs._adam.step(flatten(gradient))
    assert ours._train() == pytest.approx(float(loss.detach()), rel=1e-5)
    assert_allclose(ours.policy.vector().numpy(), policy.vector().numpy(), atol=2e-5)
