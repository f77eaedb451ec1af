"""Gymnasium's own environments: through the vector API if there is no faster physics, and single environments."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gailbench.plumbing.errors import GailbenchError, first_line, nearest
from gailbench.tasks import Named, Task


class GymnasiumPhysics:
    """N copies of an environment with vector observations and a Box or Discrete action space."""

    def __init__(self, environment: str, num_envs: int, horizon: int, kwargs: Named = ()) -> None:
        import gymnasium
        from gymnasium.vector import AutoresetMode

        with _made(environment):
            self._envs: Any = gymnasium.make_vec(
                environment,
                num_envs=num_envs,
                vectorization_mode=gymnasium.VectorizeMode.SYNC,
                vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
                max_episode_steps=horizon,
                **dict(kwargs),
            )
        observations, actions = self._envs.single_observation_space, self._envs.single_action_space
        self.observation_dim = _vector_length(observations)
        if not self.observation_dim:
            raise GailbenchError(
                f"environment '{environment}' observes {observations}; a vector (Box of one axis, not empty) is needed"
            )
        self._environment = environment
        self.num_envs = num_envs
        self._rows = np.arange(num_envs)
        self.discrete = isinstance(actions, gymnasium.spaces.Discrete)
        if isinstance(actions, gymnasium.spaces.Discrete):
            self.action_dim = int(actions.n)
            self._first_action = int(actions.start)
        else:
            self.action_dim = _vector_length(actions)
        if not self.action_dim:
            raise GailbenchError(
                f"environment '{environment}' takes actions {actions}; Discrete or a vector (Box of one axis, not "
                "empty) is needed"
            )

    def start(self, generator: np.random.Generator) -> NDArray[np.floating]:
        """Start new episodes in all N environments; return their observations (N, O)."""
        self._rows = np.arange(self.num_envs)
        return self.reset(self._rows, generator)

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Keep only those active environments active that `kept` marks, until the next start."""
        leaving, self._rows = self._rows[~kept], self._rows[kept]
        if kept.any():
            self._reset_idle(np.isin(np.arange(self.num_envs), leaving))

    def reset(self, rows: NDArray[np.intp], generator: np.random.Generator) -> NDArray[np.floating]:
        """Start new episodes in `rows` of the active environments; return their observations (len(rows), O)."""
        rows = self._rows[rows]
        mask = np.zeros(self.num_envs, dtype=bool)
        mask[rows] = True
        seeds: list[int | None] = [None] * self.num_envs
        for row in rows:
            seeds[row] = int(generator.integers(2**31))
        with running(self._environment, "reset"):
            observations, _ = self._envs.reset(seed=seeds, options={"reset_mask": mask})
        return np.array(observations[rows])

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Apply actions to the active environments; return observations (n, O), rewards, terminated, truncated (n,)."""
        rows = self._rows
        # The vector API steps all environments. Inactive ones repeat an action of an active one.
        if self.discrete:
            actions = actions + self._first_action
        everywhere = np.repeat(actions[:1], self.num_envs, axis=0)
        everywhere[rows] = actions
        with running(self._environment, "step"):
            observations, rewards, terminated, truncated, _ = self._envs.step(everywhere)
        result = observations[rows], np.asarray(rewards, dtype=np.float64)[rows], terminated[rows], truncated[rows]
        idle = terminated | truncated
        idle[rows] = False
        self._reset_idle(idle)
        return result

    def _reset_idle(self, idle: NDArray[np.bool_]) -> None:
        """Reset inactive environments that have ended, since ended environments may not be stepped."""
        if idle.any():
            with running(self._environment, "reset"):
                self._envs.reset(options={"reset_mask": idle})


def _vector_length(space: Any) -> int:
    """Return how many numbers a space of vectors has, and 0 for any other space."""
    import gymnasium

    return int(space.shape[0]) if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1 else 0


def make_single(task: Task, render_mode: str | None = None) -> Any:
    """Return a single environment of a task, made by `gymnasium.make`, which truncates episodes at the horizon.

    Raises:
        GailbenchError: Gymnasium does not know the environment, or cannot make it.
    """
    import gymnasium

    rendering = {} if render_mode is None else {"render_mode": render_mode}  # not every environment takes it
    with _made(task.environment):
        return gymnasium.make(
            task.environment,
            max_episode_steps=task.horizon,
            disable_env_checker=True,
            **rendering,
            **dict(task.kwargs),
        )


def close(environment: Any) -> None:
    """Close a single environment. If that fails, do nothing: it is no longer needed, and results must not be lost."""
    with contextlib.suppress(Exception):
        environment.close()


@contextlib.contextmanager
def running(environment: str, method: str) -> Iterator[None]:
    """Turn errors of an environment's `reset` or `step` into one line. The error itself is the cause.

    Raises:
        GailbenchError: The block raised an error. The message names the environment, the method and the error.
    """
    try:
        yield
    except (GailbenchError, MemoryError):
        raise
    except Exception as error:  # a user's environment can raise anything
        raise GailbenchError(
            f"'{environment}' fails in {method} ({type(error).__name__}: {first_line(error)}); "
            "correct the environment or its kwargs"
        ) from error


@contextlib.contextmanager
def _made(environment: str) -> Iterator[None]:
    """Turn errors of making an environment into one line."""
    import gymnasium

    try:
        yield
    except gymnasium.error.UnregisteredEnv:
        hint = nearest(environment, gymnasium.registry, listed=False)
        raise GailbenchError(f"Gymnasium knows no environment '{environment}'{hint}") from None
    except Exception as error:  # making an environment can raise anything
        raise GailbenchError(f"Gymnasium cannot make '{environment}': {first_line(error)}") from None
