"""Speed of sampling and of whole GAIL iterations, compared with the physics alone on the same states.

The three are measured in turn, in several rounds, in one process and with the same number of threads. Results are
medians over rounds. "Physics alone" is what a user of MuJoCo has: `mujoco.mj_step(model, data, nstep=frame_skip)` of
MuJoCo's Python bindings on Gymnasium's model, with `mj_rnePostConstraint` if observations need it. It visits the states
and takes the actions of a batch that the policy sampled, and resets where episodes of the batch began. gailbench steps
leaner models (`simulation/lean.py`), so ratios can exceed 1. For the classic tasks the physics is their NumPy
arithmetic on the same actions.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray

from gailbench import demonstrations, experts
from gailbench.algorithms.gail import Gail
from gailbench.algorithms.loop import LoopSettings, RewardLearner
from gailbench.networks import LEAKY_SLOPE
from gailbench.plumbing.computing import prepare_process
from gailbench.plumbing.streams import stream
from gailbench.policy import Policy
from gailbench.sampling import Batch, Sampler, SamplerPool
from gailbench.simulation import make_physics
from gailbench.simulation.classic import ClassicPhysics
from gailbench.simulation.gymnasium import GymnasiumPhysics
from gailbench.simulation.lean import with_profiler
from gailbench.simulation.mujoco import model_path
from gailbench.tasks import Task


@dataclass(frozen=True)
class Speed:
    """Environment steps per second of one task; medians over rounds.

    Attributes:
        task: Name of the task.
        threads: Number of threads in all three measurements.
        states: Whose states are visited: "expert", or "random" for an untrained policy.
        physics_steps_per_second: Speed of the physics alone.
        sampling_steps_per_second: Speed of sampling batches with the policy.
        training_steps_per_second: Speed of whole GAIL iterations at the paper's batch.
        sampling_ratio: Median over rounds of sampling / physics.
        training_ratio: Median over rounds of training / physics.
    """

    task: str
    threads: int
    states: str
    physics_steps_per_second: float
    sampling_steps_per_second: float
    training_steps_per_second: float
    sampling_ratio: float
    training_ratio: float


def measure(task: Task, threads: int, rounds: int, batch: int | None = None) -> Speed:
    """Measure one task with batches of the paper's size (or of `batch` pairs)."""
    prepare_process(threads)
    learner = bench_learner(task, threads, batch)
    policy = learner.policy
    state = policy.state()
    replay = Replay(task, policy, batch or task.batch, threads)
    rates: dict[str, list[float]] = {"physics": [], "sampling": [], "training": []}
    for _ in range(rounds):
        rates["physics"].append(rate(replay.run))
        rates["sampling"].append(rate(lambda: len(learner.sample())))
        rates["training"].append(rate(lambda: steps_of_iteration(learner)))
        policy.load_state(state)
    ratios = {
        name: statistics.median(r / p for r, p in zip(rates[name], rates["physics"], strict=True))
        for name in ("sampling", "training")
    }
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    return Speed(
        task=task.name,
        threads=threads,
        states="expert" if task.name in experts.shipped() else "random",
        physics_steps_per_second=medians["physics"],
        sampling_steps_per_second=medians["sampling"],
        training_steps_per_second=medians["training"],
        sampling_ratio=round(ratios["sampling"], 4),
        training_ratio=round(ratios["training"], 4),
    )


def bench_learner(task: Task, threads: int, batch: int | None = None) -> RewardLearner:
    """Return a GAIL learner with the smallest demonstrations, after its first iteration. Its policy acts like the
    task's expert, or like an untrained policy if there is no expert."""
    settings = LoopSettings(batch=batch or task.batch)
    expert = experts.load(task)[0] if task.name in experts.shipped() else None
    shape = expert or make_physics(task.environment, task.horizon, 1, task.kwargs)
    policy = Policy(shape.observation_dim, shape.action_dim, shape.discrete, generator=stream(0, "policy"))
    if expert is not None:
        policy = embed(expert, settings.hidden)
    trajectories = task.sizes[0]
    pairs = demonstrations.sample(task, policy, "", trajectories, 0).subset(trajectories, task.keep_every)
    learner = RewardLearner(
        task, Gail(pairs, task.reward_sign, stream(0, "reward")), settings, 0, pairs.observations, threads
    )
    learner.policy = policy
    learner.iterate()  # fills the standardizers and warms up
    return learner


def rate(work: Callable[[], int]) -> float:
    """Return the steps per second of a function that returns its number of steps."""
    started = time.perf_counter()
    steps = work()
    return steps / (time.perf_counter() - started)


def steps_of_iteration(learner: RewardLearner) -> int:
    """Do one iteration; return its number of steps."""
    before = learner.steps
    learner.iterate()
    return learner.steps - before


def embed(expert: Policy, hidden: tuple[int, ...]) -> Policy:
    """Return a policy that acts like the expert, but with the paper's network size. So speed is measured with the
    paper's arithmetic on the expert's states.

    Additional hidden units get zero weights. A missing second layer of leaky ReLUs becomes an identity: with slope c,
    x = (leaky(x) - leaky(-x)) / (1 + c).
    """
    policy = Policy(expert.observation_dim, expert.action_dim, expert.discrete, hidden, expert.activation)
    weights = [w.detach().clone() for w in expert.network.weights]
    biases = [b.detach().clone() for b in expert.network.biases]
    if len(weights) == len(hidden) and expert.activation == "leaky_relu":
        width = weights[-1].shape[0]
        identity = torch.eye(width)
        weights[-1:] = [
            torch.cat((identity, -identity), dim=1),
            torch.cat((weights[-1], -weights[-1])) / (1 + LEAKY_SLOPE),
        ]
        biases[-1:] = [torch.zeros(2 * width), biases[-1]]
    with torch.no_grad():
        for mine, theirs in zip(policy.network.weights, weights, strict=True):
            mine[: theirs.shape[0], : theirs.shape[1]] = theirs
        for bias, its in zip(policy.network.biases, biases, strict=True):
            bias[: len(its)] = its
        policy.log_std.copy_(expert.log_std)
    policy.standardizer.load_state(expert.standardizer.state())
    return policy


class Replay:
    """The physics alone, with the states and the actions of a batch that a policy sampled.

    Each environment is stepped through all of its actions before the next one. This uses the caches better than
    stepping environments in turn, so it is the fastest that the physics can be.
    """

    def __init__(self, task: Task, policy: Policy, batch: int, threads: int) -> None:
        pool = SamplerPool(task, batch, [stream(0, "bench", k) for k in range(threads)])
        self._parts = [
            _Recording(task.environment, *part, policy) for part in zip(pool.samplers, pool.shares, strict=True)
        ]

    def run(self) -> int:
        """Step through the batch, with one thread per part; return the number of steps."""
        if len(self._parts) == 1:
            return self._parts[0].run()
        with ThreadPoolExecutor(len(self._parts)) as executor:
            return sum(executor.map(lambda part: part.run(), self._parts))


class _Recording:
    """The part of one thread: actions, and the initial states of episodes."""

    def __init__(self, environment: str, sampler: Sampler, pairs: int, policy: Policy) -> None:
        self._physics: Any = sampler.simulator.physics
        self._starts: dict[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self._mujoco = not isinstance(self._physics, ClassicPhysics | GymnasiumPhysics)
        batch = self._record(sampler, policy, pairs)
        self._actions = batch.actions.astype(np.float64) if self._mujoco else batch.actions
        self._valid = batch.valid
        if self._mujoco:
            self._model = mujoco.MjModel.from_xml_path(model_path(environment))
            self._datas = [mujoco.MjData(self._model) for _ in range(self._physics.num_envs)]

    def _record(self, sampler: Sampler, policy: Policy, pairs: int) -> Batch:
        """Sample a batch, and store when and in which state episodes start."""
        physics = self._physics
        if not self._mujoco:
            return sampler.sample(policy, pairs)
        step, reset, steps_done = physics.step, physics.reset, 0

        def noting_step(actions: NDArray[Any]) -> Any:
            nonlocal steps_done
            steps_done += 1
            return step(actions)

        def noting_reset(rows: NDArray[np.intp], generator: np.random.Generator) -> Any:
            result = reset(rows, generator)
            for row in sampler.simulator.rows[rows]:
                data = physics.datas[row]
                self._starts[steps_done, int(row)] = (data.qpos.copy(), data.qvel.copy())
            return result

        physics.step, physics.reset = noting_step, noting_reset
        batch = sampler.sample(policy, pairs)
        del physics.step, physics.reset
        return batch

    def run(self) -> int:
        """Step through the actions; return the number of steps."""
        physics = self._physics
        if not self._mujoco:
            generator = stream(0, "bench")
            physics.start(generator)
            for actions in self._actions:
                _, _, terminated, truncated = physics.step(actions)
                if (ended := np.flatnonzero(terminated | truncated)).size:
                    physics.reset(ended, generator)
            return int(self._valid.size)
        with with_profiler():
            return self._run_mujoco()

    def _run_mujoco(self) -> int:
        model, datas, rules = self._model, self._datas, self._physics.rules
        frame_skip, rne = rules.frame_skip, rules.contact_forces
        mj_step, mj_rne, starts = mujoco.mj_step, mujoco.mj_rnePostConstraint, self._starts
        for row, count in enumerate(self._valid.sum(axis=0).tolist()):
            data, actions = datas[row], self._actions[:, row]
            control = data.ctrl
            for t in range(count):
                if (t, row) in starts:
                    mujoco.mj_resetData(model, data)
                    data.qpos[:], data.qvel[:] = starts[t, row]
                    mujoco.mj_forward(model, data)
                control[:] = actions[t]
                mj_step(model, data, frame_skip)
                if rne:
                    mj_rne(model, data)
        return int(self._valid.sum())
