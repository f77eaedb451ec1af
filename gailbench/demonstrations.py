"""Demonstrations: whole trajectories of an expert, stored with their true rewards, and subsampled when they are used.

Legend: K trajectories, M pairs in all trajectories, O and A the dimensions of observations and actions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gailbench.plumbing.errors import GailbenchError, first_line, plural
from gailbench.plumbing.files import open_atomic
from gailbench.plumbing.npz import open_archive
from gailbench.plumbing.streams import stream
from gailbench.tasks import Task

if TYPE_CHECKING:
    from gailbench.policy import Policy

# Files of format 2 have a hash of the content. Files of format 1 do not, and count as a user's own demonstrations.
FORMAT = 2
FORMATS = (1, FORMAT)

# The arrays, in the order in which they are hashed: the numbers of axes and the kinds of dtype that a file may have,
# and our dtype of each kind.
_ARRAYS: dict[str, tuple[tuple[int, ...], dict[str, type]]] = {
    "observations": ((2,), {"f": np.float32}),
    "actions": ((1, 2), {"f": np.float32, "i": np.int64}),
    "rewards": ((1,), {"f": np.float64}),
    "lengths": ((1,), {"i": np.int64}),
    "terminated": ((1,), {"b": np.bool_}),
    "truncated": ((1,), {"b": np.bool_}),
    "final_observations": ((2,), {"f": np.float32}),
    "offsets": ((1,), {"i": np.int64}),
}


@dataclass(frozen=True)
class Pairs:
    """State-action pairs of an expert, from which imitation learns.

    Attributes:
        observations: (M, O) float32.
        actions: (M, A) float32, or (M,) int64 if discrete.
        num_actions: A; for discrete actions the number of actions.
        discrete: Whether actions are discrete.
    """

    observations: NDArray[np.float32]
    actions: NDArray[Any]
    num_actions: int
    discrete: bool

    def __len__(self) -> int:
        return len(self.observations)

    def inputs(self, observations: NDArray[np.float32], actions: NDArray[Any]) -> NDArray[np.float32]:
        """Return what a reward sees of B pairs like these: observations with continuous actions beside them (B, O + A),
        or only the observations (B, O) if actions are discrete."""
        return observations if self.discrete else np.concatenate((observations, actions), axis=1, dtype=np.float32)


@dataclass(frozen=True)
class Demonstrations:
    """K whole trajectories, one after the other.

    Attributes:
        task: Name of the task.
        num_actions: A; for discrete actions the number of actions.
        expert_sha256: Hash of the expert's file, empty if unknown.
        seed: Seed of the sampling, -1 if unknown.
        observations: (M, O) float32.
        actions: (M, A) float32, or (M,) int64 if discrete.
        rewards: (M,) float64, the environment's rewards.
        lengths: (K,) int64, lengths of the trajectories; their sum is M.
        terminated: (K,) bool, whether the environment ended the trajectory.
        truncated: (K,) bool, whether the trajectory reached the time limit.
        final_observations: (K, O) float32, the observations after the last actions.
        offsets: (K,) int64, the first pair that subsampling keeps, in [0, k). They are the same for all runs and sizes.
        stated_sha256: The hash of the content that the file states; empty if it states none.
    """

    task: str
    num_actions: int
    expert_sha256: str
    seed: int
    observations: NDArray[np.float32]
    actions: NDArray[Any]
    rewards: NDArray[np.float64]
    lengths: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_observations: NDArray[np.float32]
    offsets: NDArray[np.int64]
    stated_sha256: str = ""

    @property
    def genuine(self) -> bool:
        """Whether the content is unchanged since `sample` wrote it, by its hash."""
        return self.stated_sha256 == self.sha256()

    @property
    def trajectories(self) -> int:
        """K, the number of trajectories."""
        return len(self.lengths)

    @property
    def discrete(self) -> bool:
        return self.actions.ndim == 1

    @property
    def starts(self) -> NDArray[np.int64]:
        """The index of each trajectory's first pair, (K,)."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def returns(self) -> NDArray[np.float64]:
        """The true returns, (K,)."""
        return np.add.reduceat(self.rewards, self.starts)

    @property
    def times(self) -> NDArray[np.int64]:
        """The number of earlier steps in the trajectory for each pair, (M,)."""
        return np.arange(len(self.rewards)) - np.repeat(self.starts, self.lengths)

    @property
    def next_observations(self) -> NDArray[np.float32]:
        """The observations after the actions, (M, O)."""
        following = np.concatenate((self.observations[1:], self.final_observations[-1:]))
        following[self.starts + self.lengths - 1] = self.final_observations
        return following

    @property
    def ends(self) -> NDArray[np.bool_]:
        """Whether the environment ended the trajectory with this pair, (M,)."""
        ends = np.zeros(len(self.rewards), dtype=bool)
        ends[self.starts + self.lengths - 1] = self.terminated
        return ends

    def subset(self, trajectories: int, keep_every: int) -> Pairs:
        """Return every `keep_every`-th pair of the first `trajectories` trajectories, starting at their offsets.

        Raises:
            GailbenchError: There are fewer trajectories.
        """
        rows = self.kept(trajectories, keep_every)
        return Pairs(self.observations[rows], self.actions[rows], self.num_actions, self.discrete)

    def kept(self, trajectories: int, keep_every: int) -> NDArray[np.int64]:
        """Return the indices of the pairs that `subset` keeps, in their order.

        Raises:
            GailbenchError: There are fewer trajectories.
        """
        if trajectories > self.trajectories:
            raise too_few(self.task, trajectories, self.trajectories)
        rows = np.concatenate(
            [
                np.arange(start + offset % keep_every, start + length, keep_every)
                for start, offset, length in zip(
                    self.starts[:trajectories],
                    self.offsets[:trajectories],
                    self.lengths[:trajectories],
                    strict=True,
                )
            ]
        )
        if not len(rows):
            raise GailbenchError(
                f"keeping every {keep_every}th pair leaves no pair of the first {trajectories} trajectories "
                f"of '{self.task}'; use longer or more trajectories"
            )
        return rows

    def sha256(self) -> str:
        """Return the hash of the content that learning depends on. It does not depend on how the file is stored."""
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for name in _ARRAYS:
            # A view, since bytes would need two copies of 330 MB for humanoid.
            digest.update(np.ascontiguousarray(getattr(self, name)).ravel().view(np.uint8).data)
        return digest.hexdigest()

    def write(self, path: Path) -> None:
        """Write to an .npz file without pickle, completely or not at all.

        Raises:
            GailbenchError: The file cannot be written.
        """
        content: dict[str, Any] = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}
        content["sha256"] = content.pop("stated_sha256")  # not that of changed content
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_atomic(path) as file:
                np.savez_compressed(file, format=np.array(FORMAT), **content)
        except OSError as error:
            raise GailbenchError(f"cannot write demonstrations to {path}: {error.strerror}") from None


def too_few(task: str, size: int, trajectories: int) -> GailbenchError:
    """Return the error of a size that is larger than the demonstrations of a task."""
    return GailbenchError(
        f"size {size} is larger than the demonstrations of '{task}', which hold {plural(trajectories, 'trajectory')}; "
        "choose a smaller --sizes, or name more, made by 'gailbench demos sample', with --demos"
    )


def sample(task: Task, policy: Policy, expert_sha256: str, trajectories: int, seed: int) -> Demonstrations:
    """Sample whole trajectories of the stochastic policy, and draw the offsets for subsampling.

    Raises:
        GailbenchError: The environment gives numbers that are not finite.
    """
    from gailbench.sampling import Sampler  # imports torch, which reading demonstrations does not need

    sampler = Sampler(task, trajectories, stream(seed, f"demonstrations/{task.name}"))
    batch = sampler.sample_each(policy)

    def joined(values: NDArray[Any]) -> NDArray[Any]:
        """Return values with one environment, and so one trajectory, after the other."""
        return values.swapaxes(0, 1)[batch.valid.T]

    last = (batch.lengths - 1, np.arange(trajectories))
    final_observations = np.empty((trajectories, batch.end_observations.shape[1]), dtype=np.float32)
    final_observations[np.nonzero(batch.done)[1]] = batch.end_observations
    sampled = Demonstrations(
        task=task.name,
        num_actions=policy.action_dim,
        expert_sha256=expert_sha256,
        seed=seed,
        observations=joined(batch.observations),
        actions=joined(batch.actions),
        rewards=joined(batch.rewards),
        lengths=batch.lengths,
        terminated=batch.terminated[last],
        truncated=batch.truncated[last],
        final_observations=final_observations,
        offsets=stream(seed, f"offsets/{task.name}").integers(task.keep_every, size=trajectories),
    )
    try:
        check(sampled)
    except ValueError as error:
        raise GailbenchError(f"the trajectories of '{task.name}' cannot be demonstrations: {error}") from None
    return replace(sampled, stated_sha256=sampled.sha256())


def read(path: Path) -> Demonstrations:
    """Read and check a file that `Demonstrations.write` wrote.

    Raises:
        GailbenchError: The file is missing, truncated, of another format, inconsistent, or holds numbers that are not
            finite.
    """
    if not path.exists():
        raise GailbenchError(f"no demonstrations at {path}; 'gailbench demos sample' makes them")
    needed = {"format", *(field.name for field in fields(Demonstrations))} - {"stated_sha256"}
    with open_archive(path) as archive:
        if missing := needed - archive.names:
            raise GailbenchError(
                f"{path} is not a demonstrations file of gailbench: it lacks {', '.join(sorted(missing))}; "
                "'gailbench demos import' converts files of other programs and of your own scripts"
            )
        content: dict[str, Any] = {name: archive.read(name, "fiubU") for name in archive.names & {*needed, "sha256"}}
    try:
        if (version := int(content.pop("format").item())) not in FORMATS:
            raise GailbenchError(f"{path} has demonstrations format {version}; this version reads {FORMAT}")
        scalars: dict[str, Any] = {
            "task": str(content.pop("task").item()),
            "num_actions": int(content.pop("num_actions").item()),
            "expert_sha256": str(content.pop("expert_sha256").item()),
            "seed": int(content.pop("seed").item()),
            "stated_sha256": str(content.pop("sha256").item()) if "sha256" in content else "",
        }
        check(Demonstrations(**scalars, **content))
        return Demonstrations(**scalars, **_typed(content))
    except (ValueError, TypeError, OverflowError) as error:
        raise GailbenchError(f"demonstrations in {path} are damaged: {first_line(error)}") from None


def _typed(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the arrays in our dtypes and byte order, so that equal numbers have equal hashes."""
    return {
        name: np.ascontiguousarray(arrays[name], dtype=dtypes[arrays[name].dtype.kind])
        for name, (_, dtypes) in _ARRAYS.items()
    }


def check(demonstrations: Demonstrations) -> None:
    """Check texts, shapes and numbers.

    Raises:
        ValueError: Something is wrong. The message says what, where, and what was expected.
    """
    d = demonstrations
    for name, text in (("task", d.task), ("expert_sha256", d.expert_sha256)):
        if not text.isprintable():
            raise ValueError(f"{name} is {text!r}, expected printable characters")
    for name, (axes, dtypes) in _ARRAYS.items():
        values = getattr(d, name)
        if values.dtype.kind not in dtypes or values.ndim not in axes:
            raise ValueError(
                f"{name} is an array of {values.dtype} with {values.ndim} axes, expected kind {' or '.join(dtypes)} "
                f"with {' or '.join(map(str, axes))} axes"
            )
    if d.actions.dtype.kind != ("i" if d.discrete else "f"):
        raise ValueError("discrete actions must be integers on one axis, continuous ones floats on two")
    if not len(d.lengths):
        raise ValueError("there is no trajectory")
    pairs, trajectories = len(d.observations), len(d.lengths)
    total = sum(int(length) for length in d.lengths.tolist())  # in NumPy the sum could wrap around
    if (d.lengths < 1).any() or total != pairs:
        raise ValueError(f"lengths sum to {total}, but there are {pairs} observations")
    for name, expected in (
        ("actions", pairs),
        ("rewards", pairs),
        ("terminated", trajectories),
        ("truncated", trajectories),
        ("final_observations", trajectories),
        ("offsets", trajectories),
    ):
        if len(getattr(d, name)) != expected:
            raise ValueError(f"{name} has {len(getattr(d, name))} rows, expected {expected}")
    if d.final_observations.shape[1:] != d.observations.shape[1:]:
        raise ValueError(
            f"final_observations have {d.final_observations.shape[1:]} numbers, observations {d.observations.shape[1:]}"
        )
    for name in ("observations", "actions", "rewards", "final_observations"):
        # Used in float32, in which 1e39 is infinite. Rewards are not, but sums of their squares must be finite too.
        with np.errstate(over="ignore"):
            finite = np.isfinite(getattr(d, name).astype(np.float32, copy=False))
        if not finite.all():
            row = int(np.argwhere(~finite)[0][0])
            raise ValueError(f"{name} holds a number in row {row} that is not finite or too large for float32")
    if d.discrete and not ((d.actions >= 0) & (d.actions < d.num_actions)).all():
        raise ValueError(f"actions must be from 0 to {d.num_actions - 1}")
    if not d.discrete and d.actions.shape[1] != d.num_actions:
        raise ValueError(f"actions have {d.actions.shape[1]} numbers, expected {d.num_actions}")
