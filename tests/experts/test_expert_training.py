"""A finished expert is never lost, and its training can go on."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_helpers import Finished, call, files_under

from gailbench import experts
from gailbench.experts.recipes import HELD, RECIPES
from gailbench.experts.train import train
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.interrupts import Interrupted
from gailbench.plumbing.streams import stream
from gailbench.sampling import SamplerPool
from gailbench.tasks import get_task
from gailbench.training import BEST_WINDOW

CARTPOLE = get_task("cartpole")
SMALL = replace(RECIPES["cartpole"], iterations=3, batch=1_000, horizon=200)


def expert_train(out: Path, iterations: int, *more: object) -> Finished:
    return call("expert", "train", "--task", "cartpole", "--iterations", iterations, "--out", out, *more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An expert of two iterations."""
    out = tmp_path_factory.mktemp("finished") / "expert.safetensors"
    assert expert_train(out, 2).code == 0
    return out


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    for path in finished.parent.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path / finished.name


def test_more_iterations_continue_to_the_bytes_of_one_longer_training(own: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole" / "expert.safetensors"
    assert expert_train(whole, 4).code == 0
    before = json.loads(own.with_suffix(".json").read_text())
    ended = expert_train(own, 4)
    assert ended.code == 0, ended.err
    assert "iteration 2:" not in ended.err
    after, other = (json.loads(path.with_suffix(".json").read_text()) for path in (own, whole))
    for suffix in (".safetensors", ".csv"):
        assert own.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes(), suffix
    assert before["iterations_trained"] == 2
    for key in ("sha256", "iterations_trained", "settings", "stochastic_mean", "deterministic_mean", "steps_trained"):
        assert after[key] == other[key], key


def test_a_card_names_the_source_that_trained_the_expert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the source at the end, which may have changed in the meantime."""
    monkeypatch.setattr("gailbench.experts.train.versions", lambda: {"commit": "before"})

    def change(_: object) -> None:
        monkeypatch.setattr("gailbench.experts.train.versions", lambda: {"commit": "after"})

    assert train(CARTPOLE, SMALL, tmp_path / "own.safetensors", change)["versions"] == {"commit": "before"}


def test_the_same_command_again_changes_nothing(own: Path) -> None:
    before = files_under(own.parent)
    again = expert_train(own, 2)
    assert again.code == 0
    assert str(own) in again.out
    assert files_under(own.parent) == before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--iterations", 1), "has 2 iterations already, more than the 1 that are given"),
        (("--seed", 3), "another task, seed or recipe"),
    ],
)
def test_a_finished_expert_is_not_overwritten(more: tuple[object, ...], said: str, own: Path) -> None:
    before = files_under(own.parent)
    refused = expert_train(own, 2, *more)
    assert refused.code == 1
    (line,) = [line for line in refused.err.splitlines() if "Error" in line or said in line]
    assert str(own) in line
    assert said in line
    assert "--overwrite" in line
    assert files_under(own.parent) == before


def test_without_its_checkpoint_it_is_not_continued(own: Path) -> None:
    own.with_suffix(".checkpoint.safetensors").unlink()
    before = files_under(own.parent)
    refused = expert_train(own, 3)
    assert (refused.code, "no checkpoint" in refused.err) == (1, True)
    assert files_under(own.parent) == before


def test_a_policy_without_card_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "expert.safetensors"
    out.write_bytes(b"precious")
    refused = expert_train(out, 1)
    assert (refused.code, "without the card" in refused.err) == (1, True)
    assert out.read_bytes() == b"precious"


def test_overwrite_trains_anew(own: Path, finished: Path) -> None:
    ended = expert_train(own, 1, "--overwrite")
    assert ended.code == 0, ended.err
    assert json.loads(own.with_suffix(".json").read_text())["iterations_trained"] == 1
    assert own.with_suffix(".csv").read_bytes() != finished.with_suffix(".csv").read_bytes()


def test_an_interrupted_overwriting_keeps_the_finished_expert_and_goes_on(own: Path) -> None:
    recipe = replace(RECIPES["cartpole"], iterations=3, seed=7)
    before = own.read_bytes()
    rows: list[float] = []
    with pytest.raises(Interrupted):
        train(CARTPOLE, recipe, own, lambda row: rows.append(row["iteration"]), lambda: len(rows) == 2, overwrite=True)
    assert own.read_bytes() == before
    card = train(CARTPOLE, recipe, own, lambda row: rows.append(row["iteration"]), overwrite=True)
    assert rows == [1, 2, 3]
    assert (card["settings"]["seed"], card["iterations_trained"]) == (7, 3)


def test_an_interrupted_training_is_not_ended_with_fewer_iterations_than_it_has(tmp_path: Path) -> None:
    out = tmp_path / "expert.safetensors"
    rows: list[float] = []
    with pytest.raises(Interrupted):
        train(CARTPOLE, SMALL, out, lambda row: rows.append(row["iteration"]), lambda: len(rows) == 2)
    before = files_under(tmp_path)
    with pytest.raises(GailbenchError, match="has 2 iterations already, more than the 1 that are given; give --iter"):
        train(CARTPOLE, replace(SMALL, iterations=1), out, lambda row: None)
    assert files_under(tmp_path) == before
    assert train(CARTPOLE, replace(SMALL, iterations=2), out, lambda row: None)["iterations_trained"] == 2


def test_training_ends_at_the_level_with_the_policy_of_that_iteration(tmp_path: Path) -> None:
    """Cart-pole pays 1 a step, so that any ten iterations are at level 1."""
    out = tmp_path / "expert.safetensors"
    card = train(CARTPOLE, replace(SMALL, iterations=50, level=1.0), out, lambda row: None)
    assert card["iterations_trained"] == card["iteration"] == BEST_WINDOW
    assert card["settings"]["level"] == 1.0
    policy, _ = experts.load(CARTPOLE, out)
    assert all(np.isfinite(value).all() for value in policy.state().values())
    before = files_under(tmp_path)
    assert train(CARTPOLE, replace(SMALL, iterations=50, level=1.0), out, lambda row: None) == card
    assert files_under(tmp_path) == before
    # Without the level it goes on.
    further = train(CARTPOLE, replace(SMALL, iterations=12), out, lambda row: None)
    assert further["iterations_trained"] == 12
    assert "level" not in further["settings"]
    never = train(
        CARTPOLE, replace(SMALL, iterations=12, level=1.001), tmp_path / "never.safetensors", lambda row: None
    )
    assert never["iterations_trained"] == 12


def test_a_training_begins_with_a_policy_and_fits_its_value_function_first(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "on.safetensors"
    ended = expert_train(out, 32, "--start", finished, "--set", "batch=500", "--set", "held=30")
    assert ended.code == 0, ended.err
    curve = pd.read_csv(out.with_suffix(".csv"))
    held, after = curve[:30], curve[30:]
    assert (held["kl"] == 0).all()
    assert (after["kl"] > 0).all()
    assert held["explained_variance"].iloc[-5:].mean() > held["explained_variance"].iloc[:5].mean()
    # What the first iteration sampled is the given policy's: its entropy, not that of a random one (log 2).
    given, _ = experts.load(CARTPOLE, finished)
    batch = SamplerPool(replace(CARTPOLE, horizon=1000), 500, [stream(0, "any")]).sample(given)
    assert held["entropy"].iloc[0] == pytest.approx(given.mean_entropy(batch.rows(batch.outputs)), abs=0.005)
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["settings"]["start"] == json.loads(finished.with_suffix(".json").read_text())["sha256"]


def test_the_action_noise_at_the_beginning_can_be_scaled(tmp_path: Path) -> None:
    recipe = replace(RECIPES["reacher"], iterations=1, batch=100, noise_scale=0.25)
    out = tmp_path / "reacher.safetensors"
    train(get_task("reacher"), recipe, out, lambda row: None)
    entropy = pd.read_csv(out.with_suffix(".csv"))["entropy"].iloc[0]
    # Two dimensions, whose standard deviations were 1.
    assert entropy == pytest.approx(2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(0.25)), abs=1e-5)


def test_a_training_that_begins_with_a_policy_may_step_at_once(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "on.safetensors"
    ended = expert_train(out, 2, "--start", finished, "--set", "batch=500", "--set", "held=0")
    assert ended.code == 0, ended.err
    assert (pd.read_csv(out.with_suffix(".csv"))["kl"] > 0).all()
    assert replace(SMALL, held=0).course() == SMALL.course()


def test_a_recipe_may_start_from_the_policy_of_another_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three trainings, one after the other."""
    middle = replace(SMALL, iterations=2, batch=600, held=1, before=replace(SMALL, iterations=2))
    later = replace(SMALL, iterations=2, batch=500, held=1, before=middle)
    monkeypatch.setitem(RECIPES, "cartpole", later)
    out = tmp_path / "expert.safetensors"
    command = ("expert", "train", "--task", "cartpole", "--out", out)
    ended = call(*command)
    assert ended.code == 0, ended.err
    second, first = (tmp_path / f"expert.before{more}.safetensors" for more in ("", ".before"))
    cards = [json.loads(path.with_suffix(".json").read_text()) for path in (first, second, out)]
    assert [card["settings"].get("start") for card in cards] == [None, cards[0]["sha256"], cards[1]["sha256"]]
    assert [card["settings"]["batch"] for card in cards] == [1_000, 600, 500]
    # Three commands give the same bytes.
    apart = tmp_path / "apart.safetensors"
    train(CARTPOLE, replace(later, before=None), apart, lambda row: None, start=second)
    assert apart.read_bytes() == out.read_bytes()
    # --overwrite replaces the expert, and keeps the policies that it starts from.
    kept, old = [path.stat().st_mtime_ns for path in (first, second)], out.stat().st_mtime_ns
    ended = call(*command, "--overwrite")
    assert ended.code == 0, ended.err
    assert apart.read_bytes() == out.read_bytes()
    assert [path.stat().st_mtime_ns for path in (first, second)] == kept
    assert out.stat().st_mtime_ns > old
    # Earlier trainings with another seed are replaced too.
    ended = call(*command, "--overwrite", "--seed", 3)
    assert ended.code == 0, ended.err
    seeds = [json.loads(path.with_suffix(".json").read_text())["settings"]["seed"] for path in (first, second, out)]
    assert seeds == [3, 3, 3]


def test_a_training_that_began_with_a_policy_continues_to_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    recipe = replace(SMALL, batch=200)
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    for out, pauses in ((whole, ()), (broken, (1, HELD, HELD + 1))):
        for pause in pauses:
            rows: list[float] = []
            with pytest.raises(Interrupted):
                train(
                    CARTPOLE,
                    replace(recipe, iterations=HELD + 3),
                    out,
                    lambda row, rows=rows: rows.append(row["iteration"]),
                    lambda rows=rows, pause=pause: rows[-1] == pause,
                    start=finished,
                )
        train(CARTPOLE, replace(recipe, iterations=HELD + 3), out, lambda row: None, start=finished)
    assert whole.read_bytes() == broken.read_bytes()
    # Without the policy it is another training.
    with pytest.raises(GailbenchError, match="another task, seed or recipe"):
        train(CARTPOLE, replace(recipe, iterations=HELD + 3), whole, lambda row: None)


@pytest.mark.parametrize(("name", "value"), [("advantage_limit", 1.0), ("gamma", 0.9)])
def test_a_setting_of_a_later_version_is_recorded_only_where_it_is_given(
    name: str, value: float, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "changed.safetensors"
    ended = expert_train(out, 2, "--set", f"{name}={value}")
    assert ended.code == 0, ended.err
    assert json.loads(out.with_suffix(".json").read_text())["settings"][name] == value
    assert name not in json.loads(finished.with_suffix(".json").read_text())["settings"]
    assert out.read_bytes() != finished.read_bytes()


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--set", "hidden=32,32"), 1, "has hidden layers of (64, 64) tanh units, the recipe of (32, 32) tanh"),
        (("--set", "bach=5"), 1, "--set has 'bach'; did you mean 'batch'?"),
        (("--set", "batch=many"), 1, "--set: batch is 'many'; it must be an integer"),
        (("--set", "batch=0"), 1, "--set: batch is 0; it must be at least 1"),
        (("--set", "gae_lambda=2"), 1, "--set: gae_lambda is 2.0; it must be at least 0 and at most 1"),
        (("--set", "trust_region=0"), 1, "--set: trust_region is 0.0; it must be above 0"),
        (("--set", "noise_scale=0"), 1, "--set: noise_scale is 0.0; it must be above 0"),
        (("--set", "noise_scale=0.5"), 1, "the actions of cartpole are discrete and have no noise to scale; leave out"),
        (("--set", "held=-1"), 1, "--set: held is -1; it must be at least 0"),
        (("--set", "hidden=64,0"), 1, "--set: hidden is 0; it must be at least 1"),
        (("--set", "seed=3"), 2, "--set seed: give --seed instead"),
        (("--task", "cartpole,acrobot"), 2, "--start names one policy, but there are 2 tasks"),
        (("--start", "missing.safetensors"), 1, "missing.safetensors"),
    ],
)
def test_what_cannot_be_begun_is_refused(
    more: tuple[object, ...], code: int, said: str, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "on.safetensors"
    refused = call(
        "expert", "train", "--task", "cartpole", "--iterations", 1, "--start", finished,
        *(() if "--task" in more else ("--out", out)), *more,
    )  # fmt: skip
    assert refused.code == code, refused.err
    assert said in refused.err
    assert "Traceback" not in refused.err
    assert files_under(tmp_path) == {}


def _interrupted(out: Path) -> Path:
    """Interrupt a training after its first iteration; return its checkpoint."""
    rows: list[object] = []
    with pytest.raises(Interrupted):
        train(CARTPOLE, SMALL, out, rows.append, lambda: bool(rows))
    return out.with_suffix(".checkpoint.safetensors")


def test_a_damaged_checkpoint_is_kept_and_the_training_done_anew(tmp_path: Path) -> None:
    out, whole = tmp_path / "a" / "expert.safetensors", tmp_path / "b" / "expert.safetensors"
    checkpoint = _interrupted(out)
    damaged = checkpoint.read_bytes()[:-100]
    checkpoint.write_bytes(damaged)
    heard: list[str] = []
    train(CARTPOLE, SMALL, out, lambda row: None, notice=heard.append)
    (remark,) = heard
    assert str(checkpoint) in remark
    assert "expert.unusable-checkpoint.safetensors and the training starts anew" in remark
    assert out.with_suffix(".unusable-checkpoint.safetensors").read_bytes() == damaged
    train(CARTPOLE, SMALL, whole, lambda row: None)
    assert out.read_bytes() == whole.read_bytes()


def test_the_checkpoint_of_another_training_is_not_put_aside(tmp_path: Path) -> None:
    checkpoint = _interrupted(tmp_path / "expert.safetensors")
    before = checkpoint.read_bytes()
    with pytest.raises(GailbenchError, match="of another training"):
        train(CARTPOLE, replace(SMALL, seed=1), tmp_path / "expert.safetensors", lambda row: None)
    assert checkpoint.read_bytes() == before


def test_a_damaged_checkpoint_does_not_cost_a_finished_expert(own: Path) -> None:
    checkpoint = own.with_suffix(".checkpoint.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    before = files_under(own.parent)
    refused = expert_train(own, 4)
    assert (refused.code, str(checkpoint) in refused.err) == (1, True)
    assert files_under(own.parent) == before
    anew = expert_train(own, 2, "--overwrite")
    assert anew.code == 0, anew.err
    assert own.read_bytes() == before[own.name]
