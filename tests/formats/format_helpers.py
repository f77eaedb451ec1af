"""Demonstrations made by hand, the facts of their tasks, and what a refusal must look like."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from gailbench import formats
from gailbench.demonstrations import Demonstrations
from gailbench.formats import Facts
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.streams import stream

LENGTHS = (5, 1, 7, 3)


def make_facts(discrete: bool) -> Facts:
    """Of a task with 2 or 3 actions, like mountain car and hopper but for the number of observations."""
    return Facts(
        task="mountaincar" if discrete else "hopper",
        observation_dim=2,
        action_dim=3,
        discrete=discrete,
        action_low=None if discrete else np.full(3, -1.0),
        action_high=None if discrete else np.full(3, 1.0),
        horizon=7,
        keep_every=3,
        seed=5,
    )


def make(discrete: bool) -> Demonstrations:
    """Trajectories of 5, 1, 7 and 3 pairs of random numbers; the third reaches the horizon."""
    generator = np.random.default_rng(int(discrete))
    pairs, task = sum(LENGTHS), "mountaincar" if discrete else "hopper"
    return Demonstrations(
        task=task,
        num_actions=3,
        expert_sha256="",
        seed=-1,
        observations=generator.normal(size=(pairs, 2)).astype(np.float32),
        actions=generator.integers(3, size=pairs) if discrete else generator.normal(size=(pairs, 3)).astype(np.float32),
        rewards=generator.normal(size=pairs),
        lengths=np.array(LENGTHS),
        terminated=np.array([True, True, False, True]),
        truncated=np.array([False, False, True, False]),
        final_observations=generator.normal(size=(len(LENGTHS), 2)).astype(np.float32),
        offsets=stream(5, f"offsets/{task}").integers(3, size=len(LENGTHS)),
    )


def assert_equal(found: Demonstrations, expected: Demonstrations, *but: str) -> None:
    """All fields but those named are equal, in our dtypes and byte order."""
    for field in fields(Demonstrations):
        left, right = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, field.name
            assert left.dtype.isnative, field.name
            assert left.flags.c_contiguous, field.name
            if field.name not in but:
                assert np.array_equal(left, right), field.name
        elif field.name not in but:
            assert (left, type(left)) == (right, type(right)), field.name


def refusal(path: Path | str, *words: str, discrete: bool = True) -> str:
    """The one line with which it is refused, which holds the words and the path."""
    with pytest.raises(GailbenchError) as caught:
        formats.read(path, make_facts(discrete))
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    for word in (str(path), *words):
        assert word in message, message
    return message


both = pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])


class Trap:
    """Its pickle calls `spring` when it is loaded."""

    sprung = False

    def __reduce__(self):
        return spring, ()


def spring() -> None:
    Trap.sprung = True
