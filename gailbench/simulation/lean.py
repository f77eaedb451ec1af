"""Lean MuJoCo models: they take less time per step and give the same bits.

Three things that take time and that the six tasks do not need are left out:

- MuJoCo's profiler. The Python bindings install a clock, so by default every `mj_step` runs it (`without_profiler`).
- Islands of constraints. All models but one have a single island.
- The search for geom pairs that may collide, and moving cameras and lights. A lean model lists the pairs that MuJoCo's
  own filters accept, with the parameters that MuJoCo would mix for them.

`tests/simulation/test_lean.py` compares every lean model with the original model, bit for bit.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import mujoco


@cache
def _clock() -> tuple[ctypes.c_void_p, int | None] | None:
    """Return MuJoCo's global pointer to its clock, and its initial value. Return None if the library or the symbol
    cannot be found."""
    for path in sorted(Path(mujoco.__file__).parent.glob("libmujoco*")):
        with contextlib.suppress(OSError, ValueError):
            pointer = ctypes.c_void_p.in_dll(ctypes.CDLL(str(path)), "mjcb_time")
            return pointer, pointer.value
    return None


def without_profiler() -> None:
    """Remove MuJoCo's clock, so that no step in this process runs the profiler.

    If the library or the symbol cannot be found, nothing changes, and steps are slower.
    """
    if (clock := _clock()) is not None:
        clock[0].value = None


@contextlib.contextmanager
def with_profiler() -> Iterator[None]:
    """Within the context the profiler is on, as it is by default. Speed is compared with this."""
    clock = _clock()
    if clock is None:
        yield
        return
    pointer, shipped = clock
    before, pointer.value = pointer.value, shipped
    try:
        yield
    finally:
        pointer.value = before


def lean_model(path: str, islands: bool, explicit_pairs: bool) -> mujoco.MjModel:
    """Return the lean model of an XML file.

    Args:
        path: The file.
        islands: Whether to keep islands, because the model has more than one.
        explicit_pairs: Whether to list the geom pairs that may collide, and to leave out cameras and lights.
    """
    with warnings.catch_warnings():
        # Half-cheetah's model, which is Gymnasium's, has the deprecated option 'settotalmass'.
        warnings.filterwarnings("ignore", ".*is deprecated", UserWarning)
        spec = mujoco.MjSpec.from_file(path)
        if explicit_pairs:
            _name_pairs(spec)
            for unused in [*spec.cameras, *spec.lights]:
                spec.delete(unused)
        model = spec.compile()
    if not islands:
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND
    return model


def _name_pairs(spec: mujoco.MjSpec) -> None:
    """Replace collision filters by explicit pairs, with the parameters that MuJoCo mixes for them.

    The rule for mixing is that for geoms of equal priority and solmix. All geoms of the six models are such.
    """
    for index, geom in enumerate(spec.geoms):
        geom.name = geom.name or f"geom {index}"
    model = spec.compile()
    for first, second in itertools.combinations(range(model.ngeom), 2):
        if not _may_collide(model, first, second):
            continue
        one, other = model.geom(first), model.geom(second)
        # A pair has two sliding frictions, one torsional and two rolling ones.
        sliding, torsional, rolling = (max(pair) for pair in zip(one.friction, other.friction, strict=True))
        spec.add_pair(
            geomname1=one.name,
            geomname2=other.name,
            condim=max(int(one.condim[0]), int(other.condim[0])),
            margin=float(one.margin[0] + other.margin[0]),
            gap=float(one.gap[0] + other.gap[0]),
            friction=[sliding, sliding, torsional, rolling, rolling],
            solref=0.5 * one.solref + 0.5 * other.solref,
            solimp=0.5 * one.solimp + 0.5 * other.solimp,
        )
    for geom in spec.geoms:
        geom.contype = geom.conaffinity = 0


def _may_collide(model: mujoco.MjModel, first: int, second: int) -> bool:
    """Return whether MuJoCo's filters let two geoms collide. Their bits must match, and their bodies must be neither
    welded together nor parent and child (the world does not count as a parent)."""
    bits = (model.geom_contype[first] & model.geom_conaffinity[second]) | (
        model.geom_contype[second] & model.geom_conaffinity[first]
    )
    one, other = (int(model.body_weldid[model.geom_bodyid[geom]]) for geom in (first, second))
    parents = [int(model.body_weldid[model.body_parentid[body]]) for body in (one, other)]
    related = one != 0 and other != 0 and (parents[0] == other or parents[1] == one)
    return bool(bits) and one != other and not related
