"""Values of settings: read from text, and checked against the types of their fields."""

from __future__ import annotations

import ast
import contextlib
import types
import typing
from collections.abc import Callable
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
CountOrZero = Annotated[int, Range(0, 2**63 - 1)]  # files of runs store 64 bits


def from_text(text: str) -> Any:
    """Return the value of a text: a Python literal, true, false, or the text itself. No code is evaluated."""
    if text in ("true", "false"):  # as in TOML files and messages
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def typed_text(name: str, kind: Any, text: str) -> Any:
    """Return the value of a text in a field's type. For a tuple, words are separated by commas: "64,64", "a,b". A type
    of words takes any text as it is, except a quoted one: "12", "true".

    Raises:
        GailbenchError: As in `typed`.
    """
    value = from_text(text)
    literal = not isinstance(value, str)
    if literal:
        with contextlib.suppress(GailbenchError):
            return typed(name, kind, value)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return typed(name, kind, typed_text(name, arguments[0], text))
    if origin in (typing.Union, types.UnionType):
        return _in_union(name, kind, lambda one: typed_text(name, one, text), value)
    if origin is tuple and not text.startswith(("(", "[")):
        words = text.split(",")
        kinds = _item_kinds(arguments, len(words))
        if len(words) == len(kinds):
            return tuple(typed_text(name, one, word.strip()) for one, word in zip(kinds, words, strict=True))
    return typed(name, kind, text if literal and (kind is str or origin is typing.Literal) else value)


def typed(name: str, kind: Any, value: Any) -> Any:
    """Return a value in a field's type: a number, a word, true or false, a tuple or a union of these. Integers are
    converted to floats, and lists to tuples; nothing else is converted.

    Raises:
        GailbenchError: The value has another type, is not finite, or is outside the type's range. Or the field has a
            type that is none of these.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        value = typed(name, arguments[0], value)
        if not all(value in limits for limits in _ranges(kind)):
            raise _refusal(name, kind, value)
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _in_union(name, kind, lambda one: typed(name, one, value), value)
    if origin is typing.Literal:
        if value not in arguments:
            raise _refusal(name, kind, value)
        return value
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else (value,)
        kinds = _item_kinds(arguments, len(items))
        if len(items) != len(kinds):
            raise _refusal(name, kind, value)
        return tuple(typed(name, one, item) for one, item in zip(kinds, items, strict=True))
    if kind not in _SIMPLE:
        raise GailbenchError(
            f"{name} cannot be set: its type is {_words(kind)}; it must be a number, a word, true or false, "
            "or a tuple of these"
        )
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else float("inf")
    finite = not isinstance(value, float) or abs(value) < float("inf")
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or not finite:
        raise _refusal(name, kind, value)
    return value


def _alternatives(arguments: tuple[Any, ...]) -> list[Any]:
    """Return the types of a union, from the arguments of its type, but not None's."""
    return [one for one in arguments if one is not type(None)]


def _in_union(name: str, kind: Any, read: Callable[[Any], Any], value: Any) -> Any:
    """Return what `read` returns for the first type of a union that it does not refuse. `value` is for the message."""
    kinds = _alternatives(typing.get_args(kind))
    if len(kinds) == 1:
        return read(kinds[0])
    for one in kinds:
        with contextlib.suppress(GailbenchError):
            return read(one)
    raise _refusal(name, kind, value)


def _item_kinds(arguments: tuple[Any, ...], length: int) -> list[Any]:
    """Return the types of a tuple's items, from the arguments of its type and its length."""
    return [arguments[0]] * length if arguments[1:] == (...,) else list(arguments)


_SIMPLE: dict[Any, str] = {int: "an integer", float: "a finite number", bool: "true or false", str: "a word"}


def _refusal(name: str, kind: Any, value: Any) -> GailbenchError:
    return GailbenchError(f"{name} is {value!r}; it must be {_words(kind)}")


def _words(kind: Any) -> str:
    """Return what a value of a type must be, for messages."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return " and ".join(map(str, _ranges(kind))) or _words(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_words, _alternatives(arguments)))
    if origin is typing.Literal:
        return " or ".join(map(str, arguments))
    if origin is tuple and arguments[1:] != (...,):
        return f"{len(arguments)} values: {', '.join(map(_words, arguments))}"
    return _SIMPLE[kind] if kind in _SIMPLE else str(getattr(kind, "__name__", kind))


def _ranges(kind: Any) -> list[Range]:
    """Return the ranges in the metadata of a type. A package's field may have other metadata too."""
    return [limits for limits in typing.get_args(kind)[1:] if isinstance(limits, Range)]
