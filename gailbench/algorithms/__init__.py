"""The registry of algorithms: their names, what they need, and how their learners are made.

Built-in algorithms and algorithms of other packages are values of the same class, `Algorithm`. Another package adds one
through an entry point of the group `gailbench.algorithms`. PyTorch is only imported when a learner is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_type_hints

from gailbench.plumbing.errors import GailbenchError, first_line, nearest
from gailbench.tasks import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gailbench.algorithms.loop import LoopSettings
    from gailbench.demonstrations import Demonstrations, Pairs
    from gailbench.training import Learner

ENTRY_POINTS = "gailbench.algorithms"


@dataclass(frozen=True)
class Algorithm:
    """One way to learn a policy.

    Attributes:
        name: Unique name on the command line, in folders and in tables.
        heading: Unique name in figures and at the top of a column.
        maker: "module:function". The function gets an `Assignment` and returns a `Learner`. Imported when needed.
        settings: "module:class" of its own settings, a frozen dataclass with the paper's values as defaults; None
            without settings.
        needs_demonstrations: False for a control that does not learn from an expert.
        has_entropy_weight: Whether lambda, the weight of the policy's entropy, can be set for it.
        iteration: What an iteration is: a "batch" of environment steps, or a "gradient step" on demonstrations.
        diagnostics: Columns of its learning curve beyond `LOOP_COLUMNS` or `GRADIENT_COLUMNS`.
    """

    name: str
    heading: str
    maker: str
    settings: str | None = None
    needs_demonstrations: bool = True
    has_entropy_weight: bool = False
    iteration: Literal["batch", "gradient step"] = "batch"
    diagnostics: tuple[str, ...] = ()

    @property
    def takes_environment_steps(self) -> bool:
        return self.iteration == "batch"

    def iterations(self, task: Task) -> int:
        """The number of iterations (or gradient steps) in the task's budget."""
        return task.iterations if self.takes_environment_steps else task.bc_steps

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of its learning curve."""
        core = LOOP_COLUMNS if self.takes_environment_steps else GRADIENT_COLUMNS
        return (*core, *self.diagnostics)

    def settings_class(self) -> type[Any] | None:
        """The dataclass of its own settings.

        Raises:
            GailbenchError: `settings` does not lead to a dataclass whose fields have defaults and known types.
        """
        if self.settings is None:
            return None
        own = self._imported(self.settings)
        wrong = f"the settings of algorithm '{self.name}', {self.settings},"
        if not (isinstance(own, type) and is_dataclass(own)):
            raise GailbenchError(f"{wrong} are not a dataclass")
        for field in fields(own):
            if field.default is MISSING and field.default_factory is MISSING:
                raise GailbenchError(f"{wrong} have a field without a default: {field.name}")
        try:
            get_type_hints(own)
        except Exception as error:  # resolving the annotations of another package can raise anything
            raise GailbenchError(f"{wrong} have a type that is unknown: {first_line(error)}") from error
        return own

    def make(self, assignment: Assignment) -> Learner:
        """Make its learner. No iteration is done yet."""
        maker = cast("Callable[[Assignment], Learner]", self._imported(self.maker))
        return maker(assignment)

    def _imported(self, place: str) -> Any:
        """Return what "module:name" names.

        Raises:
            GailbenchError: A package's module cannot be imported, or lacks the name.
        """
        module, _, name = place.partition(":")
        try:
            return getattr(import_module(module), name)
        except Exception as error:  # importing another package can raise anything
            if self in BUILT_IN:  # the machine is at a limit, or the installation is broken
                raise
            raise GailbenchError(f"algorithm '{self.name}' fails to import {place}: {first_line(error)}") from error


# Columns of every learning curve, if an iteration is a batch of environment steps or a gradient step.
LOOP_COLUMNS = (
    "iteration",
    "steps",
    "episodes",
    "return_mean",
    "return_std",
    "length_mean",
    "length_std",
    "reward_mean",
    "kl",
    "entropy",
    "halvings",
    "explained_variance",
)
GRADIENT_COLUMNS = ("iteration", "entropy", "training_loss", "validation_loss")


@dataclass(frozen=True)
class Assignment:
    """What a learner is made from.

    Attributes:
        task: The task.
        demonstrations: Whole trajectories; None for an algorithm that needs none.
        pairs: The state-action pairs that remain after choosing the size and subsampling.
        rows: Indices of these pairs in the demonstrations: `demonstrations.next_observations[rows]` are the
            observations after them.
        iterations: Total number of iterations.
        seed: Seed of all random numbers; `stream` derives a generator for each use.
        loop: Settings of the loop that is shared by all algorithms that learn from a reward.
        settings: The algorithm's own settings; None if it has none.
        results: The results folder. `gailbench.experts.load_demonstrator` finds experts of a user's tasks there.
    """

    task: Task
    demonstrations: Demonstrations | None
    pairs: Pairs | None
    rows: NDArray[np.int64] | None
    iterations: int
    seed: int
    loop: LoopSettings
    settings: Any
    results: Path

    def stream(self, name: str) -> np.random.Generator:
        """Return a random generator for one use, such as "reward"."""
        from gailbench.plumbing.streams import stream

        return stream(self.seed, name)

    @property
    def expert(self) -> Pairs:
        """The demonstrated pairs of an algorithm that needs them."""
        if self.pairs is None:
            raise GailbenchError("this algorithm learns from demonstrations, but has none")
        return self.pairs


BC = Algorithm(
    "bc",
    "BC",
    "gailbench.algorithms.bc:make",
    "gailbench.algorithms.bc:BcSettings",
    iteration="gradient step",
)
FEM = Algorithm("fem", "FEM", "gailbench.algorithms.fem:make")
GTAL = Algorithm("gtal", "GTAL", "gailbench.algorithms.gtal:make")
GAIL = Algorithm(
    "gail",
    "GAIL",
    "gailbench.algorithms.gail:make",
    "gailbench.algorithms.gail:GailSettings",
    has_entropy_weight=True,
    diagnostics=("discriminator_loss", "expert_accuracy", "policy_accuracy", "jensen_shannon"),
)
# A control of ours: TRPO on a constant reward.
CONSTANT = Algorithm("constant", "constant", "gailbench.algorithms.constant:make", needs_demonstrations=False)
BUILT_IN = (BC, FEM, GTAL, GAIL, CONSTANT)


@cache
def registry() -> dict[str, Algorithm]:
    """Return all algorithms by name: the built-in ones, then those of installed packages.

    Raises:
        GailbenchError: An entry point does not lead to an `Algorithm`, or its name or heading is taken.
    """
    found = {algorithm.name: algorithm for algorithm in BUILT_IN}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            algorithm = point.load()
        except Exception as error:  # importing another package can raise anything
            raise GailbenchError(f"algorithm '{point.name}' ({point.value}) fails: {first_line(error)}") from error
        if not isinstance(algorithm, Algorithm):
            raise GailbenchError(f"algorithm '{point.name}' ({point.value}) is not a gailbench.algorithms.Algorithm")
        for kind, word in (("name", algorithm.name), ("heading", algorithm.heading)):
            if is_taken(word, found.values()):
                raise GailbenchError(
                    f"algorithm '{algorithm.name}' ({point.value}) has a {kind} that is taken by another algorithm: "
                    f"'{word}'; change it in its package"
                )
        found[algorithm.name] = algorithm
    return found


def is_taken(word: str, algorithms: Iterable[Algorithm]) -> bool:
    """Return whether a word is a name or heading of one of the algorithms, in any case. On a task with several entropy
    weights a heading also has its lambda, such as "GAIL λ = 0.01"."""
    taken = {own.casefold() for algorithm in algorithms for own in (algorithm.name, algorithm.heading)}
    return word.casefold().partition(" λ = ")[0].strip() in taken


def get_algorithm(name: str) -> Algorithm:
    """Return the algorithm with a name.

    Raises:
        GailbenchError: There is no such algorithm. The message names the nearest one.
    """
    known = registry()
    if name not in known:
        raise GailbenchError(f"unknown algorithm '{name}'{nearest(name, list(known))}")
    return known[name]
