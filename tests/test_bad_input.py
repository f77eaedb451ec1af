"""Bad input: one line that names the thing, the documented exit code, no traceback, nothing half-written."""

from __future__ import annotations

import contextlib
import json
import pickle
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import Finished, call, files_under, launch

from gailbench import demonstrations, experts
from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError
from gailbench.policy import Policy, policy_bytes
from gailbench.tasks import TASKS, get_task

CARTPOLE = get_task("cartpole")
RUN = ("run", "--task", "cartpole")
# Small enough to be quick where, against what a test says, a run does start.
TINY = (*RUN, "--sizes", 1, "--algorithms", "fem", "--iterations", 1, "--batch", 200)


def _assert_refused(finished: Finished, code: int, *names: str) -> None:
    """It ended with that code and a single line on stderr that contains the names."""
    assert finished.code == code, finished.err
    assert finished.out == ""
    (line,) = finished.err.splitlines()
    assert line.startswith("gailbench: ")
    assert "Traceback" not in line
    for name in names:
        assert name in line


@pytest.fixture(scope="module")
def demos() -> Demonstrations:
    """Two cart-pole demonstrations."""
    policy, digest = experts.load(CARTPOLE)
    return demonstrations.sample(CARTPOLE, policy, digest, 2, 0)


# Usage


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((*RUN[:2], "walkr"), ("'walkr'", "'walker'")),
        ((*RUN[:2], "cartpole,hoper"), ("'hoper'", "'hopper'")),
        ((*RUN[:2], "qqqq"), ("'qqqq'", "cartpole, acrobot, mountaincar")),
        (("expert", "train", "--task", "halfcheeta"), ("'halfcheeta'", "'halfcheetah'")),
        (("bench", "--task", "antt"), ("'antt'", "'ant'")),
        ((*RUN, "--algorithms", "bc,gial"), ("'gial'", "did you mean")),
        ((*RUN, "--sizes", "0"), ("--sizes", "0")),
        ((*RUN, "--sizes", "1,four"), ("--sizes", "'four'")),
        ((*RUN, "--sizes", "1.5"), ("--sizes", "'1.5'")),
        ((*RUN, "--sizes", ""), ("--sizes",)),
        ((*RUN, "--seeds", "-1"), ("--seeds", "-1")),
        ((*RUN, "--entropy-weight", "nan"), ("--entropy-weight", "nan")),
        ((*RUN, "--entropy-weight", "inf"), ("--entropy-weight", "inf")),
        ((*RUN, "--entropy-weight", "-0.1"), ("--entropy-weight", "-0.1")),
        ((*RUN, "--iterations", "0"), ("--iterations", "0")),
        ((*RUN, "--batch", "-5"), ("--batch", "-5")),
        ((*RUN, "--jobs", "0"), ("--jobs", "0")),
        ((*RUN, "--shard", "9/8"), ("--shard", "'9/8'", "2/8")),
        ((*RUN, "--shard", "0/8"), ("--shard", "'0/8'")),
        ((*RUN, "--shard", "2"), ("--shard", "'2'")),
        ((*RUN, "--time-limit", "soon"), ("--time-limit", "'soon'", "2h30m")),
        ((*RUN, "--time-limit", "0"), ("--time-limit", "'0'")),
        ((*RUN, "--checkpoint-every", "-1"), ("--checkpoint-every", "-1")),
        ((*RUN, "--engine", "slurm"), ("--engine", "'slurm'")),
        ((*RUN, "--address", "auto"), ("--address", "--engine ray")),
        ((*RUN, "--iteration", "5"), ("--iteration", "--iterations")),
        (("run",), ("--task",)),
        (("rum",), ("'rum'", "'run'")),
        (("expert", "evaluate"), ("--task",)),
        (("expert", "train", "--task", "cartpole,hopper", "--out", "x"), ("--out", "2 tasks")),
        (("expert", "train", "--out", "x"), ("--out", "9 tasks")),
        (("demos", "sample", "--task", "cartpole,hopper", "--out", "x"), ("--out", "2 tasks")),
        (("run", "--task", "cartpole,hopper", "--demos", "x"), ("--demos", "2 tasks")),
        (("run", "--task", "all", "--demos", "x"), ("--demos", "9 tasks")),
        ((*RUN, "--iterations", "\u0661\u0662"), ("--iterations", "is not an integer")),
        ((*RUN, "--iterations", "1_000"), ("--iterations", "'1_000'")),
        ((*RUN, "--iterations", "9" * 400), ("--iterations", "is not an integer")),
        ((*RUN, "--batch", "9" * 400), ("--batch", "is not an integer")),
        ((*RUN, "--iterations", str(10**18)), ("--iterations", str(10**18), "2,147,483,648")),
        ((*RUN, "--jobs", "\uff13"), ("--jobs", "is not an integer")),
        ((*RUN, "--shard", "9" * 5_000 + "/2"), ("--shard", "is not K/N")),
        ((*RUN, "--checkpoint-every", "\u0663"), ("--checkpoint-every", "is not a number")),
        ((*RUN, "--task", "a\nb"), ("--task", "'a\\nb'")),
        ((*RUN[:2], "x" * 100_000), ("--task", "xxx...xxx")),
        (("demos", "sample", "--task", "cartpole", "--trajectories", str(10**18)), ("--trajectories", "1,000,001")),
        (("demos", "sample", "--task", "cartpole", "--seed", str(2**64)), ("--seed", str(2**64))),
        (("expert", "evaluate", "--task", "cartpole", "--episodes", str(10**18)), ("--episodes", "out of range")),
        (("bench", "--task", "cartpole", "--threads", str(10**18)), ("--threads", "1,025")),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_wrong_usage_exits_2_and_names_the_value(
    arguments: tuple[str, ...], names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _assert_refused(call(*arguments), 2, *names, "--help")
    assert list(tmp_path.iterdir()) == []


def test_the_console_script_exits_as_its_main_does(tmp_path: Path) -> None:
    _assert_refused(launch("run", "--task", "cartpol", folder=tmp_path), 2, "'cartpol'", "'cartpole'")
    _assert_refused(launch("report", "--results", "nowhere", folder=tmp_path), 1, "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_task_an_algorithm_and_a_size_count_once(tmp_path: Path) -> None:
    planned = call(
        *("run", "--task", "cartpole,CartPole-v1", "--algorithms", "bc, bc ", "--sizes", "4, 04"),
        *("--dry-run", "--results", tmp_path),
    )
    assert planned.err.startswith("1 runs: ")
    planned = call(
        "run", "--task", "all,cartpole", "--algorithms", "bc", "--sizes", 1, "--dry-run", "--results", tmp_path
    )
    assert planned.err.startswith("9 runs: ")


# Names and numbers beyond what a system or a type holds


@pytest.mark.parametrize("name", ["x" * 100_000, "/".join(["x" * 200] * 25), "n" * 300])
def test_paths_beyond_the_systems_limits_are_one_line_the_first_and_the_second_time(
    name: str, demos: Demonstrations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    demos.write(tmp_path / "own.npz")
    for command in (
        (*TINY, "--results", name),
        (*TINY, "--demos", name),
        (*TINY, "--config", name),
        ("demos", "show", name),
        ("demos", "sample", "--task", "cartpole", "--trajectories", 1, "--out", name),
        ("demos", "import", "--task", "cartpole", "own.npz", "--out", name),
        ("demos", "export", "own.npz", "--format", "npz", "--out", name),
        ("expert", "evaluate", "--task", "cartpole", "--expert", name),
        ("report", "--results", name),
        ("show", name),
    ):
        for _ in range(2):
            _assert_refused(call(*command), 1, name[:20])
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


def test_settings_too_many_for_a_folders_name_are_refused_the_first_and_the_second_time(tmp_path: Path) -> None:
    hidden = f"loop.hidden=({'4,' * 150})"
    for _ in range(2):
        finished = call(*TINY, "--set", hidden, "--results", tmp_path / "results")
        _assert_refused(finished, 1, "loop.hidden-4x4", "characters long", "folder's name")
    assert not (tmp_path / "results" / "runs").exists()


def test_a_setting_beyond_any_float_is_refused(tmp_path: Path) -> None:
    for value in ("9" * 400, "1e999"):
        finished = call(*TINY, "--set", f"loop.gamma={value}", "--results", tmp_path)
        _assert_refused(finished, 1, "loop.gamma", "a finite number")


def test_a_line_stays_one_whatever_a_path_holds(tmp_path: Path) -> None:
    _assert_refused(call("demos", "show", tmp_path / "a\nb\t\x1b[31m.npz"), 1, "a\\nb\\t\\x1b[31m.npz")
    sampled = call("demos", "sample", "--task", "cartpole", "--trajectories", 1, "--out", tmp_path / "c\nd.npz")
    assert (sampled.code, len(sampled.out.splitlines()), len(sampled.err.splitlines())) == (0, 1, 1)


# Sizes


@pytest.mark.parametrize(("trajectories", "sizes"), [(5, [1, 4]), (10, [1, 4, 7, 10])])
def test_the_command_that_is_recommended_for_demonstrations_works(
    trajectories: int, sizes: list[int], tmp_path: Path
) -> None:
    out = tmp_path / "of my own.npz"
    sampled = call("demos", "sample", "--task", "cartpole", "--trajectories", trajectories, "--out", out)
    program, *command = shlex.split(sampled.err.removeprefix("next: "))
    planned = call(*command, "--algorithms", "bc", "--dry-run", "--results", tmp_path)
    assert (program, planned.code) == ("gailbench", 0), planned.err
    assert [int(line.split()[4]) for line in planned.out.splitlines()[1:]] == sizes


def test_a_size_larger_than_the_demonstrations_is_refused_before_any_run(tmp_path: Path) -> None:
    finished = call(*RUN, "--sizes", "1,11", "--algorithms", "bc", "--results", tmp_path)
    _assert_refused(finished, 1, "size 11", "10 trajectories", "gailbench demos sample")
    assert not (tmp_path / "runs").exists()


def test_a_size_larger_than_own_demonstrations_is_refused(demos: Demonstrations, tmp_path: Path) -> None:
    demos.write(tmp_path / "own.npz")
    before = files_under(tmp_path)
    finished = call(*RUN, "--demos", tmp_path / "own.npz", "--results", tmp_path / "results")
    _assert_refused(finished, 1, "size 4", "2 trajectories")
    assert files_under(tmp_path) == before


# Demonstration files


def _npy(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))


FOREIGN: dict[str, Callable[[Path], Any]] = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("observation,action\n1,2\n"),
    "zeros": lambda path: path.write_bytes(bytes(1000)),
    "npy": _npy,
    "pickle": lambda path: path.write_bytes(pickle.dumps({"obs": [1.0]})),
    "weights": lambda path: shutil.copy(experts.FOLDER / "cartpole.safetensors", path),
    "other_npz": lambda path: np.savez(path, obs=np.zeros((3, 4)), acs=np.zeros(3)),
    "object_npz": lambda path: np.savez(path, obs=np.array([{}, None], dtype=object)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_demonstrations_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    FOREIGN[kind](path)
    before = files_under(tmp_path)
    _assert_refused(call(*TINY, "--demos", path, "--results", tmp_path / "results"), 1, str(path))
    _assert_refused(call("demos", "show", path), 1, str(path))
    assert files_under(tmp_path) == before


@pytest.mark.parametrize("share", [0.2, 0.6, 0.999])
def test_a_truncated_demonstrations_file_is_refused(share: float, demos: Demonstrations, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    demos.write(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    before = files_under(tmp_path)
    _assert_refused(call(*TINY, "--demos", path, "--results", tmp_path / "results"), 1, str(path))
    assert files_under(tmp_path) == before


def test_no_damaged_byte_gives_other_demonstrations_or_another_exception(demos: Demonstrations, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    demos.write(path)
    content, sha256 = path.read_bytes(), demos.sha256()
    generator = np.random.default_rng(0)
    for position in generator.choice(len(content), 300, replace=False):
        damaged = bytearray(content)
        damaged[position] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(GailbenchError):
            # A byte that means nothing, such as a time stamp, may be read over.
            assert demonstrations.read(path).sha256() == sha256


def _with_value(name: str, value: float) -> Callable[[Demonstrations], Demonstrations]:
    def change(demos: Demonstrations) -> Demonstrations:
        values = getattr(demos, name).copy()
        values.reshape(-1)[-1] = value
        return replace(demos, **{name: values})

    return change


# Files that gailbench would not write, but a user's own script may.
INCONSISTENT: dict[str, tuple[Callable[[Demonstrations], Demonstrations], str]] = {
    "nan observation": (_with_value("observations", np.nan), "observations"),
    "infinite reward": (_with_value("rewards", np.inf), "rewards"),
    "nan final observation": (_with_value("final_observations", np.nan), "final_observations"),
    "unknown action": (_with_value("actions", 2), "actions"),
    "negative action": (_with_value("actions", -1), "actions"),
    "wrong length": (_with_value("lengths", 7), "lengths"),
    "missing reward": (lambda d: replace(d, rewards=d.rewards[1:]), "rewards"),
    "missing end": (lambda d: replace(d, terminated=d.terminated[1:]), "terminated"),
    "flat observations": (lambda d: replace(d, observations=d.observations[:, 0]), "observations"),
    "no trajectory": (lambda d: replace(d, lengths=d.lengths[:0]), ""),
    "text observations": (lambda d: replace(d, observations=d.observations.astype(str)), "observations"),
    "fractional actions": (lambda d: replace(d, actions=d.actions + 0.5, num_actions=3), "actions"),
    "fractional offsets": (lambda d: replace(d, offsets=d.offsets + 0.5), "offsets"),
}


@pytest.mark.parametrize("kind", INCONSISTENT)
def test_inconsistent_demonstrations_are_refused_by_name(kind: str, demos: Demonstrations, tmp_path: Path) -> None:
    change, name = INCONSISTENT[kind]
    path = tmp_path / "own.npz"
    change(demos).write(path)
    before = files_under(tmp_path)
    _assert_refused(call("demos", "show", path), 1, str(path), name)
    _assert_refused(call(*TINY, "--demos", path, "--results", tmp_path / "results"), 1, str(path), name)
    assert files_under(tmp_path) == before


@pytest.mark.parametrize("field", [field.name for field in fields(Demonstrations) if field.name != "stated_sha256"])
def test_a_demonstrations_file_that_lacks_a_field_is_refused(field: str, demos: Demonstrations, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    content = {name.name: getattr(demos, name.name) for name in fields(Demonstrations) if name.name != field}
    np.savez(path, format=np.array(1), **content)
    _assert_refused(call("demos", "show", path), 1, str(path), field)


def test_non_finite_numbers_are_named_with_their_row(demos: Demonstrations, tmp_path: Path) -> None:
    observations = demos.observations.copy()
    observations[17, 2] = np.nan
    replace(demos, observations=observations).write(tmp_path / "own.npz")
    finished = call(*TINY, "--demos", tmp_path / "own.npz", "--results", tmp_path / "results")
    _assert_refused(finished, 1, "observations", "not finite", "row 17")
    assert not (tmp_path / "results").exists()


def test_demonstrations_of_another_task_are_refused(demos: Demonstrations, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    demos.write(path)
    before = files_under(tmp_path)
    finished = call("run", "--task", "acrobot", "--demos", path, "--results", tmp_path / "results")
    _assert_refused(finished, 1, str(path), "'cartpole'", "'acrobot'")
    assert files_under(tmp_path) == before


# Files that say they are of the task, but cannot be.
MISFITS: dict[str, Callable[[Demonstrations], Demonstrations]] = {
    "wider observations": lambda d: replace(
        d,
        observations=np.hstack((d.observations, d.observations)),
        final_observations=np.hstack((d.final_observations, d.final_observations)),
    ),
    "more actions": lambda d: replace(d, num_actions=3),
    "continuous actions": lambda d: replace(d, actions=d.actions[:, None].astype(np.float32), num_actions=1),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_demonstrations_that_do_not_fit_their_task_are_refused(
    kind: str, demos: Demonstrations, tmp_path: Path
) -> None:
    path = tmp_path / "own.npz"
    MISFITS[kind](demos).write(path)
    before = files_under(tmp_path)
    _assert_refused(call(*TINY, "--demos", path, "--results", tmp_path / "results"), 1, str(path))
    assert files_under(tmp_path) == before


def test_demonstrations_of_which_subsampling_leaves_nothing_are_refused(tmp_path: Path) -> None:
    """Every tenth pair is kept from an offset of up to 9: nothing is left of a trajectory of two pairs."""
    own = Demonstrations(
        task="cartpole",
        num_actions=2,
        expert_sha256="",
        seed=-1,
        observations=np.zeros((2, 4), np.float32),
        actions=np.array([0, 1]),
        rewards=np.ones(2),
        lengths=np.array([2]),
        terminated=np.array([True]),
        truncated=np.array([False]),
        final_observations=np.zeros((1, 4), np.float32),
        offsets=np.array([9]),
    )
    path = tmp_path / "own.npz"
    own.write(path)
    _assert_refused(call(*TINY, "--demos", path, "--results", tmp_path / "results"), 1)
    assert not (tmp_path / "results").exists()


# Folders that cannot be written. Tests may run as root, whom permissions do not stop.


@pytest.fixture(params=["below a file", "/proc/gailbench/results", "/dev/null/results"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that nobody can make."""
    if request.param != "below a file":
        return Path(request.param)
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "results"


def test_an_unwritable_results_folder_is_refused(unwritable: Path) -> None:
    _assert_refused(call(*TINY, "--results", unwritable), 1, str(unwritable))


def test_an_unwritable_results_folder_is_refused_with_own_demonstrations_too(
    unwritable: Path, demos: Demonstrations, tmp_path: Path
) -> None:
    demos.write(tmp_path / "own.npz")
    finished = call(*TINY, "--demos", tmp_path / "own.npz", "--results", unwritable)
    _assert_refused(finished, 1, str(unwritable.parent))


def test_a_file_as_results_folder_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    for command in (TINY, ("report",)):
        _assert_refused(call(*command, "--results", tmp_path / "file"), 2, "file")
    assert (tmp_path / "file").read_text() == "content"


@pytest.mark.parametrize("folder", ["/proc", "/proc/gailbench"])
def test_unwritable_output_files_are_named(folder: str) -> None:
    sample = ("demos", "sample", "--task", "cartpole", "--trajectories", 1)
    _assert_refused(call(*sample, "--out", f"{folder}/own.npz"), 1, f"{folder}/own.npz")
    random = ("expert", "random", "--task", "cartpole", "--episodes", 1)
    finished = call(*random, "--out", f"{folder}/random.json")
    assert (finished.code, finished.out) == (1, "")  # before anything is measured
    assert f"cannot write to {folder}" in finished.err
    assert len(finished.err.splitlines()) == 1


@pytest.mark.parametrize("out", ["/proc/cartpole.safetensors", "/proc/gailbench/cartpole.safetensors"])
def test_an_unwritable_expert_file_is_refused_before_the_training(out: str) -> None:
    finished = call("expert", "train", "--task", "cartpole", "--iterations", 2, "--out", out)
    assert (finished.code, finished.out) == (1, "")
    *plan, line = finished.err.splitlines()
    assert line.startswith("gailbench: ")
    assert str(Path(out).parent) in line
    assert [text for text in plan if text.startswith("iteration")] == []


def test_an_unwritable_report_folder_is_refused(demos: Demonstrations, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    finished = call("report", "--results", tmp_path / "results", "--out", "/proc/gailbench/report")
    _assert_refused(finished, 1, "/proc/gailbench/report", "--out")


def test_a_report_on_no_results_is_refused(tmp_path: Path) -> None:
    finished = call("report", "--results", tmp_path / "nowhere")
    _assert_refused(finished, 1, str(tmp_path / "nowhere"), "gailbench run")
    assert list(tmp_path.iterdir()) == []


# Experts


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in the place of the shipped experts, with cart-pole's in it."""
    folder = tmp_path / "experts"
    folder.mkdir()
    for name in ("cartpole.safetensors", "cartpole.json", "random.json"):
        shutil.copy(experts.FOLDER / name, folder / name)
    monkeypatch.setattr(experts, "FOLDER", folder)
    experts.card.cache_clear()
    yield folder
    experts.card.cache_clear()


EVALUATE = ("expert", "evaluate", "--task", "cartpole", "--episodes", 1)


@pytest.mark.parametrize("task_name", [name for name in TASKS if name != "cartpole"])
def test_a_task_without_an_expert_names_the_command_that_trains_one(
    task_name: str, shelf: Path, tmp_path: Path
) -> None:
    train = f"gailbench expert train --task {task_name}"
    for command in (
        ("run", "--task", task_name, "--results", tmp_path / "results"),
        ("demos", "sample", "--task", task_name, "--out", tmp_path / "demos.npz"),
        ("expert", "evaluate", "--task", task_name),
    ):
        _assert_refused(call(*command), 1, f"'{task_name}'", train)
    assert [path.name for path in tmp_path.iterdir()] == ["experts"]


def test_weights_that_do_not_match_their_card_are_refused(shelf: Path, tmp_path: Path) -> None:
    path = shelf / "cartpole.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1  # a last bit of a weight: nothing else would notice
    path.write_bytes(content)
    for command in (
        EVALUATE,
        (*TINY, "--results", tmp_path / "results"),
        ("demos", "sample", "--task", "cartpole", "--out", tmp_path / "demos.npz"),
    ):
        _assert_refused(call(*command), 1, str(path), "SHA-256", "cartpole.json")
    assert [path.name for path in tmp_path.iterdir()] == ["experts"]


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_weights_are_refused(share: float, shelf: Path) -> None:
    path = shelf / "cartpole.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    _assert_refused(call(*EVALUATE), 1, str(path))


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_card_is_refused(text: str, shelf: Path) -> None:
    (shelf / "cartpole.json").write_text(text)
    _assert_refused(call(*EVALUATE), 1, "cartpole.json")
    _assert_refused(call(*EVALUATE, "--expert", shelf / "cartpole.safetensors"), 1, "cartpole.json")


def test_a_missing_expert_file_is_named(tmp_path: Path) -> None:
    _assert_refused(call(*EVALUATE, "--expert", tmp_path / "none.safetensors"), 1, str(tmp_path / "none.safetensors"))


def test_an_expert_of_another_task_is_refused(tmp_path: Path) -> None:
    path = experts.FOLDER / "cartpole.safetensors"
    for command in (
        ("expert", "evaluate", "--task", "acrobot", "--expert", path),
        ("demos", "sample", "--task", "acrobot", "--expert", path, "--out", tmp_path / "demos.npz"),
    ):
        _assert_refused(call(*command), 1, str(path), "'cartpole'", "'acrobot'")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("observation_dim", "action_dim", "discrete"), [(6, 2, True), (4, 3, True), (4, 1, False)])
def test_a_policy_of_another_shape_is_refused_without_a_card_too(
    observation_dim: int, action_dim: int, discrete: bool, tmp_path: Path
) -> None:
    path = tmp_path / "own.safetensors"
    policy = Policy(observation_dim, action_dim, discrete, (8,), generator=np.random.default_rng(0))
    path.write_bytes(policy_bytes(policy))
    for command in (
        (*EVALUATE, "--expert", path),
        ("demos", "sample", "--task", "cartpole", "--expert", path, "--out", tmp_path / "demos.npz"),
    ):
        _assert_refused(call(*command), 1, str(path))
    assert not (tmp_path / "demos.npz").exists()


def test_no_damaged_byte_of_a_policy_file_goes_unnoticed_or_raises_another_exception(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    content = (experts.FOLDER / "cartpole.safetensors").read_bytes()
    digest = experts.load(CARTPOLE)[1]
    path.with_suffix(".json").write_text(json.dumps({"task": "cartpole", "sha256": digest}))
    generator = np.random.default_rng(0)
    # Most of them in the header, where the damage is not only in numbers.
    positions = np.concatenate((np.arange(0, 1200, 7), generator.choice(len(content), 30)))
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(GailbenchError, match="own"):
            experts.load(CARTPOLE, path)
