"""Algorithms are values, and those of other packages come through the same door."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cli_helpers import call

import gailbench.algorithms as algorithms
from gailbench import demonstrations, experts
from gailbench.algorithms import Algorithm, Assignment, get_algorithm, registry
from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError
from gailbench.policy import Policy
from gailbench.runs.execute import make_learner
from gailbench.runs.spec import make_spec
from gailbench.tasks import TASKS

CARTPOLE = TASKS["cartpole"]


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Entry points that the registry finds."""
    found: list[Any] = []
    monkeypatch.setattr(algorithms, "entry_points", lambda group: found)
    registry.cache_clear()
    yield found
    registry.cache_clear()


def point(name: str, loads: Any) -> Any:
    def load() -> Any:
        if isinstance(loads, BaseException):
            raise loads
        return loads

    return SimpleNamespace(name=name, value=f"{name}:ALGORITHM", load=load)


def with_field(**field: Any) -> Algorithm:
    """An algorithm of a package with one field given. The package's author may not have checked the field's type."""
    return Algorithm(**{"name": "own", "heading": "OWN", "maker": "somewhere:make", **field})


def test_the_papers_algorithms_and_our_control_are_built_in() -> None:
    assert list(registry())[:5] == ["bc", "fem", "gtal", "gail", "constant"]
    assert [name for name, algorithm in registry().items() if algorithm.has_entropy_weight] == ["gail"]
    assert get_algorithm("bc").iterations(TASKS["walker"]) == 20_000
    assert get_algorithm("gail").iterations(TASKS["walker"]) == 500


def test_another_packages_algorithm_is_found(points: list[Any]) -> None:
    own = Algorithm("own", "OWN", "somewhere:make")
    points.append(point("own", own))
    assert get_algorithm("own") is own


@pytest.mark.parametrize(
    ("loads", "said"),
    [
        (ImportError("no module named x"), "fails: no module named x"),
        ("not one", "is not a gailbench.algorithms.Algorithm"),
        (SystemExit(0), r"algorithm 'own' \(own:ALGORITHM\) fails: it calls sys.exit\(0\)"),
        (Algorithm("a/b", "OWN", "somewhere:make"), r"'a/b' \(own:ALGORITHM\): name is 'a/b'; it must be letters, dig"),
        (Algorithm("a,b", "OWN", "somewhere:make"), "name is 'a,b'; it must be letters"),
        (Algorithm("", "OWN", "somewhere:make"), "name is ''; it must be letters"),
        (Algorithm("loop", "OWN", "somewhere:make"), "name is 'loop'; it must be letters, .*, but not 'loop'"),
        (Algorithm("gail", "GAIL", "somewhere:make"), "has a name that is taken by another algorithm: 'gail'"),
        (Algorithm("own", "GAIL", "somewhere:make"), "has a heading that is taken by another algorithm: 'GAIL'"),
        (Algorithm("own", "Gail λ = 0", "somewhere:make"), "has a heading that is taken by .*: 'Gail λ = 0'"),
        (with_field(heading=None), r"algorithm 'own' \(own:ALGORITHM\): heading is None; it must be text"),
        (with_field(maker=print), "maker is <built-in function print>; it must be text such as 'module:function'"),
        (with_field(maker="somewhere"), "maker is 'somewhere'; it must be text such as 'module:function'"),
        (with_field(settings=dict), "settings is <class 'dict'>; it must be text such as 'module:class', or None"),
        (with_field(iteration="batches"), "iteration is 'batches'; it must be 'batch' or 'gradient step'"),
        (with_field(has_entropy_weight="no"), "has_entropy_weight is 'no'; it must be True or False"),
        (with_field(diagnostics="loss"), r"diagnostics is 'loss'; it must be a tuple of names, such as \('loss',\)"),
        (with_field(diagnostics=("loss", "kl")), "diagnostics names 'kl', a column that its curve has already"),
        (with_field(diagnostics=("loss", "loss")), "diagnostics names 'loss', a column that its curve has already"),
    ],
)
def test_what_is_no_algorithm_is_named(loads: Any, said: str, points: list[Any]) -> None:
    points.append(point("own", loads))
    with pytest.raises(GailbenchError, match=said):
        registry()


def test_two_packages_algorithms_have_different_headings(points: list[Any]) -> None:
    points += [point(name, Algorithm(name, "OWN", "somewhere:make")) for name in ("one", "two")]
    with pytest.raises(GailbenchError, match=r"'two' \(two:ALGORITHM\) has a heading that is taken .*: 'OWN'"):
        registry()


def test_an_unknown_algorithm_is_named_with_the_nearest() -> None:
    with pytest.raises(GailbenchError, match="did you mean 'constant'"):
        get_algorithm("constnt")


def test_the_registry_does_not_import_torch() -> None:
    code = "import sys; from gailbench.algorithms import registry; registry(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class NoDataclass:
    size = 1


@dataclass(frozen=True)
class NoDefault:
    size: int


@dataclass(frozen=True)
class Unresolved:
    size: Missing = 1  # noqa: F821


@dataclass(frozen=True)
class Derived:
    size: int = 1
    double: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.size)


def test_a_field_that_follows_from_the_others_is_no_setting(points: list[Any]) -> None:
    points.append(point("own", own(f"{__name__}:Derived")))
    show = ("config", "show", "--task", "cartpole", "--algorithm", "own", "--set")
    shown = call(*show, "own.size=2")
    assert (shown.code, "own.double" in shown.out) == (0, False)
    refused = call(*show, "own.double=2")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "unknown setting 'own.double'" in refused.err


def own(settings: str) -> Algorithm:
    return Algorithm("own", "OWN", "somewhere:make", settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (f"{__name__}:Setings", f"algorithm 'own' fails to import {__name__}:Setings: module .* has no attribute"),
        ("nowhere.settings:Settings", "algorithm 'own' fails to import .*: No module named 'nowhere'"),
        (f"{__name__}:NoDataclass", f"the settings of algorithm 'own', {__name__}:NoDataclass, are not a dataclass"),
        (f"{__name__}:NoDefault", "the settings of algorithm 'own', .* have a field without a default: size"),
        (f"{__name__}:Unresolved", "the settings of algorithm 'own', .* unknown: name 'Missing' is not defined"),
    ],
)
def test_wrong_settings_of_a_package_are_named(settings: str, said: str, points: list[Any]) -> None:
    points.append(point("own", own(settings)))
    for command in (
        ("config", "show", "--task", "cartpole", "--algorithm", "own"),
        ("run", "--task", "cartpole", "--algorithms", "own", "--set", "own.size=2", "--dry-run"),
    ):
        refused = call(*command)
        assert refused.code == 1
        (line,) = refused.err.splitlines()
        assert re.search(said, line)


# What a learner is made from


def hand_back(assignment: Assignment) -> Assignment:
    """A maker whose learner is what it was given."""
    return assignment


@pytest.fixture
def expert() -> tuple[Policy, str]:
    return experts.load(CARTPOLE)


@pytest.fixture
def demos(expert: tuple[Policy, str]) -> Demonstrations:
    return demonstrations.sample(CARTPOLE, *expert, 3, 0)


def assigned(demos: Demonstrations, points: list[Any], results: Path) -> Assignment:
    points.append(point("own", Algorithm("own", "OWN", f"{__name__}:hand_back")))
    given: Any = make_learner(make_spec(CARTPOLE, "own", 2, 0, demos), demos, results)
    return given


def asked_by(given: Assignment) -> Policy:
    return experts.load_demonstrator(given.task, given.demonstrations, given.results)


def test_an_algorithm_can_look_up_what_its_pairs_led_to(
    demos: Demonstrations, points: list[Any], tmp_path: Path
) -> None:
    given = assigned(demos, points, tmp_path)
    assert given.demonstrations is demos
    assert given.rows is not None
    assert np.array_equal(demos.observations[given.rows], given.expert.observations)
    assert np.array_equal(demos.actions[given.rows], given.expert.actions)
    assert (np.diff(given.rows) > 0).all()
    assert given.rows[-1] < demos.lengths[:2].sum()


def test_an_algorithm_can_ask_the_expert_of_its_demonstrations(
    demos: Demonstrations, expert: tuple[Policy, str], points: list[Any], tmp_path: Path
) -> None:
    asked = asked_by(assigned(demos, points, tmp_path))
    assert all(np.array_equal(asked.state()[name], value) for name, value in expert[0].state().items())


def test_an_own_tasks_expert_is_found_in_the_results(
    demos: Demonstrations, expert: tuple[Policy, str], points: list[Any], tmp_path: Path
) -> None:
    task = replace(CARTPOLE, name="own-task")
    given = replace(assigned(demos, points, tmp_path), task=task)
    with pytest.raises(GailbenchError, match="there is no expert of 'own-task'"):
        asked_by(given)
    (tmp_path / "experts").mkdir()
    shipped = experts.FOLDER / "cartpole.safetensors"
    (tmp_path / "experts" / "own-task.safetensors").write_bytes(shipped.read_bytes())
    assert np.array_equal(asked_by(given).vector(), expert[0].vector())


def test_no_other_expert_than_that_of_the_demonstrations_is_asked(
    demos: Demonstrations, points: list[Any], tmp_path: Path
) -> None:
    """The spec of a run holds the hash of its demonstrations' expert, and of no other."""
    given = assigned(replace(demos, expert_sha256="ab"), points, tmp_path)
    with pytest.raises(GailbenchError, match="were not sampled from it; leave out --demos"):
        asked_by(given)
