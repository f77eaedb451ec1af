"""States: everything that an object's future depends on, as named arrays that can be written to a file.

The arrays of a state are copies, so a state does not change when its object changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[Any]]


def join(parts: dict[str, State]) -> State:
    """Join several states into one. The names of their arrays get the names of the states as prefixes."""
    return {f"{name}.{key}": np.array(value) for name, state in parts.items() for key, value in state.items()}


def part(state: State, name: str) -> State:
    """Return the state that `join` was given under this name; empty if there is none."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
