"""Reading .npz files of unknown origin. Pickles are not loaded, and an array is allocated only after its size is
checked."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gailbench.plumbing.bounds import Budget, readable
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.files import check_regular

# Files that users may give instead of .npz files: their first bytes, what they are, and what to do.
_FOREIGN = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file; 'gailbench demos import' reads the paper's layout and Minari's"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; run 'git lfs pull' where it was cloned"),
    (b"\x93NUMPY", "a single NumPy array; save observations, actions and lengths together with np.savez"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"ARROW1", "an Arrow file; give the folder with its state.json to 'gailbench demos import'"),
    (b"\xff\xff\xff\xff", "perhaps an Arrow file; give the folder with its state.json to 'gailbench demos import'"),
    (b"PAR1", "a Parquet file, which is not read; save it with datasets.Dataset.save_to_disk and give the folder"),
    (b"<", "a web page or XML, perhaps in place of a download; fetch the file itself"),
    *(
        (
            bytes((0x80, protocol)),
            "a pickle, which is never loaded since it can run any program; if you trust its source, load it yourself "
            "and save observations, actions, rewards and lengths with np.savez",
        )
        for protocol in range(2, 6)
    ),
)


def what_it_is(start: bytes) -> str | None:
    """Return what a file is by its first bytes, and what to do. Return None if it is unknown or may be an .npz file."""
    for signature, meaning in _FOREIGN:
        if start.startswith(signature):
            return meaning
    if start and start.isascii() and b"\0" not in start:
        return (
            f"text, it begins with {start[:16]!r}; save observations, actions and lengths as arrays with np.savez "
            "(docs/formats.md)"
        )
    return None


_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Archive:
    """An open .npz file.

    Attributes:
        path: The file.
        names: The arrays' names.
        files: The names of all files within.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        self._members = {
            info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")
        }
        self.names = frozenset(self._members)
        self.files = tuple(archive.namelist())
        self._budget = Budget(path)

    def read(self, name: str, kinds: str = "fiub") -> NDArray[Any]:
        """Return an array, in the dtype and byte order of the file.

        Args:
            name: One of `names`.
            kinds: The expected kinds of dtype.

        Raises:
            GailbenchError: The array is damaged, of another kind, of pickled objects, or too large.
        """
        member = self._members[name]
        with readable(self.path, f"an .npz file, at its array {name},"):
            with self._archive.open(member) as stream:
                version = npy.read_magic(stream)
                if version not in _HEADERS:
                    raise ValueError(f"array format {version} is not that of plain arrays")
                shape, _, dtype = _HEADERS[version](stream)
                header = stream.tell()
            if dtype.hasobject:
                raise GailbenchError(_objects(self.path, name, shape))
            if dtype.kind not in kinds:
                raise GailbenchError(
                    f"{self.path}: {name} is an array of {dtype} of shape {shape}, expected "
                    f"{'text' if kinds == 'U' else 'numbers'}; save it as such"
                )
            size = self._budget.take(name, shape, dtype.itemsize, member.compress_size)
            if header + size != member.file_size:
                raise ValueError(f"shape {shape} needs {size:,} bytes, but there are {member.file_size - header:,}")
            with self._archive.open(member) as stream:
                values = npy.read_array(stream, allow_pickle=False)  # reads to the end, where the checksum is compared
        return np.asarray(values)

    def get(self, name: str) -> NDArray[Any] | None:
        """Return an array of numbers, or None if the file lacks it."""
        return self.read(name) if name in self.names else None


def _objects(path: Path, name: str, shape: tuple[int, ...]) -> str:
    return (
        f"{path}: {name} of shape {shape} holds pickled Python objects, which are never loaded since a pickle can run "
        "any program; if you trust its source, load it yourself and save plain arrays observations, actions, rewards "
        "and lengths with np.savez, all trajectories one after the other"
    )


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an .npz file.

    Raises:
        GailbenchError: The file is not a regular file or not a zip archive.
    """
    check_regular(path)
    with readable(path, "a file"), path.open("rb") as start:
        beginning = start.read(64)
    if foreign := what_it_is(beginning):
        raise GailbenchError(f"{path} is {foreign}")
    with contextlib.ExitStack() as stack:
        with readable(path, "an .npz file"):
            archive = Archive(path, stack.enter_context(zipfile.ZipFile(path)))
        yield archive
