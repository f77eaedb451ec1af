"""Settings by name: "gail.learning_rate", "loop.gamma", "loop.policy_region.limit".

Names and types are those of the fields of the dataclasses that hold the settings, so there is no second list. Names
with `loop` are settings of the loop that is shared by all algorithms that learn from a reward. An algorithm's own
settings begin with its name.
"""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from gailbench.algorithms import Algorithm
from gailbench.algorithms.packages import LOOP as LOOP
from gailbench.plumbing.errors import GailbenchError, nearest
from gailbench.plumbing.files import read_toml
from gailbench.plumbing.typed import typed, typed_text
from gailbench.tasks import Task

# Settings of the loop that have their own command-line option and their own name in a run folder's settings.
_OPTIONS = {"loop.batch": "--batch", "loop.entropy_weight": "--entropy-weight"}


def read_settings(path: Path) -> tuple[tuple[str, Any], ...]:
    """Return the settings of a TOML file as (name, value). `learning_rate` in the table [gail] is "gail.learning_rate".

    Raises:
        GailbenchError: The file cannot be read.
    """

    def flat(table: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
        pairs: list[tuple[str, Any]] = []
        for name, value in table.items():
            full = f"{prefix}{name}"
            pairs += flat(value, f"{full}.") if isinstance(value, dict) else [(full, value)]
        return pairs

    return tuple(flat(read_toml(path, "settings"), ""))


def describe(algorithm: Algorithm) -> dict[str, Any]:
    """Return the defaults of all settings of an algorithm, by name."""
    return dict(_walk(_classes(algorithm)))


def parse(algorithm: Algorithm, name: str, text: str) -> Any:
    """Return the value of a setting that was given as text.

    Raises:
        GailbenchError: There is no such setting (the message names the nearest), or the value has a wrong type.
    """
    return typed_text(name, _kind(algorithm, name), text)


def check(algorithm: Algorithm, name: str, value: Any) -> Any:
    """Return the value of a setting from a file, in its field's type.

    Raises:
        GailbenchError: There is no such setting (the message names the nearest), or the value has a wrong type.
    """
    return typed(name, _kind(algorithm, name), value)


def of_task(algorithm: Algorithm, task: Task) -> dict[str, Any]:
    """Return those settings of a task that belong to this algorithm, each in its field's type.

    Raises:
        GailbenchError: There is no such setting, or a value has a wrong type.
    """
    return {name: check(algorithm, name, value) for name, value in task.settings if belongs(algorithm, name)}


def own_settings(algorithm: Algorithm, task: Task, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all of an algorithm's own settings in a run, by name.

    Args:
        algorithm: The algorithm.
        task: The task; it may have settings for the algorithm.
        changes: The run's other settings that differ from the defaults.

    Raises:
        GailbenchError: The algorithm's settings cannot be imported, or the task has a wrong one.
    """
    own = algorithm.settings_class()
    given = {**of_task(algorithm, task), **changes}
    return {name: given.get(name, value) for name, value in _walk({} if own is None else {algorithm.name: own})}


def apply(settings: Any, prefix: str, changes: Mapping[str, Any]) -> Any:
    """Return a dataclass of settings with those changes whose names begin with the prefix."""
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        if first == prefix:
            settings = _replaced(settings, rest.split("."), value)
    return settings


def belongs(algorithm: Algorithm, name: str) -> bool:
    """Return whether a setting belongs to this algorithm. It may belong to another algorithm of the same command."""
    return name.partition(".")[0] in _classes(algorithm)


def check_owners(given: Iterable[tuple[str, Any]], algorithms: Collection[Algorithm]) -> None:
    """Check that each setting belongs to at least one of the algorithms.

    Raises:
        GailbenchError: A setting belongs to none of them.
    """
    for name, _ in given:
        if not any(belongs(algorithm, name) for algorithm in algorithms):
            known = [known for algorithm in algorithms for known in describe(algorithm)]
            names = ", ".join(algorithm.name for algorithm in algorithms)
            raise GailbenchError(f"unknown setting '{name}' of {names}{nearest(name, known)}")


def _replaced(settings: Any, path: list[str], value: Any) -> Any:
    if len(path) > 1:
        value = _replaced(getattr(settings, path[0]), path[1:], value)
    return replace(settings, **{path[0]: value})


def _classes(algorithm: Algorithm) -> dict[str, type[Any]]:
    classes = {}
    if algorithm.takes_environment_steps:
        from gailbench.algorithms.loop import LoopSettings

        classes[LOOP] = LoopSettings
    if (own := algorithm.settings_class()) is not None:
        classes[algorithm.name] = own
    return classes


def _walk(classes: Mapping[str, type[Any]]) -> Iterator[tuple[str, Any]]:
    for prefix, owner in classes.items():
        kinds = typing.get_type_hints(owner)
        for field in fields(owner):
            name, kind = f"{prefix}.{field.name}", kinds[field.name]
            if name in _OPTIONS or not field.init:  # a field with init=False follows from the others
                continue
            if is_dataclass(kind):
                yield from _walk({name: typing.cast("type[Any]", kind)})
            elif field.default is not MISSING:
                yield name, field.default
            elif field.default_factory is not MISSING:
                yield name, field.default_factory()


def _kind(algorithm: Algorithm, name: str) -> Any:
    known = describe(algorithm)
    if name in _OPTIONS:
        raise GailbenchError(f"'{name}' is set by {_OPTIONS[name]}")
    if name not in known:
        raise GailbenchError(f"unknown setting '{name}' of {algorithm.name}{nearest(name, list(known))}")
    prefix, *path = name.split(".")
    kind: Any = _classes(algorithm)[prefix]
    for part in path:
        kind = typing.get_type_hints(kind, include_extras=True)[part]
    return kind
