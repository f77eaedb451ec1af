"""The registry of algorithms: their names, what they need, and how their learners are made.

Built-in algorithms and algorithms of other packages are values of the same class, `Algorithm`. Another package adds one
through an entry point of the group `gailbench.algorithms`. PyTorch is only imported when a learner is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, cast

from gailbench.algorithms.assignment import Assignment as Assignment
from gailbench.algorithms.packages import check_fields, check_settings, reason
from gailbench.plumbing.errors import GailbenchError, nearest
from gailbench.tasks import Task

if TYPE_CHECKING:
    from gailbench.training import Learner

ENTRY_POINTS = "gailbench.algorithms"


@dataclass(frozen=True)
class Algorithm:
    """One way to learn a policy.

    Attributes:
        name: Unique name on the command line, in folders and in tables: letters, digits, "_" and "-", but not "loop".
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
    def required_columns(self) -> tuple[str, ...]:
        """Columns that every row of its learning curve must have besides `iteration`."""
        return ("steps", "return_mean") if self.takes_environment_steps else ()

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
        check_settings(self.name, self.settings, own)
        return cast("type[Any]", own)

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
        except (Exception, SystemExit) as error:  # importing another package can raise anything
            if self in BUILT_IN:  # the machine is at a limit, or the installation is broken
                raise
            raise GailbenchError(f"algorithm '{self.name}' fails to import {place}: {reason(error)}") from error


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


BC = Algorithm(
    "bc",
    "BC",
    "gailbench.algorithms.bc:make",
    "gailbench.algorithms.bc:BcSettings",
    iteration="gradient step",
)
FEM = Algorithm("fem", "FEM", "gailbench.algorithms.fem:make", "gailbench.algorithms.features:LinearSettings")
GTAL = Algorithm("gtal", "GTAL", "gailbench.algorithms.gtal:make", "gailbench.algorithms.features:LinearSettings")
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
        GailbenchError: An entry point does not lead to an `Algorithm`, or one of its fields has a wrong value, or its
            name or heading is taken.
    """
    found = {algorithm.name: algorithm for algorithm in BUILT_IN}
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            algorithm = point.load()
        except (Exception, SystemExit) as error:  # importing another package can raise anything
            raise GailbenchError(f"algorithm '{point.name}' ({point.value}) fails: {reason(error)}") from error
        if not isinstance(algorithm, Algorithm):
            raise GailbenchError(f"algorithm '{point.name}' ({point.value}) is not a gailbench.algorithms.Algorithm")
        check_fields(algorithm, point.value)
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
