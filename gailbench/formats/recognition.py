"""Recognizing the format of a file or folder by its content. Errors say what an unknown file is."""

from __future__ import annotations

from pathlib import Path

from gailbench.formats import imitation_folder, minari, own, paper, stable
from gailbench.formats.hdf5 import SIGNATURE, open_hdf5
from gailbench.plumbing.bounds import readable
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.files import Unreadable, check_regular
from gailbench.plumbing.npz import open_archive, what_it_is

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_WANTED = "give a file or folder of a known format (docs/formats.md)"


def locate(path_or_id: Path | str) -> Path:
    """Return the path of a file, a folder, or a local Minari dataset given by its id.

    Raises:
        Unreadable: There is no permission to look for the file.
        GailbenchError: There is neither a file nor a folder nor a dataset.
    """
    path, text = Path(path_or_id), str(path_or_id)
    try:
        if path.exists():
            return path
    except PermissionError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
    except (OSError, ValueError):  # names that no file can have
        pass
    if minari.is_id(text):
        try:
            folder = minari.root() / text
        except GailbenchError as homeless:
            raise GailbenchError(f"there is no file or folder {text}, and {homeless}") from None
        if folder.is_dir():
            return folder
        raise GailbenchError(
            f"there is no file or folder {text}, and no Minari dataset of that id in {minari.root()}; "
            f"'minari download {text}' fetches a public one (with pip install 'minari[hf]')"
        )
    raise GailbenchError(f"there is no file or folder {text!r}; {_WANTED}, or the id of a local Minari dataset")


def recognize(path_or_id: Path | str) -> str:
    """Return the name of the format, a key of `gailbench.formats.FORMATS`.

    Raises:
        GailbenchError: The format is unknown. The message says what the file is.
    """
    path = locate(path_or_id)
    if path.is_dir():
        return _folder(path)
    check_regular(path)
    with readable(path, "a file"), path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(_ZIP):
        return _zip(path)
    if start.startswith(SIGNATURE):
        return _hdf5(path)
    if foreign := what_it_is(start):
        raise GailbenchError(f"{path} is {foreign}")
    if not start:
        raise GailbenchError(f"{path} is empty; fetch it again")
    raise GailbenchError(f"{path} is of an unknown kind, it begins with {start[:16]!r}; {_WANTED}")


def _folder(path: Path) -> str:
    if minari.data_folder(path) is not None:
        return "minari"
    if (path / imitation_folder.STATE).is_file():
        return "imitation-folder"
    if (path / "dataset_dict.json").is_file():
        raise GailbenchError(f"{path} holds several splits of a Hugging Face dataset; give the folder of one of them")
    if (path / minari.MAIN_FILE).is_file() or (path / "namespace_metadata.json").is_file():
        raise GailbenchError(
            f"{path} is a folder of Minari, but not a complete dataset: it lacks {minari.METADATA}; give a dataset"
        )
    raise GailbenchError(
        f"{path} is a folder of neither Minari (data/{minari.METADATA}) nor Hugging Face's datasets "
        f"({imitation_folder.STATE}); {_WANTED}"
    )


def _zip(path: Path) -> str:
    with open_archive(path) as archive:
        names, files = archive.names, archive.files
    if any(name.endswith("data.pkl") for name in files):
        raise GailbenchError(f"{path} is a file of PyTorch, whose pickle is never loaded; save arrays with np.savez")
    if not names:
        raise GailbenchError(f"{path} is a zip archive without NumPy arrays, of {len(files)} files; unpack it first")
    if {"observations", "actions"} <= names and ("episode_starts" not in names or names & own.MARKS):
        return "npz"
    if "actions" in names and "episode_starts" in names and names & set(stable.OBSERVATIONS):
        return "stable-baselines-npz"
    if {"obs", "acts", "indices", "terminal"} <= names:
        return "imitation-npz"
    if {"obs", "acs"} <= names:
        return "baselines-npz"
    listed = sorted(names)
    raise GailbenchError(
        f"{path} is an .npz file of the arrays {', '.join(listed[:8])}{', ...' if len(listed) > 8 else ''}, which no "
        "known format has; save observations, actions and lengths"
    )


def _hdf5(path: Path) -> str:
    with open_hdf5(path) as file:
        names = file.names
    if paper.OBSERVATIONS in names:
        return "hdf5"
    if minari.FIRST in names:
        return "minari"
    listed = sorted(names)
    raise GailbenchError(
        f"{path} is an HDF5 file of {', '.join(listed[:8]) or 'nothing'}{', ...' if len(listed) > 8 else ''}, neither "
        f"the paper's layout ({', '.join(paper.NAMES.values())}) nor Minari's ({minari.FIRST}); "
        "save observations, actions and lengths with np.savez"
    )
