"""What another package's algorithm may be wrong in: every fault is one line."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from gailbench.plumbing.errors import GailbenchError, first_line

if TYPE_CHECKING:
    from gailbench.algorithms import Algorithm

LOOP = "loop"  # the names of the loop's settings begin with it, so no algorithm has this name
_NAME = re.compile(r"[A-Za-z0-9_-]+")  # a part of --algorithms, of a folder's name and of the names of its settings
_PLACE = re.compile(r"[\w.]+:\w+")


def check_fields(algorithm: Algorithm, place: str) -> None:
    """Check the fields of an algorithm.

    Args:
        algorithm: The algorithm.
        place: The entry point that leads to it, for messages.

    Raises:
        GailbenchError: A field has a value that it must not have.
    """

    def matches(value: object, pattern: re.Pattern[str]) -> bool:
        return isinstance(value, str) and pattern.fullmatch(value) is not None

    def are_names(values: object) -> bool:
        return isinstance(values, tuple | list) and all(isinstance(value, str) and value for value in values)

    own = algorithm
    wanted = {
        "name": (matches(own.name, _NAME) and own.name != LOOP, f"letters, digits, _ and -, but not '{LOOP}'"),
        "heading": (isinstance(own.heading, str) and bool(own.heading.strip()), "text"),
        "maker": (matches(own.maker, _PLACE), "text such as 'module:function'"),
        "settings": (own.settings is None or matches(own.settings, _PLACE), "text such as 'module:class', or None"),
        "needs_demonstrations": (isinstance(own.needs_demonstrations, bool), "True or False"),
        "has_entropy_weight": (isinstance(own.has_entropy_weight, bool), "True or False"),
        "iteration": (own.iteration in ("batch", "gradient step"), "'batch' or 'gradient step'"),
        "diagnostics": (are_names(own.diagnostics), "a tuple of names, such as ('loss',)"),
    }
    wrong = f"algorithm '{own.name}' ({place})"
    for name, (good, words) in wanted.items():
        if not good:
            raise GailbenchError(f"{wrong}: {name} is {getattr(own, name)!r}; it must be {words}")
    for name in own.diagnostics:
        if own.columns.count(name) > 1:
            raise GailbenchError(f"{wrong}: diagnostics names '{name}', a column that its curve has already; rename it")


def reason(error: BaseException) -> str:
    """Return in one line why another package cannot be imported."""
    return f"it calls sys.exit({error.code!r})" if isinstance(error, SystemExit) else first_line(error)


def check_settings(owner: str, place: str, own: Any) -> None:
    """Check that an algorithm's settings are a dataclass whose fields have defaults and known types.

    Args:
        owner: The algorithm's name.
        place: The "module:class" that it names.
        own: What was found there.

    Raises:
        GailbenchError: They are not.
    """
    wrong = f"the settings of algorithm '{owner}', {place},"
    if not (isinstance(own, type) and is_dataclass(own)):
        raise GailbenchError(f"{wrong} are not a dataclass")
    for field in fields(own):
        if field.init and field.default is MISSING and field.default_factory is MISSING:
            raise GailbenchError(f"{wrong} have a field without a default: {field.name}")
    try:
        get_type_hints(own)
    except Exception as error:  # resolving the annotations of another package can raise anything
        raise GailbenchError(f"{wrong} have a type that is unknown: {first_line(error)}") from error
