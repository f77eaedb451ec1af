"""Random streams: all random generators of a run are derived from its seed here, and can be saved."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray


def stream(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """Return the random generator for a purpose. Generators with different purposes or indices are independent."""
    return np.random.default_rng([seed, index, *purpose.encode()])


def pack(generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return a generator's state as bytes (JSON in UTF-8)."""
    return np.frombuffer(json.dumps(generator.bit_generator.state).encode(), dtype=np.uint8)


def unpack(generator: np.random.Generator, state: NDArray[np.generic]) -> None:
    """Set a generator's state to a value of `pack`."""
    generator.bit_generator.state = json.loads(np.asarray(state, dtype=np.uint8).tobytes())
