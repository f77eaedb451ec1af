"""Algorithms are values, and those of other packages come through the same door."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import gailbench.algorithms as algorithms
from gailbench.algorithms import Algorithm, get_algorithm, registry
from gailbench.plumbing.errors import GailbenchError
from gailbench.tasks import TASKS


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
        if isinstance(loads, Exception):
            raise loads
        return loads

    return SimpleNamespace(name=name, value=f"{name}:ALGORITHM", load=load)


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
        ("not one", "is no gailbench.algorithms.Algorithm"),
        (Algorithm("gail", "GAIL", "somewhere:make"), "has the name of another one"),
    ],
)
def test_what_is_no_algorithm_is_named(loads: Any, said: str, points: list[Any]) -> None:
    points.append(point("own", loads))
    with pytest.raises(GailbenchError, match=said):
        registry()


def test_an_unknown_algorithm_is_named_with_the_nearest() -> None:
    with pytest.raises(GailbenchError, match="did you mean 'constant'"):
        get_algorithm("constnt")


def test_the_registry_does_not_import_torch() -> None:
    code = "import sys; from gailbench.algorithms import registry; registry(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
