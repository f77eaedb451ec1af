"""Settings by name: typed by their field, never evaluated, part of a run's name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from cli_helpers import call

from gailbench.algorithms import BC, CONSTANT, FEM, GAIL, Algorithm
from gailbench.algorithms.loop import LoopSettings
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.typed import Positive
from gailbench.runs import settings
from gailbench.runs.grid import Request, plan
from gailbench.runs.spec import make_spec
from gailbench.tasks import TASKS

CARTPOLE = TASKS["cartpole"]


@dataclass(frozen=True)
class Settings:
    """Settings of the types that a package may use, and of one that it may not."""

    either: int | float = 1
    pair: tuple[int, str] = (1, "a")
    described: Annotated[int, "of a package"] = 1
    choice: Positive | Literal["auto"] | None = None
    listed: list[int] = field(default_factory=list)
    label: str = "a"
    words: tuple[str, ...] = ()
    flags: tuple[bool, ...] | None = None


OWN = Algorithm("own", "OWN", "somewhere:make", f"{__name__}:Settings")


def owner(name: str) -> Algorithm:
    return {"own": OWN, "fem": FEM}.get(name.partition(".")[0], GAIL)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("gail.learning_rate", "0.003", 0.003),
        ("gail.learning_rate", "1", 1.0),
        ("gail.hidden", "64,64", (64, 64)),
        ("gail.hidden", "[32]", (32,)),
        ("loop.activation", "leaky_relu", "leaky_relu"),
        ("loop.policy_region.limit", "2e-2", 0.02),
        ("own.either", "2", 2),
        ("own.either", "2.5", 2.5),
        ("own.pair", "2,'b'", (2, "b")),
        ("own.described", "2", 2),
        ("own.choice", "auto", "auto"),
        ("own.choice", "2", 2.0),
        ("own.choice", "None", None),
        ("fem.shifted", "false", False),
        ("fem.shifted", "True", True),
        ("own.pair", "2,3", (2, "3")),
        ("own.label", "12", "12"),
        ("own.label", "'12'", "12"),
        ("own.label", "true", "true"),
        ("own.label", "a,b", "a,b"),
        ("own.words", "a,b", ("a", "b")),
        ("own.words", "1, 02", ("1", "02")),
        ("own.words", "'a,b',", ("a,b",)),
        ("own.flags", "true,false", (True, False)),
        ("own.flags", "true", (True,)),
        ("own.flags", "None", None),
    ],
)
def test_a_value_has_the_type_of_its_field(name: str, text: str, value: object) -> None:
    parsed = settings.parse(owner(name), name, text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gail.learning_rat", "1", "did you mean 'gail.learning_rate'"),
        ("gail.learning_rate", "fast", "must be a finite number"),
        ("gail.learning_rate", "1e999", "must be a finite number"),
        ("gail.learning_rate", "True", "must be a finite number"),
        ("gail.hidden", "a,b", "must be an integer"),
        ("gail.hidden", "0,4", "must be at least 1"),
        ("gail.learning_rate", "0", "must be above 0"),
        ("loop.gamma", "-3", "must be at least 0 and at most 1"),
        ("loop.policy_region.subsample", "1.5", "must be above 0 and at most 1"),
        ("loop.activation", "relu", "must be tanh or leaky_relu"),
        ("loop.batch", "3", "is set by --batch"),
        ("loop.gamma", "__import__('os').getcwd()", "must be a finite number"),
        ("own.either", "fast", "it must be an integer or a finite number"),
        ("own.pair", "[2,3]", "own.pair is 3; it must be a word"),
        ("own.words", "[1,2]", "own.words is 1; it must be a word"),
        ("own.flags", "true,2", "own.flags is 2; it must be true or false"),
        ("own.pair", "2", "own.pair is 2; it must be 2 values: an integer, a word"),
        ("own.choice", "-1", "own.choice is -1; it must be above 0 or auto"),
        ("fem.shifted", "0", "fem.shifted is 0; it must be true or false"),
        ("own.listed", "[1]", "own.listed cannot be set: its type is list; it must be a number"),
    ],
)
def test_a_wrong_setting_is_named(name: str, text: str, said: str) -> None:
    with pytest.raises(GailbenchError) as caught:
        settings.parse(owner(name), name, text)
    assert said in str(caught.value)


def test_changes_are_made_where_they_belong() -> None:
    loop = LoopSettings(batch=100)
    changed = settings.apply(loop, "loop", {"loop.gamma": 0.9, "loop.value_region.limit": 0.5, "gail.hidden": (8,)})
    assert (changed.gamma, changed.value_region.limit, changed.policy_region) == (0.9, 0.5, loop.policy_region)
    assert (loop.gamma, loop.value_region.limit) == (0.995, 0.01)


def test_behavioral_cloning_has_no_loop_and_the_control_no_settings_of_its_own() -> None:
    assert {name.partition(".")[0] for name in settings.describe(BC)} == {"bc"}
    assert {name.partition(".")[0] for name in settings.describe(CONSTANT)} == {"loop"}


def test_the_name_of_a_runs_settings_says_what_differs(tmp_path: Path) -> None:
    def names(*given: tuple[str, str]) -> dict[str, str]:
        request = Request(tmp_path, sizes=[1], settings=given, write=False)
        return {job.spec.algorithm: job.spec.settings for job in plan(CARTPOLE, request)}

    assert set(names().values()) == {"paper"}
    # What is the paper's is no difference, and what an algorithm has not does not rename its runs.
    assert set(names(("gail.learning_rate", "0.01")).values()) == {"paper"}
    assert names(("gail.learning_rate", "0.003")) == {
        "bc": "paper",
        "fem": "paper",
        "gtal": "paper",
        "gail": "gail.learning_rate-0.003",
    }
    both = names(("loop.hidden", "64,64"), ("loop.gamma", "0.9"))
    assert (both["bc"], both["gtal"]) == ("paper", "loop.gamma-0.9,loop.hidden-64x64")
    with pytest.raises(GailbenchError, match=r"unknown setting 'gial\.hidden'"):
        names(("gial.hidden", "3"))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (100, "100"),
        (0.003, "0.003"),
        ((64, 64), "64x64"),
        ((), "none"),
        (("a", "b"), "axb"),
        (("axb",), "a%78b"),
        (("",), ""),
        (((1, 2, 3),), "1%782%783"),
        (((1,), (2, 3)), "1x2%783"),
        ((("axb",),), "a%2578b"),
        ((0.001, -1, 1e-05), "0.001x-1x1e-05"),
        (True, "True"),
        (None, "None"),
        ("leaky_relu", "leaky_relu"),
        ("v1.5-a~b", "v1.5-a~b"),
        ("a/b", "a%2Fb"),
        ("../../x", "..%2F..%2Fx"),
        ("a,b%", "a%2Cb%25"),
        ("a\nb\0", "a%0Ab%00"),
        ("\ud800é", "%ED%A0%80%C3%A9"),
    ],
)
def test_a_value_in_a_folders_name_is_one_part_of_it(value: object, name: str) -> None:
    spec = make_spec(CARTPOLE, "constant", 0, 0, None, changes={"own.text": value})
    assert spec.settings == f"own.text-{name}"
    assert spec.folder(Path("results")).parents[1].name == f"settings=own.text-{name}"


@pytest.mark.parametrize("setting", ["gail.learning_rate=0.5", "fem.shifted=false", "gtal.shifted=false"])
def test_a_setting_changes_the_run(setting: str, tmp_path: Path) -> None:
    algorithm = setting.partition(".")[0]
    common = ("run", "--task", "cartpole", "--sizes", 1, "--algorithms", algorithm, "--iterations", 2, "--batch", 200)
    for given in ((), ("--set", setting)):
        assert call(*common, *given, "--results", tmp_path, "--jobs", 1).code == 0
    curves = [path.read_text() for path in tmp_path.rglob("curve.csv")]
    assert len(set(curves)) == 2


def test_a_file_gives_settings_and_the_command_goes_before_it(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[gail]\nlearning_rate = 0.5\nhidden = [8]\n[loop.policy_region]\nlimit = 0.02\n")
    shown = call(
        *("config", "show", "--task", "walker", "--algorithm", "gail", "--config", path, "--json"),
        *("--set", "gail.learning_rate=0.25"),
    )
    assert shown.code == 0, shown.err
    assert '"gail.learning_rate": {\n    "value": 0.25,\n    "origin": "command"' in shown.out
    assert '"loop.policy_region.limit": {\n    "value": 0.02,\n    "origin": "file"' in shown.out
    assert '"gail.discriminator_entropy": {\n    "value": 0.001,\n    "origin": "paper"' in shown.out


def test_a_value_of_a_tasks_file_is_the_tasks(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('environment = "Pendulum-v1"\nhorizon = 100\nbatch = 777\niterations = 300\nbc_steps = 5\n')
    origins = {}
    for algorithm in ("gail", "bc"):
        shown = call("config", "show", "--task", path, "--algorithm", algorithm, "--json")
        assert shown.code == 0, shown.err
        origins[algorithm] = {name: entry["origin"] for name, entry in json.loads(shown.out).items()}
    gail, bc = origins["gail"], origins["bc"]
    assert (gail["horizon"], gail["batch"]) == ("task", "task")
    # The default number of iterations; for BC gradient steps, which the file gives.
    assert (gail["iterations"], bc["iterations"]) == ("default", "task")
    assert {gail[name] for name in ("environment", "sizes", "keep_every", "reward_sign")} == {"default"}


def test_show_refuses_a_table_of_no_algorithm_and_leaves_out_those_of_others(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("[gial]\nlearning_rate = 0.5\n")
    show = ("config", "show", "--task", "cartpole", "--algorithm", "bc", "--config", path)
    shown = call(*show)
    assert (shown.code, shown.out) == (1, "")
    assert "unknown setting 'gial.learning_rate'" in shown.err
    assert "did you mean 'gail.learning_rate'?" in shown.err
    path.write_text("[gail]\nlearning_rate = 0.5\n")
    shown = call(*show)
    assert shown.code == 0, shown.err
    assert "gail" not in shown.out
