"""Settings by name: "gail.learning_rate", "loop.gamma", "loop.policy_region.limit", typed by their field.

The names are those of the frozen dataclasses that hold them, so that there is no second list. `loop` is shared by all
that learn from a reward; an algorithm's own stand under its name.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from gailbench.algorithms import Algorithm
from gailbench.plumbing.errors import GailbenchError, nearest
from gailbench.plumbing.files import read_toml
from gailbench.plumbing.typed import from_text, typed

LOOP = "loop"
# Settings of the loop that have an option, and a name in the settings of a run's folder, of their own.
_OPTIONS = {"loop.batch": "--batch", "loop.entropy_weight": "--entropy-weight"}


def read_settings(path: Path) -> tuple[tuple[str, Any], ...]:
    """Return the settings of a TOML file as (name, value): tables give the names, [gail] learning_rate = 0.003.

    Raises:
        GailbenchError: It cannot be read.
    """

    def flat(table: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
        pairs: list[tuple[str, Any]] = []
        for name, value in table.items():
            full = f"{prefix}{name}"
            pairs += flat(value, f"{full}.") if isinstance(value, dict) else [(full, value)]
        return pairs

    return tuple(flat(read_toml(path, "settings"), ""))


def describe(algorithm: Algorithm) -> dict[str, Any]:
    """Return every setting of an algorithm that can be set, by name, with its default."""
    return dict(_walk(_classes(algorithm)))


def parse(algorithm: Algorithm, name: str, text: str) -> Any:
    """Return the value of a setting that was given as text.

    Raises:
        GailbenchError: No such setting, with the nearest one, or a value of another type.
    """
    return typed(name, _kind(algorithm, name), from_text(text))


def check(algorithm: Algorithm, name: str, value: Any) -> Any:
    """Return the value of a setting that came from a file, in its field's type.

    Raises:
        GailbenchError: No such setting, with the nearest one, or a value of another type.
    """
    return typed(name, _kind(algorithm, name), value)


def apply(settings: Any, prefix: str, changes: Mapping[str, Any]) -> Any:
    """Return a dataclass of settings with the changes of that prefix made."""
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        if first == prefix:
            settings = _replaced(settings, rest.split("."), value)
    return settings


def belongs(algorithm: Algorithm, name: str) -> bool:
    """Whether a setting is one of this algorithm's: others are for the other algorithms of a grid."""
    return name.partition(".")[0] in _classes(algorithm)


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
            if name in _OPTIONS:
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
        kind = typing.get_type_hints(kind)[part]
    return kind
