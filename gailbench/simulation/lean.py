"""MuJoCo models that cost less to step and give the same bits.

Three things that the six tasks pay for and do not use are left out:

- The bindings install a clock, so that every `mj_step` runs MuJoCo's profiler (`without_profiler`).
- Constraints are grouped into islands, where one island is all there is.
- Pairs of geoms that may collide are looked for in every step, cameras and lights are moved. A lean model names the
  pairs that MuJoCo's own filters would let through, with the parameters it would mix for them.

`tests/simulation/test_lean.py` holds every lean model to the plain one, bit for bit.
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
    """MuJoCo's global pointer to its clock and what it is at first; None where library or symbol cannot be found."""
    for path in sorted(Path(mujoco.__file__).parent.glob("libmujoco*")):
        with contextlib.suppress(OSError, ValueError):
            pointer = ctypes.c_void_p.in_dll(ctypes.CDLL(str(path)), "mjcb_time")
            return pointer, pointer.value
    return None


def without_profiler() -> None:
    """Take MuJoCo's clock away, so that no step of this process runs the profiler.

    Where the library or the symbol cannot be found nothing changes, and steps are slower.
    """
    if (clock := _clock()) is not None:
        clock[0].value = None


@contextlib.contextmanager
def with_profiler() -> Iterator[None]:
    """The bindings as they ship, while the context lasts: what speed is measured against."""
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
    """Return the model of an XML file, leaner.

    Args:
        path: The file.
        islands: Keep them: the model has more than one.
        explicit_pairs: Name the pairs that may collide; leave out cameras and lights.
    """
    with warnings.catch_warnings():
        # Half-cheetah's model says 'settotalmass', which is deprecated; models are Gymnasium's.
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
    """Replace collision filters by explicit pairs with the parameters that MuJoCo mixes for them.

    Parameters are mixed for geoms of equal priority and solmix, which all geoms of the six models are.
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
    """Whether MuJoCo's filters let two geoms collide: their bits, and bodies that are neither welded together nor
    parent and child (the world is nobody's parent in this)."""
    bits = (model.geom_contype[first] & model.geom_conaffinity[second]) | (
        model.geom_contype[second] & model.geom_conaffinity[first]
    )
    one, other = (int(model.body_weldid[model.geom_bodyid[geom]]) for geom in (first, second))
    parents = [int(model.body_weldid[model.body_parentid[body]]) for body in (one, other)]
    related = one != 0 and other != 0 and (parents[0] == other or parents[1] == one)
    return bool(bits) and one != other and not related
