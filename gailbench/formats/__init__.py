"""Reading demonstrations of other programs, and writing ours in their formats. See docs/formats.md.

`read` recognizes a file by its content, never by its name, and never loads a pickle. Optional packages are imported
when a file that needs them is read or written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gailbench.demonstrations import Demonstrations
from gailbench.formats import baselines, imitation_folder, imitation_npz, minari, minari_export, own, paper, stable
from gailbench.formats.checks import build
from gailbench.formats.description import describe
from gailbench.formats.facts import Facts, Imported, facts_of
from gailbench.formats.raw import Raw
from gailbench.formats.recognition import locate, recognize
from gailbench.plumbing.errors import GailbenchError, nearest

__all__ = ["EXPORTS", "FORMATS", "Facts", "Imported", "describe", "export", "facts_of", "read", "recognize"]

FORMATS: dict[str, Callable[[Path, Facts], Raw]] = {
    "npz": own.read,
    "minari": minari.read,
    "hdf5": paper.read,
    "baselines-npz": baselines.read,
    "stable-baselines-npz": stable.read,
    "imitation-npz": imitation_npz.read,
    "imitation-folder": imitation_folder.read,
}
EXPORTS = ("npz", "minari", "hdf5")


def read(path_or_id: Path | str, facts: Facts) -> Imported:
    """Read demonstrations of any known format and check them against the task.

    Args:
        path_or_id: A file, a folder, or the id of a local Minari dataset.
        facts: Facts about the task, for example from `facts_of`.

    Raises:
        GailbenchError: The file has no known format, cannot be read, needs a missing package, or does not fit the task.
    """
    format = recognize(path_or_id)
    if facts.first_action and format != "npz":
        raise GailbenchError(
            f"the actions of '{facts.task}' begin at {facts.first_action}, and it is not known how {path_or_id} counts "
            "them; save an .npz file of observations, actions counted from 0, and lengths"
        )
    return build(FORMATS[format](locate(path_or_id), facts), facts, format)


def export(demonstrations: Demonstrations, path_or_id: Path | str, format: str) -> Path:
    """Write demonstrations for other programs, completely or not at all. Return the file or folder.

    Args:
        demonstrations: K trajectories.
        path_or_id: The file. For Minari an id such as gail/hopper-v0, or a folder's path that begins with "/", "./" or
            "../".
        format: One of `EXPORTS`.

    Raises:
        GailbenchError: There is no such format, a package is missing, or the file cannot be written.
    """
    if format not in EXPORTS:
        raise GailbenchError(f"unknown format '{format}' to export to{nearest(format, EXPORTS)}")
    if format == "minari":
        return minari_export.write(demonstrations, str(path_or_id))
    write = paper.write if format == "hdf5" else Demonstrations.write
    write(demonstrations, Path(path_or_id))
    return Path(path_or_id)
