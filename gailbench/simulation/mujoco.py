"""The six MuJoCo tasks with the official Python bindings: Gymnasium's -v5 models and rules, bit for bit.

Each environment has its own `MjData`. A step writes the controls, calls `mj_step` (which releases the GIL) and copies
the few fields that the task needs into rows of shared arrays. Observations, rewards and terminations are then computed
for all environments at once. The order of every floating-point operation is that of Gymnasium 1.4's environments, so
results are equal in every bit. Actions are not clipped: actuators saturate by themselves, and the control cost uses the
unclipped action.

Legend: N environments, n active environments, O and A the dimensions of observations and actions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

import mujoco
import numpy as np
from numpy.typing import NDArray

from gailbench.simulation.lean import lean_model, without_profiler

Floats = NDArray[np.float64]
Fields = dict[str, Floats]


@dataclass(frozen=True)
class Rules:
    """The rules that make a MuJoCo model an environment.

    Attributes:
        xml: Model file in Gymnasium's assets.
        frame_skip: Physics steps per environment step.
        fields: The `MjData` fields that are read after each step; each becomes one array (N, ...).
        observe: fields -> observations (N, O).
        position: fields, model -> positions (N,), whose differences give the velocity.
        reward: fields, actions (N, A), velocity (N,), healthy (N,) -> rewards (N,).
        healthy: fields -> (N,) bool, False if the episode terminates; None if episodes never terminate.
        velocity_noise: "uniform" or "normal", the distribution of the initial velocity.
        noise_scale: Scale of the initial noise.
        contact_forces: Whether `mj_rnePostConstraint` must follow a step, to compute `cfrc_ext`.
        islands: Whether the model has several independent parts, whose constraints are solved separately.
        explicit_pairs: Whether listing the geom pairs that may collide changes no bit.
    """

    xml: str
    frame_skip: int
    fields: tuple[str, ...]
    observe: Callable[[Fields], Floats]
    position: Callable[[Fields, mujoco.MjModel], Floats] | None
    reward: Callable[[Fields, Floats, Floats, NDArray[np.bool_]], Floats]
    healthy: Callable[[Fields], NDArray[np.bool_]] | None
    velocity_noise: str
    noise_scale: float
    contact_forces: bool = False
    islands: bool = False
    explicit_pairs: bool = True


def _sum_squares(x: Floats) -> Floats:
    """Return the sum of squares (N,) of each row of (N, ...), in NumPy's order of summation for one contiguous row."""
    return np.square(x.reshape(len(x), -1)).sum(axis=1)


def _observe_clipped(fields: Fields) -> Floats:
    # np.clip would take longer to check its arguments than to compute these few rows.
    qvel = np.minimum(np.maximum(fields["qvel"], -10.0), 10.0)
    return np.concatenate((fields["qpos"][:, 1:], qvel), axis=1)


def _observe_positions_and_velocities(fields: Fields) -> Floats:
    return np.concatenate((fields["qpos"][:, 1:], fields["qvel"]), axis=1)


def _root_x(fields: Fields, model: mujoco.MjModel) -> Floats:
    return fields["qpos"][:, 0].copy()


def _reward_planar(fields: Fields, actions: Floats, velocity: Floats, healthy: NDArray[np.bool_]) -> Floats:
    return (velocity + healthy * 1.0) - 1e-3 * _sum_squares(actions)


def _hopper_healthy(fields: Fields) -> NDArray[np.bool_]:
    qpos, qvel = fields["qpos"], fields["qvel"]
    largest = np.abs(np.concatenate((qpos[:, 2:], qvel), axis=1)).max(axis=1)
    return (largest < 100.0) & (0.7 < qpos[:, 1]) & (np.abs(qpos[:, 2]) < 0.2)


def _walker_healthy(fields: Fields) -> NDArray[np.bool_]:
    z, angle = fields["qpos"][:, 1], fields["qpos"][:, 2]
    return (0.8 < z) & (z < 2.0) & (-1.0 < angle) & (angle < 1.0)


def _halfcheetah_reward(fields: Fields, actions: Floats, velocity: Floats, healthy: NDArray[np.bool_]) -> Floats:
    return velocity - 0.1 * _sum_squares(actions)


def _ant_observe(fields: Fields) -> Floats:
    forces = np.clip(fields["cfrc_ext"], -1.0, 1.0)[:, 1:]
    return np.concatenate((fields["qpos"][:, 2:], fields["qvel"], forces.reshape(len(forces), -1)), axis=1)


def _ant_position(fields: Fields, model: mujoco.MjModel) -> Floats:
    return fields["xpos"][:, 1, 0].copy()


def _ant_reward(fields: Fields, actions: Floats, velocity: Floats, healthy: NDArray[np.bool_]) -> Floats:
    control = 0.5 * _sum_squares(actions)
    contact = 5e-4 * _sum_squares(np.clip(fields["cfrc_ext"], -1.0, 1.0))
    return (velocity + healthy * 1.0) - (control + contact)


def _ant_healthy(fields: Fields) -> NDArray[np.bool_]:
    qpos, qvel = fields["qpos"], fields["qvel"]
    finite = np.isfinite(qpos).all(axis=1) & np.isfinite(qvel).all(axis=1)
    return finite & (qpos[:, 2] >= 0.2) & (qpos[:, 2] <= 1.0)


def _humanoid_observe(fields: Fields) -> Floats:
    count = len(fields["qpos"])
    return np.concatenate(
        (
            fields["qpos"][:, 2:],
            fields["qvel"],
            fields["cinert"][:, 1:].reshape(count, -1),
            fields["cvel"][:, 1:].reshape(count, -1),
            fields["qfrc_actuator"][:, 6:],
            fields["cfrc_ext"][:, 1:].reshape(count, -1),
        ),
        axis=1,
    )


def _humanoid_position(fields: Fields, model: mujoco.MjModel) -> Floats:
    """Return x of the center of mass. Bodies are summed in Gymnasium's order, to get the same rounding."""
    mass = model.body_mass
    return np.einsum("b,nbj->nj", mass, fields["xipos"])[:, 0] / mass.sum()


def _humanoid_reward(fields: Fields, actions: Floats, velocity: Floats, healthy: NDArray[np.bool_]) -> Floats:
    control = 0.1 * _sum_squares(actions)
    contact = np.clip(5e-7 * _sum_squares(fields["cfrc_ext"]), -np.inf, 10.0)
    return (1.25 * velocity + healthy * 5.0) - (control + contact)


def _humanoid_healthy(fields: Fields) -> NDArray[np.bool_]:
    z = fields["qpos"][:, 2]
    return (1.0 < z) & (z < 2.0)


_FINGERTIP, _TARGET = 3, 4  # body ids in reacher.xml


def _reacher_observe(fields: Fields) -> Floats:
    qpos = fields["qpos"]
    gap = fields["xpos"][:, _FINGERTIP] - fields["xpos"][:, _TARGET]
    theta = qpos[:, :2]
    return np.concatenate((np.cos(theta), np.sin(theta), qpos[:, 2:], fields["qvel"][:, :2], gap[:, :2]), axis=1)


def _reacher_reward(fields: Fields, actions: Floats, velocity: Floats, healthy: NDArray[np.bool_]) -> Floats:
    gap = fields["xpos"][:, _FINGERTIP] - fields["xpos"][:, _TARGET]
    return -np.sqrt(np.vecdot(gap, gap)) + -_sum_squares(actions)


RULES: dict[str, Rules] = {
    "Hopper-v5": Rules(
        xml="hopper.xml",
        frame_skip=4,
        fields=("qpos", "qvel"),
        observe=_observe_clipped,
        position=_root_x,
        reward=_reward_planar,
        healthy=_hopper_healthy,
        velocity_noise="uniform",
        noise_scale=5e-3,
    ),
    "Walker2d-v5": Rules(
        xml="walker2d_v5.xml",
        frame_skip=4,
        fields=("qpos", "qvel"),
        observe=_observe_clipped,
        position=_root_x,
        reward=_reward_planar,
        healthy=_walker_healthy,
        velocity_noise="uniform",
        noise_scale=5e-3,
    ),
    "HalfCheetah-v5": Rules(
        xml="half_cheetah.xml",
        frame_skip=5,
        fields=("qpos", "qvel"),
        observe=_observe_positions_and_velocities,
        position=_root_x,
        reward=_halfcheetah_reward,
        healthy=None,
        velocity_noise="normal",
        noise_scale=0.1,
    ),
    "Ant-v5": Rules(
        xml="ant.xml",
        frame_skip=5,
        fields=("qpos", "qvel", "cfrc_ext", "xpos"),
        observe=_ant_observe,
        position=_ant_position,
        reward=_ant_reward,
        healthy=_ant_healthy,
        velocity_noise="normal",
        noise_scale=0.1,
        contact_forces=True,
    ),
    "Humanoid-v5": Rules(
        xml="humanoid.xml",
        frame_skip=5,
        fields=("qpos", "qvel", "cinert", "cvel", "qfrc_actuator", "cfrc_ext", "xipos"),
        observe=_humanoid_observe,
        position=_humanoid_position,
        reward=_humanoid_reward,
        healthy=_humanoid_healthy,
        velocity_noise="uniform",
        noise_scale=1e-2,
        contact_forces=True,
        # With explicit pairs, contacts differ in their last bits from some step on.
        explicit_pairs=False,
    ),
    "Reacher-v5": Rules(
        xml="reacher.xml",
        frame_skip=2,
        fields=("qpos", "qvel", "xpos"),
        observe=_reacher_observe,
        position=None,
        reward=_reacher_reward,
        healthy=None,
        velocity_noise="uniform",
        noise_scale=5e-3,
        # The arm and the target are two islands.
        islands=True,
    ),
}

_logger = logging.getLogger(__name__)


def model_path(environment: str) -> str:
    """Return the path of Gymnasium's model file of an environment."""
    return str(files("gymnasium") / "envs" / "mujoco" / "assets" / RULES[environment].xml)


def log_warnings() -> None:
    """Send MuJoCo's warnings to `logging`, instead of writing MUJOCO_LOG.TXT in the current folder.

    The deprecation warning about half-cheetah's model is dropped, because users cannot change Gymnasium's models.
    """

    def warn(message: str) -> None:
        if "is deprecated" not in message:
            _logger.warning(message)

    mujoco.set_mju_user_warning(warn)


class MujocoPhysics:
    """N copies of one of Gymnasium's MuJoCo -v5 environments."""

    discrete = False

    def __init__(self, environment: str, num_envs: int) -> None:
        log_warnings()
        self.rules = RULES[environment]
        self.num_envs = num_envs
        without_profiler()
        try:
            self.model = lean_model(model_path(environment), self.rules.islands, self.rules.explicit_pairs)
            self.datas = [mujoco.MjData(self.model) for _ in range(num_envs)]
        except (mujoco.FatalError, ValueError, RuntimeError) as error:
            # Without memory MjData raises FatalError; the compiler ValueError, or RuntimeError for C++'s bad_alloc.
            if not any(words in str(error) for words in ("allocate memory", "unknown exception")):
                raise
            raise MemoryError(f"MuJoCo: {error}") from None
        self._initial_qpos = self.datas[0].qpos.copy()
        self._initial_qvel = self.datas[0].qvel.copy()
        self._dt = self.model.opt.timestep * self.rules.frame_skip
        # Views of MuJoCo's memory are made once, since attribute access would take longer than copying.
        self._all_controls = [data.ctrl for data in self.datas]
        self._all_views = {name: [getattr(data, name).reshape(-1) for data in self.datas] for name in self.rules.fields}
        self._go_on(np.arange(num_envs))
        self.observation_dim = self.rules.observe(self._fields).shape[1]
        self.action_dim = int(self.model.nu)

    def _go_on(self, rows: NDArray[np.intp]) -> None:
        """Make these environments (n,) the active ones."""
        self._rows = rows
        self._going = [(self.datas[row], self._all_controls[row]) for row in rows]
        self._views = {name: [views[row] for row in rows] for name, views in self._all_views.items()}
        self._fields: Fields = {
            name: np.zeros((len(rows), *getattr(self.datas[0], name).shape)) for name in self.rules.fields
        }
        self._position = np.zeros(len(rows))

    def start(self, generator: np.random.Generator) -> Floats:
        """Start new episodes in all N environments; return their observations (N, O)."""
        self._go_on(np.arange(self.num_envs))
        return self.reset(self._rows, generator)

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Keep only those active environments active that `kept` marks, until the next start."""
        position = self._position[kept]
        self._go_on(self._rows[kept])
        self._position = position

    def reset(self, rows: NDArray[np.intp], generator: np.random.Generator) -> Floats:
        """Start new episodes in `rows` of the active environments, from Gymnasium's distribution of initial states.
        Return their observations (len(rows), O)."""
        for row in rows:
            data, _ = self._going[row]
            mujoco.mj_resetData(self.model, data)
            data.qpos[:], data.qvel[:] = self._initial_state(generator)
            mujoco.mj_forward(self.model, data)
        fields = {
            name: np.concatenate([views[row] for row in rows]).reshape(len(rows), *self._fields[name].shape[1:])
            for name, views in self._views.items()
        }
        if self.rules.position is not None:
            self._position[rows] = self.rules.position(fields, self.model)
        return self.rules.observe(fields)

    def _initial_state(self, generator: np.random.Generator) -> tuple[Floats, Floats]:
        model, scale = self.model, self.rules.noise_scale
        if self.rules.xml == "reacher.xml":
            qpos = generator.uniform(-0.1, 0.1, model.nq) + self._initial_qpos
            while True:
                goal = generator.uniform(-0.2, 0.2, 2)
                if np.linalg.norm(goal) < 0.2:
                    break
            qpos[-2:] = goal
            qvel = self._initial_qvel + generator.uniform(-scale, scale, model.nv)
            qvel[-2:] = 0
            return qpos, qvel
        qpos = self._initial_qpos + generator.uniform(-scale, scale, model.nq)
        if self.rules.velocity_noise == "normal":
            return qpos, self._initial_qvel + scale * generator.standard_normal(model.nv)
        return qpos, self._initial_qvel + generator.uniform(-scale, scale, model.nv)

    def step(self, actions: Floats) -> tuple[Floats, Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """Apply actions (n, A); return observations (n, O), rewards, terminated and truncated (n,).

        `truncated` is always False, since the time limit is not part of the physics.
        """
        model, frame_skip, mj_step = self.model, self.rules.frame_skip, mujoco.mj_step
        rne = mujoco.mj_rnePostConstraint if self.rules.contact_forces else None
        for (data, control), action in zip(self._going, actions, strict=True):
            control[:] = action
            mj_step(model, data, frame_skip)
            if rne is not None:
                rne(model, data)
        for name, views in self._views.items():
            np.concatenate(views, out=self._fields[name].reshape(-1))
        fields = self._fields
        velocity = self._position
        if self.rules.position is not None:
            position = self.rules.position(fields, model)
            velocity = (position - self._position) / self._dt
            self._position = position
        never = np.zeros(len(self._rows), dtype=bool)
        healthy = ~never if self.rules.healthy is None else self.rules.healthy(fields)
        reward = self.rules.reward(fields, actions, velocity, healthy)
        return self.rules.observe(fields), reward, ~healthy, never
