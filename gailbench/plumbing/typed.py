"""Values of settings: read from text, and checked against the types of their fields."""

from __future__ import annotations

import ast
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any

from gailbench.plumbing.errors import GailbenchError


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may have, as metadata of its type.

    Attributes:
        least: The least one.
        most: The largest one.
        inclusive: Whether `least` itself is one of them.
    """

    least: float
    most: float = float("inf")
    inclusive: bool = True

    def __contains__(self, value: float) -> bool:
        return (self.least <= value if self.inclusive else self.least < value) and value <= self.most

    def __str__(self) -> str:
        lower = f"at least {self.least:g}" if self.inclusive else f"above {self.least:g}"
        return lower if self.most == float("inf") else f"{lower} and at most {self.most:g}"


Positive = Annotated[float, Range(0, inclusive=False)]
NotNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
PositiveShare = Annotated[float, Range(0, 1, inclusive=False)]
Count = Annotated[int, Range(1, 2**31 - 1)]
CountOrZero = Annotated[int, Range(0)]


def from_text(text: str) -> Any:
    """Return the value of a text that is a Python literal, or the text itself. No code is evaluated."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def typed(name: str, kind: Any, value: Any) -> Any:
    """Return a value in a field's type. Integers are converted to floats, and lists to tuples; nothing else is
    converted.

    Raises:
        GailbenchError: The value has another type, is not finite, or is outside the type's range.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        value = typed(name, arguments[0], value)
        if value not in arguments[1]:
            raise GailbenchError(f"{name} is {value!r}; it must be {arguments[1]}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (kind,) = (one for one in arguments if one is not type(None))
        return typed(name, kind, value)
    if origin is typing.Literal:
        if value not in arguments:
            raise GailbenchError(f"{name} is {value!r}; it must be {' or '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else (value,)
        return tuple(typed(name, arguments[0], item) for item in items)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else float("inf")
    wanted = kind if isinstance(kind, type) else object
    finite = not isinstance(value, float) or abs(value) < float("inf")
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool) or not finite:
        raise GailbenchError(f"{name} is {value!r}; it must be {_article(wanted)}")
    return value


def _article(kind: type[Any]) -> str:
    names = {int: "an integer", float: "a finite number", bool: "true or false", str: "a word"}
    return names.get(kind, kind.__name__)
