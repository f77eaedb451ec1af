"""The constant reward: its sign, and a run without demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import call

from gailbench import experts
from gailbench.algorithms.constant import Constant


@pytest.mark.parametrize(("sign", "value"), [("positive", 1.0), ("negative", -1.0)])
def test_the_reward_is_the_signs_at_every_pair(sample_batch: Callable[..., Any], sign: str, value: float) -> None:
    _, batch = sample_batch("cartpole", envs=3, steps=4)
    reward = Constant(sign)
    assert reward.reward(batch).shape == batch.rewards.shape
    assert (reward.reward(batch) == value).all()
    assert reward.fit(batch) == {}
    assert reward.state() == {}


def test_a_constant_run_needs_no_demonstrations_and_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experts, "load", None)  # nobody asks for an expert
    command = ("run", "--task", "cartpole", "--algorithms", "constant", "--seeds", "0,1", "--jobs", 1)
    finished = call(*command, "--iterations", 2, "--batch", 1000, "--results", tmp_path)
    assert finished.code == 0, finished.err
    assert not (tmp_path / "demos").exists()
    folder = "task=cartpole/algorithm=constant/settings=batch-1000,iterations-2/trajectories=0"
    assert [path.name for path in sorted((tmp_path / "runs" / folder).iterdir())] == ["seed=0", "seed=1"]
    assert (
        "2 complete, 0 to resume, 0 new"
        in call(*command, *("--iterations", 2, "--batch", 1000), "--results", tmp_path).err
    )


def test_constant_beside_others_is_one_run_not_one_per_size(tmp_path: Path) -> None:
    options = ("--task", "cartpole", "--sizes", "1,4", "--algorithms", "bc,constant", "--iterations", 1, "--jobs", 1)
    finished = call("run", *options, "--batch", 1000, "--results", tmp_path)
    assert finished.code == 0, finished.err
    assert finished.err.startswith("3 runs: ")
