"""Cart-pole, acrobot and mountain car as NumPy arithmetic on many copies: Gymnasium's rules up to rounding.

The formulas are those of Gymnasium 1.4. Sines and cosines are evaluated on arrays, and acrobot's shifted cosines are
written as sines, so states may differ from Gymnasium's in the last bits of float64 (observations are float32).
Gymnasium's own vectorized cart-pole is not used: it resets in the step after an episode's end, which gives rows that
belong to no episode.

States are (S, N) arrays, with one contiguous row per variable.

Legend: N environments, n active environments, S state variables, O dimension of observations.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Dynamics(Protocol):
    """The arithmetic of one classic task."""

    observation_dim: int
    action_dim: int

    def initial(self, count: int, generator: np.random.Generator) -> Floats:
        """Draw initial states (S, count)."""

    def advance(self, state: Floats, actions: NDArray[np.intp]) -> tuple[Floats, Floats, Bools]:
        """Step states (S, N) by actions (N,); return new states, rewards (N,) and terminated (N,)."""

    def observe(self, state: Floats) -> NDArray[np.float32]:
        """Return the observations (N, O) of states (S, N)."""


class CartPole:
    """Barto, Sutton & Anderson's cart-pole: reward 1 per step; an episode ends when pole or cart leaves its range."""

    observation_dim = 4
    action_dim = 2
    _ANGLE_LIMIT = 12 * 2 * np.pi / 360
    _POSITION_LIMIT = 2.4

    def initial(self, count: int, generator: np.random.Generator) -> Floats:
        return generator.uniform(-0.05, 0.05, (4, count))

    def advance(self, state: Floats, actions: NDArray[np.intp]) -> tuple[Floats, Floats, Bools]:
        gravity, pole_mass, total_mass, length, tau = 9.8, 0.1, 1.1, 0.5, 0.02
        pole_mass_length = pole_mass * length
        _, x_dot, theta, theta_dot = state
        force = np.where(actions == 1, 10.0, -10.0)
        cos, sin = np.cos(theta), np.sin(theta)
        temp = (force + pole_mass_length * np.square(theta_dot) * sin) / total_mass
        theta_acc = (gravity * sin - cos * temp) / (length * (4.0 / 3.0 - pole_mass * np.square(cos) / total_mass))
        x_acc = temp - pole_mass_length * theta_acc * cos / total_mass
        new = np.stack((x_dot, x_acc, theta_dot, theta_acc))
        new *= tau
        new += state
        terminated = (np.abs(new[0]) > self._POSITION_LIMIT) | (np.abs(new[2]) > self._ANGLE_LIMIT)
        return new, np.ones(len(actions)), terminated

    def observe(self, state: Floats) -> NDArray[np.float32]:
        return state.T.astype(np.float32)


class MountainCar:
    """Moore's mountain car: reward -1 per step; an episode ends at the flag."""

    observation_dim = 2
    action_dim = 3

    def initial(self, count: int, generator: np.random.Generator) -> Floats:
        return np.stack((generator.uniform(-0.6, -0.4, count), np.zeros(count)))

    def advance(self, state: Floats, actions: NDArray[np.intp]) -> tuple[Floats, Floats, Bools]:
        position, velocity = state
        velocity = velocity + ((actions - 1) * 0.001 + np.cos(3 * position) * -0.0025)
        velocity = np.minimum(np.maximum(velocity, -0.07), 0.07)  # takes a third of np.clip's time
        position = np.minimum(np.maximum(position + velocity, -1.2), 0.6)
        velocity = np.where((position == -1.2) & (velocity < 0), 0.0, velocity)
        terminated = (position >= 0.5) & (velocity >= 0)
        return np.stack((position, velocity)), np.full(len(actions), -1.0), terminated

    def observe(self, state: Floats) -> NDArray[np.float32]:
        return state.T.astype(np.float32)


class Acrobot:
    """Sutton's acrobot ("book" dynamics, Runge-Kutta of order 4): reward -1 per step until the tip is up, then 0."""

    observation_dim = 6
    action_dim = 3
    _STEP = 0.2

    def initial(self, count: int, generator: np.random.Generator) -> Floats:
        # Gymnasium rounds the initial state to float32.
        return generator.uniform(-0.1, 0.1, (4, count)).astype(np.float32).astype(np.float64)

    def advance(self, state: Floats, actions: NDArray[np.intp]) -> tuple[Floats, Floats, Bools]:
        torque = actions.astype(np.float64) - 1.0
        step = self._STEP
        k1 = _acrobot_derivative(state, torque)
        k2 = _acrobot_derivative(state + step / 2 * k1, torque)
        k3 = _acrobot_derivative(state + step / 2 * k2, torque)
        k4 = _acrobot_derivative(state + step * k3, torque)
        new = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        angles = new[:2]
        while (beyond := np.abs(angles) > np.pi).any():
            angles -= np.where(beyond, np.copysign(2 * np.pi, angles), 0.0)
        np.clip(new[2], -4 * np.pi, 4 * np.pi, out=new[2])
        np.clip(new[3], -9 * np.pi, 9 * np.pi, out=new[3])
        terminated = -np.cos(new[0]) - np.cos(new[1] + new[0]) > 1.0
        return new, np.where(terminated, 0.0, -1.0), terminated

    def observe(self, state: Floats) -> NDArray[np.float32]:
        observation = np.empty((state.shape[1], 6), dtype=np.float32)
        observation[:, 0:4:2] = np.cos(state[:2]).T
        observation[:, 1:4:2] = np.sin(state[:2]).T
        observation[:, 4:] = state[2:].T
        return observation


def _acrobot_derivative(state: Floats, torque: Floats) -> Floats:
    """Return d(state)/dt, for unit masses, lengths and moments of inertia, centers of mass at 0.5, gravity 9.8."""
    theta1, theta2, dtheta1, dtheta2 = state
    cos2, sin2 = np.cos(theta2), np.sin(theta2)
    d1 = cos2 + 3.5
    d2 = 0.5 * cos2 + 1.25
    phi2 = 4.9 * np.sin(theta1 + theta2)
    half = 0.5 * sin2
    phi1 = 14.7 * np.sin(theta1) + phi2 - half * dtheta2 * (dtheta2 + 2 * dtheta1)
    ratio = d2 / d1
    derivative = np.empty_like(state)
    derivative[:2] = state[2:]
    ddtheta2 = (torque + ratio * phi1 - half * dtheta1 * dtheta1 - phi2) / (1.25 - ratio * d2)
    derivative[3] = ddtheta2
    derivative[2] = -(d2 * ddtheta2 + phi1) / d1
    return derivative


class ClassicPhysics:
    """N copies of one classic task."""

    discrete = True
    DYNAMICS: ClassVar[dict[str, type[CartPole] | type[MountainCar] | type[Acrobot]]] = {
        "CartPole-v1": CartPole,
        "MountainCar-v0": MountainCar,
        "Acrobot-v1": Acrobot,
    }

    def __init__(self, environment: str, num_envs: int) -> None:
        self.dynamics: Dynamics = self.DYNAMICS[environment]()
        self.num_envs = num_envs
        self.observation_dim = self.dynamics.observation_dim
        self.action_dim = self.dynamics.action_dim
        self._state = self.dynamics.initial(num_envs, np.random.default_rng(0))

    def start(self, generator: np.random.Generator) -> NDArray[np.float32]:
        """Start new episodes in all N environments; return their observations (N, O)."""
        self._state = self.dynamics.initial(self.num_envs, generator)
        return self.dynamics.observe(self._state)

    def keep(self, kept: Bools) -> None:
        """Keep only those active environments active that `kept` marks, until the next start."""
        self._state = self._state[:, kept]

    def reset(self, rows: NDArray[np.intp], generator: np.random.Generator) -> NDArray[np.float32]:
        """Start new episodes in `rows` of the active environments, from Gymnasium's distribution of initial states.
        Return their observations (len(rows), O)."""
        fresh = self.dynamics.initial(len(rows), generator)
        self._state[:, rows] = fresh
        return self.dynamics.observe(fresh)

    def step(self, actions: NDArray[np.intp]) -> tuple[NDArray[np.float32], Floats, Bools, Bools]:
        """Apply actions (n,); return observations (n, O), rewards, terminated and truncated (n,). `truncated` is always
        False, since the time limit is not part of the physics."""
        self._state, rewards, terminated = self.dynamics.advance(self._state, actions)
        return self.dynamics.observe(self._state), rewards, terminated, np.zeros(len(actions), dtype=bool)
