"""The registry of algorithms: what each is called, what it needs, and how its learner is made.

The built-in ones and those of other packages come through the same door: an entry point of the group
`gailbench.algorithms` names an `Algorithm`. Nothing here imports PyTorch before a learner is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

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
        name: On the command line, in folders and in tables.
        heading: In figures and at the top of a column.
        maker: "module:function" that makes its learner: `Assignment` -> `Learner`. Imported when it is needed.
        settings: "module:class" of its own settings, a frozen dataclass whose defaults are the paper's; None without.
        needs_demonstrations: False for a control that learns nothing from an expert.
        has_entropy_weight: Whether lambda, the weight of the policy's entropy, is varied for it.
        iteration: What one iteration is: a "batch" of environment steps, or a "gradient step" on demonstrations.
        diagnostics: Columns of its learning curve beyond those of every algorithm of its kind of iteration.
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
        """The task's budget: iterations, or gradient steps."""
        return task.iterations if self.takes_environment_steps else task.bc_steps

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of its learning curve."""
        core = LOOP_COLUMNS if self.takes_environment_steps else GRADIENT_COLUMNS
        return (*core, *self.diagnostics)

    def settings_class(self) -> type[Any] | None:
        """The dataclass of its own settings."""
        return None if self.settings is None else cast("type[Any]", _imported(self.settings))

    def make(self, assignment: Assignment) -> Learner:
        """Make its learner, before the first iteration."""
        maker = cast("Callable[[Assignment], Learner]", _imported(self.maker))
        return maker(assignment)


# What every learning curve says of a batch of environment steps, and of gradient steps.
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
        demonstrations: Whole trajectories; None for an algorithm without.
        pairs: What the size and the subsampling leave of them.
        rows: Which pairs of the demonstrations these are, so that `demonstrations.next_observations[rows]` is what they
            led to.
        iterations: How many there will be.
        seed: Of all randomness; `stream` derives a generator for each use.
        loop: Settings of the loop shared by all that learn from a reward.
        settings: The algorithm's own; None where it has none.
        results: The results folder, where `gailbench.experts.load_demonstrator` finds the experts of own tasks.
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
        """A generator for one use, such as "reward"."""
        from gailbench.plumbing.streams import stream

        return stream(self.seed, name)

    @property
    def expert(self) -> Pairs:
        """The demonstrated pairs of an algorithm that needs them."""
        if self.pairs is None:
            raise GailbenchError("this algorithm learns from demonstrations, and was given none")
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
        GailbenchError: An entry point does not lead to an `Algorithm`, or its name is taken.
    """
    found = {algorithm.name: algorithm for algorithm in BUILT_IN}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            algorithm = point.load()
        except Exception as error:  # whatever another package does when it is imported
            raise GailbenchError(f"algorithm '{point.name}' ({point.value}) fails: {first_line(error)}") from error
        if not isinstance(algorithm, Algorithm):
            raise GailbenchError(f"algorithm '{point.name}' ({point.value}) is no gailbench.algorithms.Algorithm")
        if algorithm.name in found:
            raise GailbenchError(f"algorithm '{algorithm.name}' ({point.value}) has the name of another one")
        found[algorithm.name] = algorithm
    return found


def get_algorithm(name: str) -> Algorithm:
    """Return the algorithm of that name.

    Raises:
        GailbenchError: No such algorithm; the message names the nearest one.
    """
    known = registry()
    if name not in known:
        raise GailbenchError(f"unknown algorithm '{name}'{nearest(name, list(known))}")
    return known[name]


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
