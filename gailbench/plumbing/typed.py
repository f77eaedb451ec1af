"""Values of settings: read from text, and checked against the types of their fields."""

from __future__ import annotations

import ast
import types
import typing
from typing import Any

from gailbench.plumbing.errors import GailbenchError


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
        GailbenchError: The value has another type, or is not finite.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
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
