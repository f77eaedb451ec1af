"""What another package's algorithm may be wrong in: every fault is one line."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

from gailbench.plumbing.errors import GailbenchError, first_line


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
        if field.default is MISSING and field.default_factory is MISSING:
            raise GailbenchError(f"{wrong} have a field without a default: {field.name}")
    try:
        get_type_hints(own)
    except Exception as error:  # resolving the annotations of another package can raise anything
        raise GailbenchError(f"{wrong} have a type that is unknown: {first_line(error)}") from error
