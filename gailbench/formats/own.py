"""Our own .npz files, including incomplete ones from other programs. docs/formats.md describes the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gailbench.demonstrations import FORMATS
from gailbench.formats.ends import check_flags, flags, last_flags, split_at_ends
from gailbench.formats.facts import Facts
from gailbench.formats.raw import Raw, checked_lengths, count
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.npz import Archive, open_archive
from gailbench.tasks import TASKS

# Arrays that mark ends, with their meaning.
_ENDS = {
    "terminated": "terminated",
    "terminals": "terminated",
    "truncated": "truncated",
    "timeouts": "truncated",
    "dones": "done",
}
# Arrays that no file of Stable-Baselines has.
MARKS = {"lengths", *_ENDS}


def read(path: Path, facts: Facts) -> Raw:
    """Read a file with at least observations, actions, and lengths or ends.

    Raises:
        GailbenchError: The file cannot be read, or is of another task.
    """
    with open_archive(path) as archive:
        _check_scalars(archive, facts)
        observations, actions = archive.read("observations"), archive.read("actions")
        marks = {name: flags(path, name, archive.read(name)) for name in _ENDS if name in archive.names}
        remarks: list[str] = []
        if "lengths" in archive.names:
            lengths = checked_lengths(path, "lengths", archive.read("lengths"), count(observations))
        else:
            done = _done(path, marks, count(observations), remarks)
            lengths = split_at_ends(done)
            marks["dones"] = done
        ends: dict[str, Any] = {}
        for name, values in marks.items():
            if len(values) == count(observations) and len(lengths) != count(observations):
                values = last_flags(path, name, values, lengths)
            check_flags(path, name, values, lengths)
            ends[_ENDS[name]] = values | ends.get(_ENDS[name], False)
        return Raw(
            path=path,
            observations=observations,
            actions=actions,
            lengths=lengths,
            rewards=archive.get("rewards"),
            final_observations=archive.get("final_observations"),
            offsets=archive.get("offsets"),
            expert_sha256=_text(archive, "expert_sha256"),
            seed=_integer(archive, "seed", -1),
            remarks=tuple(remarks),
            **ends,
        )


def _done(path: Path, marks: dict[str, NDArray[np.bool_]], pairs: int, remarks: list[str]) -> NDArray[np.bool_]:
    """Return which pairs (M,) are marked as the last of their trajectory by any array."""
    if not marks:
        raise GailbenchError(
            f"{path} lacks lengths, and no array marks ends either; save the trajectories' lengths as integers"
        )
    for name, values in marks.items():
        if len(values) != pairs:
            raise GailbenchError(
                f"{path}: {name} has shape {values.shape}, expected ({pairs},), since there are no lengths; "
                "save one flag per pair, or add lengths"
            )
    done = np.logical_or.reduce(list(marks.values()))
    if pairs and not done[-1]:
        remarks.append("the last trajectory has no end in the file; it may be cut off")
    return done


def _check_scalars(archive: Archive, facts: Facts) -> None:
    path = archive.path
    if (version := _integer(archive, "format", FORMATS[-1])) not in FORMATS:
        raise GailbenchError(
            f"{path} has demonstrations format {version}; this version reads {FORMATS[-1]}, use the one that wrote it"
        )
    if (task := _text(archive, "task") or facts.task) != facts.task:
        remedy = f"give --task {task}" if task in TASKS else "give the id or the .toml file of that task with --task"
        raise GailbenchError(f"{path} holds demonstrations of task '{task}', not '{facts.task}'; {remedy}")
    if (actions := _integer(archive, "num_actions", facts.action_dim)) != facts.action_dim:
        raise GailbenchError(
            f"{path}: num_actions is {actions}, expected {facts.action_dim} for task '{facts.task}'; "
            "check that the file is of this task"
        )


def _text(archive: Archive, name: str) -> str:
    return str(_single(archive, name, "U", "text")) if name in archive.names else ""


def _integer(archive: Archive, name: str, default: int) -> int:
    return int(_single(archive, name, "iu", "integer")) if name in archive.names else default


def _single(archive: Archive, name: str, kinds: str, expected: str) -> Any:
    """Return the only value of an array."""
    values = archive.read(name, "fiubU")
    if values.size != 1 or values.dtype.kind not in kinds:
        raise GailbenchError(
            f"{archive.path}: {name} is an array of {values.dtype} of shape {values.shape}, expected one {expected}; "
            "save it as such or leave it out"
        )
    return values.item()
