"""Reading HDF5 files of unknown origin with h5py: no links to other files, and sizes are checked before allocation."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gailbench.plumbing.bounds import Budget, readable
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.extras import load_extra
from gailbench.plumbing.files import check_regular

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_CHUNKS = 100_000  # HDF5 takes about 3 kB of memory per chunk of an array that is read


class Hdf5:
    """An open HDF5 file.

    Attributes:
        path: The file.
        names: The names at its root.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self._file = file
        self.names = frozenset(file.keys())
        self._budget = Budget(path)

    def has(self, name: str) -> bool:
        """Return whether the file has an entry with this name. Parts of names are separated by "/"."""
        with readable(self.path, "an HDF5 file"):
            return name in self._file

    def read(self, name: str) -> NDArray[Any]:
        """Return an array of numbers.

        Raises:
            GailbenchError: The array is missing, not of numbers, stored outside the file, or too large.
        """
        import h5py

        with readable(self.path, f"an HDF5 file, at {name},"):
            node = self._file
            for part in name.split("/"):
                link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
                if link is None:
                    raise GailbenchError(f"{self.path} lacks {name}; save it, or check that this is the right file")
                if not isinstance(link, h5py.HardLink):
                    raise GailbenchError(
                        f"{self.path}: {name} is a link to elsewhere; store the array itself (h5repack)"
                    )
                node = node[part]
            if not isinstance(node, h5py.Dataset):
                raise GailbenchError(
                    f"{self.path}: {name} is a group of {', '.join(list(node)[:4])}, expected one array of numbers; "
                    "flatten it, as the environment's observations are"
                )
            if node.is_virtual or node.external:
                raise GailbenchError(f"{self.path}: {name} is stored in other files; store the array itself (h5repack)")
            if node.shape is None or node.dtype.kind not in "fiub":
                raise GailbenchError(f"{self.path}: {name} is an array of {node.dtype}, expected numbers; save floats")
            self._budget.take(name, node.shape, node.dtype.itemsize, node.id.get_storage_size())
            chunks = math.prod(-(-size // chunk) for size, chunk in zip(node.shape, node.chunks or (), strict=False))
            if chunks > _MOST_CHUNKS:
                raise GailbenchError(
                    f"{self.path}: {name} of shape {node.shape} is stored in {chunks:,} chunks of {node.chunks}, "
                    f"expected at most {_MOST_CHUNKS:,}; store it in larger ones (h5repack)"
                )
            return np.asarray(node[()])

    def get(self, name: str) -> NDArray[Any] | None:
        """Return an array of numbers, or None if the file lacks it."""
        return self.read(name) if self.has(name) else None


@contextlib.contextmanager
def open_hdf5(path: Path, extra: str = "hdf5") -> Iterator[Hdf5]:
    """Open an HDF5 file.

    Args:
        path: The file.
        extra: The extra that the message names if h5py is missing.

    Raises:
        GailbenchError: The file is not a regular HDF5 file, or h5py is missing.
    """
    check_regular(path)
    h5py = load_extra("h5py", extra, f"reading the HDF5 file {path}")
    with contextlib.ExitStack() as stack:
        with readable(path, "an HDF5 file"):
            file = Hdf5(path, stack.enter_context(h5py.File(path, "r")))
        yield file
