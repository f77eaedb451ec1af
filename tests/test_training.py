"""Training with checkpoints: interrupted, resumed, and the best policy kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from gailbench.algorithms import GAIL, LOOP_COLUMNS
from gailbench.algorithms.gail import Gail
from gailbench.algorithms.loop import LoopSettings, RewardLearner
from gailbench.algorithms.reward import Reward, TrueReward
from gailbench.demonstrations import Pairs
from gailbench.plumbing import checkpoints
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.interrupts import Interrupted
from gailbench.plumbing.streams import stream
from gailbench.policy import Policy
from gailbench.sampling import Batch
from gailbench.tasks import Task, get_task
from gailbench.training import ARITHMETIC, CheckpointFile, Training, curve_csv, resumed

pytestmark = pytest.mark.usefixtures("one_thread")

CARTPOLE = get_task("cartpole")
HOPPER = replace(get_task("hopper"), horizon=50)
SPEC = {"task": "cartpole", "seed": 0}


def expert_pairs(task: Task) -> Pairs:
    generator = np.random.default_rng(0)
    if task.environment == "CartPole-v1":
        observations = generator.normal(0.0, 0.1, (50, 4)).astype(np.float32)
        return Pairs(observations, (observations[:, 2] > 0).astype(np.int64), 2, discrete=True)
    observations = generator.normal(0.0, 0.3, (50, 11)).astype(np.float32)
    return Pairs(observations, observations[:, :3], 3, discrete=False)


def training_of(
    kind: str = "true", task: Task = CARTPOLE, seed: int = 0, iterations: int = 6, keep_best: bool = True
) -> Training:
    batch = 1_000 if task is CARTPOLE else 400
    settings = LoopSettings(batch=batch, hidden=(16, 16))
    if kind == "true":
        learner = RewardLearner(task, TrueReward(), settings, seed)
    else:
        expert = expert_pairs(task)
        gail = Gail(expert, task.reward_sign, stream(seed, "reward"))
        learner = RewardLearner(task, gail, settings, seed, expert.observations)
    return Training(learner, iterations, keep_best)


def training_columns(kind: str) -> tuple[str, ...]:
    return LOOP_COLUMNS if kind == "true" else GAIL.columns


def as_bytes(state: dict[str, Any] | None) -> dict[str, bytes]:
    assert state is not None
    return {name: np.asarray(value).tobytes() for name, value in state.items()}


def run_in_sittings(make: Callable[[], Training], checkpoint: CheckpointFile, stop_after: list[int]) -> Training:
    """Run until done, stopped after each of those numbers of rows; every sitting starts from nothing but the file."""
    for rows in stop_after:
        training = resumed(make, checkpoint, pytest.fail)
        with pytest.raises(Interrupted):
            training.run(checkpoint, lambda _: None, lambda: len(training.rows) >= rows)  # noqa: B023
        assert len(training.rows) == rows
    training = resumed(make, checkpoint, pytest.fail)
    training.run(checkpoint, lambda _: None)
    return training


@pytest.mark.parametrize(
    ("kind", "task"), [("true", CARTPOLE), ("gail", CARTPOLE), ("gail", HOPPER)], ids=["true", "gail", "gail-hopper"]
)
def test_resumed_training_equals_uninterrupted_training(kind: str, task: Task, tmp_path: Path) -> None:
    whole = training_of(kind, task)
    whole.run(None, lambda _: None)
    checkpoint = CheckpointFile(tmp_path / "checkpoint", SPEC)
    # A resumed learner is made anew with another seed: the file alone must carry everything.
    seeds = iter((0, 101, 102, 103))
    sittings = run_in_sittings(lambda: training_of(kind, task, next(seeds)), checkpoint, [1, 2, 5])
    # As JSON, because a figure that is not a number does not equal itself.
    assert json.dumps(sittings.rows, sort_keys=True) == json.dumps(whole.rows, sort_keys=True)
    assert len(whole.rows) == 6
    assert as_bytes(sittings.learner.state()) == as_bytes(whole.learner.state())
    assert sittings.best_row == whole.best_row
    assert as_bytes(sittings.best) == as_bytes(whole.best)
    assert curve_csv(sittings.rows, training_columns(kind)) == curve_csv(whole.rows, training_columns(kind))


def test_training_killed_between_saves_goes_on_from_the_last_one(tmp_path: Path) -> None:
    whole = training_of()
    whole.run(None, lambda _: None)

    class Killed(Exception):
        pass

    def kill(row: dict[str, float]) -> None:
        if row["iteration"] == 4:  # after the row, before its save
            raise Killed

    checkpoint = CheckpointFile(tmp_path / "checkpoint", SPEC, every=0.0)
    with pytest.raises(Killed):
        training_of().run(checkpoint, kill)
    rows: list[dict[str, float]] = []
    again = resumed(lambda: training_of(seed=5), checkpoint, pytest.fail)
    again.run(checkpoint, rows.append)
    assert [row["iteration"] for row in rows] == [4, 5, 6]
    assert again.rows == whole.rows
    assert as_bytes(again.learner.state()) == as_bytes(whole.learner.state())


def test_stop_saves_and_says_so(tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path / "checkpoint", SPEC)  # every 300 seconds: stopping must save
    training = training_of()
    with pytest.raises(Interrupted):
        training.run(checkpoint, lambda _: None, lambda: True)
    assert len(training.rows) == 1
    arrays, content = checkpoints.read(checkpoint.path, "checkpoint")
    assert content["rows"] == training.rows
    assert content["spec"] == SPEC
    assert content["seconds"] == training.seconds > 0
    saved = {name.removeprefix("learner."): value for name, value in arrays.items() if name.startswith("learner.")}
    assert as_bytes(saved) == as_bytes(training.learner.state())


def test_stop_after_the_last_iteration_is_no_interruption(tmp_path: Path) -> None:
    training = training_of(iterations=2)
    training.run(CheckpointFile(tmp_path / "checkpoint", SPEC), lambda _: None, lambda: len(training.rows) == 2)
    assert len(training.rows) == 2


def test_a_finished_training_has_nothing_left_to_do(tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path / "checkpoint", SPEC, every=0.0)
    first = training_of(iterations=2)
    first.run(checkpoint, lambda _: None)
    again = resumed(lambda: training_of(iterations=2), checkpoint, pytest.fail)
    rows: list[dict[str, float]] = []
    again.run(checkpoint, rows.append)
    assert rows == []
    assert again.rows == first.rows


def test_every_row_is_reported_once_and_in_order() -> None:
    rows: list[dict[str, float]] = []
    training = training_of(iterations=3)
    training.run(None, rows.append)
    assert rows == training.rows
    assert [row["iteration"] for row in rows] == [1, 2, 3]


def test_rows_may_hold_numbers_of_numpy_and_torch(tmp_path: Path) -> None:
    training = training_of(iterations=2)
    iterate = training.learner.iterate
    training.learner.iterate = lambda: iterate() | {"distance": np.float32(0.5), "norm": torch.tensor(2.0)}
    checkpoint = CheckpointFile(tmp_path / "checkpoint", SPEC)
    training.run(checkpoint, lambda _: None)
    again = resumed(lambda: training_of(iterations=2), checkpoint, pytest.fail)
    assert [(row["distance"], row["norm"]) for row in again.rows] == [(0.5, 2.0)] * 2


@pytest.mark.parametrize(("ends_at", "says"), [(3, 3), (2, 1)], ids=["beyond the last", "another in the row"])
def test_an_iteration_with_a_wrong_number_is_an_error(ends_at: int, says: int, tmp_path: Path) -> None:
    """Otherwise the run is complete, and every later command finds its curve damaged."""
    training = training_of(iterations=2)
    iterate = training.learner.iterate

    def miscounting() -> dict[str, float]:
        row = iterate()
        training.learner.iteration = ends_at
        return row | {"iteration": says}

    training.learner.iterate = miscounting
    checkpoint = CheckpointFile(tmp_path / "checkpoint", SPEC)
    with pytest.raises(GailbenchError, match=f"at iteration {ends_at} of 2 and its row says {says}; .* at most 2"):
        training.run(checkpoint, pytest.fail)
    assert not checkpoint.path.exists()


def test_an_iteration_that_does_not_increase_is_an_error() -> None:
    """Otherwise the training never ends."""
    training = training_of(iterations=3)
    iterate = training.learner.iterate

    def standing() -> dict[str, float]:
        row = iterate()
        training.learner.iteration = 1
        return row | {"iteration": 1}

    training.learner.iterate = standing
    with pytest.raises(GailbenchError, match=r"at iteration 1 of 3 and its row says 1; .* above 1 and at most 3"):
        training.run(None, lambda _: None)
    assert len(training.rows) == 1


@pytest.mark.parametrize("name", GAIL.required_columns)
def test_a_row_without_a_required_column_is_an_error(name: str) -> None:
    training = training_of(iterations=2)
    training.required = GAIL.required_columns
    training.learner.iterate = without(training.learner.iterate, name)
    with pytest.raises(GailbenchError, match=f"the row of iteration 1 has no '{name}'; correct iterate"):
        training.run(None, pytest.fail)


def without(iterate: Callable[[], dict[str, float]], left_out: str) -> Callable[[], dict[str, float]]:
    return lambda: {name: value for name, value in iterate().items() if name != left_out}


def test_seconds_add_up_over_sittings(tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path / "checkpoint", SPEC)
    with pytest.raises(Interrupted):
        (first := training_of(iterations=3)).run(checkpoint, lambda _: None, lambda: True)
    second = resumed(lambda: training_of(iterations=3), checkpoint, pytest.fail)
    second.run(checkpoint, lambda _: None)
    assert second.seconds > first.seconds > 0


# ---- The best policy


class Recorder:
    """A reward that keeps the batches; `direction` -1 teaches the policy to fall."""

    def __init__(self, direction: float) -> None:
        self.direction, self.batches = direction, []

    def reward(self, batch: Batch) -> np.ndarray:
        if not self.batches or self.batches[-1] is not batch:
            self.batches.append(batch)
        return self.direction * batch.rewards

    def fit(self, batch: Batch) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        pass


def recorded(direction: float, iterations: int) -> tuple[Training, Recorder]:
    reward: Reward = Recorder(direction)
    learner = RewardLearner(CARTPOLE, reward, LoopSettings(batch=1_000, hidden=(16, 16)), 0)
    return Training(learner, iterations, keep_best=True), reward


@pytest.mark.parametrize(("direction", "iterations"), [(1.0, 8), (-1.0, 4)], ids=["rising", "falling"])
def test_best_policy_sampled_the_last_of_the_best_batches(direction: float, iterations: int) -> None:
    training, reward = recorded(direction, iterations)
    training.run(None, lambda _: None)
    returns = [row["return_mean"] for row in training.rows]
    recent = [np.mean(returns[: index + 1]) for index in range(iterations)]  # fewer than ten: all so far
    assert training.best_row == max(range(iterations), key=lambda index: (recent[index], index))
    if direction > 0:
        assert 0 < training.best_row
    else:  # the initial policy was best
        assert training.best_row == 0
    assert training.best is not None
    best = Policy(4, 2, True, (16, 16))
    best.load_state(training.best)
    for index, batch in enumerate(reward.batches):
        same = np.allclose(best.output(batch.rows(batch.observations)), batch.rows(batch.outputs), atol=1e-5)
        assert same == (index == training.best_row)


def test_best_policy_is_its_state_at_the_start_of_the_best_iteration() -> None:
    training, _ = recorded(1.0, 8)
    training.run(None, lambda _: None)
    replay, _ = recorded(1.0, 8)
    for _ in range(training.best_row):
        replay.learner.iterate()
    assert as_bytes(training.best) == as_bytes(replay.learner.policy.state())
    assert as_bytes(training.best) != as_bytes(training.learner.policy.state())


def test_best_is_not_kept_unless_asked_for() -> None:
    training = training_of(iterations=2, keep_best=False)
    training.run(None, lambda _: None)
    assert training.best is None
    assert training.best_row == -1


def test_ten_successive_batches_decide_and_of_equals_the_later_ones() -> None:
    class Scripted:
        """A learner whose returns are given."""

        def __init__(self, returns: list[float]) -> None:
            self.returns, self.iteration, self.policy = returns, 0, self

        finite = True  # of the policy, which it is too

        def state(self) -> dict[str, np.ndarray]:
            return {"iteration": np.array([self.iteration])}

        def iterate(self) -> dict[str, float]:
            self.iteration += 1
            return {"iteration": self.iteration, "return_mean": self.returns[self.iteration - 1]}

    lucky_once = [*[10.0] * 10, 60.0, *[14.0] * 12]
    for returns, best in (
        ([1.0, 3.0, 2.0], 2),
        ([-5.0, -7.0], 0),
        ([2.0, 2.0, 1.0], 1),
        ([0.0, 0.0, 0.0], 2),
        (lucky_once, 19),  # the last ten with the 60 among them
        ([*lucky_once, *[20.0] * 10], 32),
    ):
        learner: Any = Scripted(returns)
        training = Training(learner, len(returns), keep_best=True)
        training.run(None, lambda _: None)
        assert training.best_row == best
        assert training.best is not None
        assert_array_equal(training.best["iteration"], [best])


# ---- Checkpoints that do not fit


def test_checkpoint_of_another_spec_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        training_of().run(CheckpointFile(path, SPEC), lambda _: None, lambda: True)
    content = path.read_bytes()
    other = training_of()
    with pytest.raises(GailbenchError, match="another training") as error:
        other.load(CheckpointFile(path, {**SPEC, "seed": 1}))
    assert str(path) in str(error.value)
    assert other.rows == []
    assert path.read_bytes() == content


@pytest.mark.parametrize("made", [{"arithmetic": ARITHMETIC - 1}, {}], ids=["another", "none"])
def test_checkpoint_of_another_arithmetic_is_an_error(made: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        training_of().run(CheckpointFile(path, SPEC), lambda _: None, lambda: True)
    arrays, content = checkpoints.read(path, "checkpoint")
    del content["arithmetic"]
    checkpoints.write(path, "checkpoint", arrays, {**content, **made})
    with pytest.raises(GailbenchError, match="rounds differently"):
        training_of().load(CheckpointFile(path, SPEC))


def test_a_damaged_checkpoint_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(GailbenchError, match="not a readable checkpoint file"):
        training_of().load(CheckpointFile(path, SPEC))
    path.write_bytes(checkpoints.to_bytes("policy", {"x": np.zeros(1)}, {}))
    with pytest.raises(GailbenchError, match="not a checkpoint of gailbench"):
        training_of().load(CheckpointFile(path, SPEC))


def test_a_checkpoint_of_another_format_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint"
    monkeypatch.setattr(checkpoints, "FORMAT", checkpoints.FORMAT + 1)
    checkpoints.write(path, "checkpoint", {"x": np.zeros(1)}, {})
    monkeypatch.undo()
    with pytest.raises(GailbenchError, match=f"format {checkpoints.FORMAT + 1}"):
        training_of().load(CheckpointFile(path, SPEC))


def test_checkpoint_file_round_trip(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {
        "float64": generator.normal(size=(3, 2)),
        "float32": generator.normal(size=4).astype(np.float32),
        "int64": np.arange(5),
        "bytes": np.frombuffer(b"abc", dtype=np.uint8),
        "transposed": generator.normal(size=(3, 2)).T,
        "empty": np.zeros((0, 3), np.float32),
    }
    content = {"text": "Größe", "nan": [1.5, None], "nested": {"a": [1, 2]}}
    checkpoints.write(tmp_path / "file", "checkpoint", arrays, content)
    again, again_content = checkpoints.read(tmp_path / "file", "checkpoint")
    assert again_content == content
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        assert_array_equal(again[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # no temporary file is left


# ---- The curve


def test_curve_has_one_column_per_figure_and_empty_cells_for_none() -> None:
    columns = ("iteration", "steps", "episodes", "return_mean")
    text = curve_csv([{"iteration": 1, "return_mean": 2.5}, {"iteration": 2, "return_mean": float("nan")}], columns)
    header, *lines = text.splitlines()
    assert header.split(",") == list(columns)
    assert lines[0].split(",") == ["1", "", "", "2.5"]
    assert lines[1].split(",") == ["2", "", "", ""]


def test_curve_has_seven_digits_but_whole_numbers_in_full() -> None:
    text = curve_csv([{"steps": 123_456_789, "return_mean": 1234.56789012}], ("steps", "return_mean"))
    assert text.splitlines()[1] == "123456789,1234.568"


def test_a_figure_that_the_algorithm_does_not_declare_is_an_error_and_not_dropped() -> None:
    with pytest.raises(GailbenchError, match="'surprise'"):
        curve_csv([{"iteration": 1, "surprise": 2.5}], ("iteration",))


@pytest.mark.parametrize(("kind", "columns"), [("true", LOOP_COLUMNS), ("gail", GAIL.columns)])
def test_every_figure_of_a_row_has_its_column(kind: str, columns: tuple[str, ...]) -> None:
    training = training_of(kind, iterations=1)
    training.run(None, lambda _: None)
    row = training.rows[0]
    assert set(row) <= set(columns)
    header, line = curve_csv(training.rows, columns).splitlines()
    cells = dict(zip(header.split(","), line.split(","), strict=True))
    for name, value in row.items():
        assert cells[name] == (f"{value:.7g}" if isinstance(value, float) else str(value))
