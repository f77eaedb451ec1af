"""States: what an object's future depends on, as named arrays that can be written to a file.

A state owns its arrays: it does not change when the object goes on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[Any]]


def join(parts: dict[str, State]) -> State:
    """Return one state out of several, each under its own name."""
    return {f"{name}.{key}": np.array(value) for name, state in parts.items() for key, value in state.items()}


def part(state: State, name: str) -> State:
    """Return the state that `join` put under that name; empty if there is none."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
