"""Lean models give the very bits of Gymnasium's, and everything works without them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
import pytest

from gailbench import experts
from gailbench.simulation import MUJOCO, Simulator, lean
from gailbench.simulation import mujoco as simulation
from gailbench.simulation.mujoco import RULES, MujocoPhysics, model_path
from gailbench.tasks import TASKS

N, STEPS = 3, 1_000
TASK_OF = {task.environment: task for task in TASKS.values()}
# Tasks whose episodes end by themselves.
FALLING = ("Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5")


def simulators(environment: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Simulator, Simulator]:
    """The lean one and the plain one, from the same initial states."""
    horizon = TASK_OF[environment].horizon
    physics = [MujocoPhysics(environment, N)]
    with monkeypatch.context() as patch:
        patch.setattr(simulation, "lean_model", lambda path, *_: mujoco.MjModel.from_xml_path(path))
        physics.append(MujocoPhysics(environment, N))
    both = tuple(Simulator(each, horizon, np.random.default_rng(1)) for each in physics)
    for simulator in both:
        simulator.restart()
    return both[0], both[1]


def assert_same_steps(
    environment: str, act: Callable[[Simulator], Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """Step both with the lean one's actions; return how many episodes fell and how many reached the limit."""
    ours, plain = simulators(environment, monkeypatch)
    assert np.array_equal(ours.observations, plain.observations)
    fallen = full = 0
    for _ in range(STEPS):
        actions = act(ours)
        step, reference = ours.step(actions), plain.step(actions)
        for name in ("observations", "rewards", "terminated", "truncated"):
            assert np.array_equal(getattr(step, name), getattr(reference, name)), name
        assert np.array_equal(ours.observations, plain.observations)  # of the next episode, where one ended
        fallen, full = fallen + int(step.terminated.sum()), full + int(step.truncated.sum())
    for one, other in zip(ours.physics.datas, plain.physics.datas, strict=True):
        assert np.array_equal(one.qacc_warmstart, other.qacc_warmstart)
    return fallen, full


@pytest.mark.parametrize("environment", MUJOCO)
def test_lean_models_give_the_same_bits_under_actions_of_twice_the_bounds(
    environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)

    def act(simulator: Simulator) -> Any:
        bounds = simulator.physics.model.actuator_ctrlrange[:, 1]
        return 2 * bounds * rng.standard_normal((N, simulator.action_dim))

    fallen, full = assert_same_steps(environment, act, monkeypatch)
    assert (fallen if environment in FALLING else full) >= N


@pytest.mark.parametrize("environment", MUJOCO)
def test_lean_models_give_the_same_bits_on_the_experts_states(
    environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, _ = experts.load(TASK_OF[environment])
    actor, rng = policy.actor(), np.random.default_rng(0)

    def act(simulator: Simulator) -> Any:
        noise = policy.distribution.noise(rng, (N,), policy.action_dim)
        return actor(simulator.observations.astype(np.float32), noise)[0].astype(np.float64)

    assert sum(assert_same_steps(environment, act, monkeypatch)) >= 1


@pytest.mark.parametrize("environment", MUJOCO)
def test_a_lean_model_is_lean(environment: str) -> None:
    physics, plain = MujocoPhysics(environment, 1), mujoco.MjModel.from_xml_path(model_path(environment))
    rules, model = RULES[environment], physics.model
    assert bool(model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_ISLAND) is not rules.islands
    if rules.explicit_pairs:
        assert (model.ncam, model.nlight) == (0, 0)
        assert not model.geom_contype.any()
        # At least each geom of the moving bodies with the floor, or with a wall, where there is one.
        assert (model.npair > 0) == bool(plain.geom_contype.any() and plain.geom_conaffinity.any())
    else:
        assert model.npair == plain.npair


def plain_pairs(model: mujoco.MjModel) -> set[tuple[int, int]]:
    """Pairs of geoms that MuJoCo itself tests: those in contact when every geom touches every other."""
    data = mujoco.MjData(model)
    model.geom_margin[:] = model.body_margin[:] = 1e3
    mujoco.mj_forward(model, data)
    return {tuple(sorted(pair)) for pair in data.contact.geom.tolist()}


@pytest.mark.parametrize("environment", [name for name in MUJOCO if RULES[name].explicit_pairs])
def test_the_named_pairs_are_those_that_mujoco_tests(environment: str) -> None:
    lean_one, plain = MujocoPhysics(environment, 1).model, mujoco.MjModel.from_xml_path(model_path(environment))
    named = {tuple(sorted((int(lean_one.pair_geom1[k]), int(lean_one.pair_geom2[k])))) for k in range(lean_one.npair)}
    assert named == plain_pairs(plain)


@pytest.fixture
def forget_clock() -> Any:
    """The clock is looked for anew, and again after the test."""
    lean._clock.cache_clear()
    yield
    lean._clock.cache_clear()


def _pointer() -> ctypes.c_void_p:
    (path,) = lean.Path(mujoco.__file__).parent.glob("libmujoco*")
    return ctypes.c_void_p.in_dll(ctypes.CDLL(str(path)), "mjcb_time")


def test_the_profiler_is_off_and_comes_back_for_measurements() -> None:
    MujocoPhysics("Hopper-v5", 1)
    assert _pointer().value is None
    with lean.with_profiler():
        assert _pointer().value is not None
        model = mujoco.MjModel.from_xml_path(model_path("Hopper-v5"))
        data = mujoco.MjData(model)
        mujoco.mj_step(model, data)
        assert data.timer[mujoco.mjtTimer.mjTIMER_STEP].duration > 0
    assert _pointer().value is None
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data)
    assert data.timer[mujoco.mjtTimer.mjTIMER_STEP].duration == 0


@pytest.mark.parametrize("missing", ["library", "symbol"])
def test_without_library_or_symbol_everything_works(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, forget_clock: None
) -> None:
    if missing == "library":
        monkeypatch.setattr(lean.mujoco, "__file__", str(tmp_path / "mujoco" / "__init__.py"))
    else:

        class Library:
            def __init__(self, path: str) -> None:
                raise ValueError("undefined symbol: mjcb_time")

        monkeypatch.setattr(lean.ctypes, "CDLL", Library)
    assert lean._clock() is None
    lean.without_profiler()
    with lean.with_profiler():
        pass
    physics = MujocoPhysics("Hopper-v5", 2)
    simulator = Simulator(physics, 50, np.random.default_rng(0))
    simulator.restart()
    assert np.isfinite(simulator.step(np.zeros((2, 3))).rewards).all()
