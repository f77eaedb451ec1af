"""The HDF5 files of the paper's own code (openai/imitation): trajectories padded with zeros."""

from __future__ import annotations

import io
from pathlib import Path

from gailbench.demonstrations import Demonstrations
from gailbench.formats.ends import flags
from gailbench.formats.facts import Facts
from gailbench.formats.hdf5 import open_hdf5
from gailbench.formats.padded import padded, unpadded
from gailbench.formats.raw import Raw, checked_lengths, shape_error
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.extras import load_extra
from gailbench.plumbing.files import write_atomic

OBSERVATIONS = "obs_B_T_Do"
NAMES = {"observations": OBSERVATIONS, "actions": "a_B_T_Da", "rewards": "r_B_T", "lengths": "len_B"}
# Additional arrays that the paper's code ignores. Without them an export would lose information.
OWN_NAMES = {
    "terminated": "terminated_B",
    "truncated": "truncated_B",
    "final_observations": "final_obs_B_Do",
    "offsets": "offset_B",
}


def read(path: Path, facts: Facts) -> Raw:
    """Read a file in the paper's format.

    Raises:
        GailbenchError: The file cannot be read, or its arrays do not fit.
    """
    with open_hdf5(path) as file:
        observations = file.read(OBSERVATIONS)
        if observations.ndim != 3:
            raise shape_error(path, OBSERVATIONS, observations, "(trajectories, steps, numbers)", "pad with zeros")
        lengths = checked_lengths(path, NAMES["lengths"], file.read(NAMES["lengths"]))
        steps = observations.shape[1]
        if (longest := int(lengths.max())) > steps:
            raise GailbenchError(
                f"{path}: len_B holds the length {longest}, but {OBSERVATIONS} has {steps} steps; the file is cut off"
            )
        rewards = file.get(NAMES["rewards"])
        terminated, truncated = (file.get(OWN_NAMES[name]) for name in ("terminated", "truncated"))
        return Raw(
            path=path,
            observations=unpadded(path, OBSERVATIONS, observations, lengths, steps),
            actions=unpadded(path, NAMES["actions"], file.read(NAMES["actions"]), lengths, steps),
            lengths=lengths,
            rewards=None if rewards is None else unpadded(path, NAMES["rewards"], rewards, lengths, steps),
            terminated=None if terminated is None else flags(path, OWN_NAMES["terminated"], terminated),
            truncated=None if truncated is None else flags(path, OWN_NAMES["truncated"], truncated),
            final_observations=file.get(OWN_NAMES["final_observations"]),
            offsets=file.get(OWN_NAMES["offsets"]),
            names={**NAMES, **OWN_NAMES},
        )


def write(demonstrations: Demonstrations, path: Path) -> None:
    """Write a file in the paper's format, completely or not at all.

    Raises:
        GailbenchError: h5py is missing, or the file cannot be written.
    """
    h5py = load_extra("h5py", "hdf5", "writing HDF5 files")
    d, buffer = demonstrations, io.BytesIO()
    actions = d.actions[:, None] if d.discrete else d.actions
    content = {
        OBSERVATIONS: padded(d.observations, d.lengths),
        NAMES["actions"]: padded(actions, d.lengths),
        NAMES["rewards"]: padded(d.rewards, d.lengths),
        NAMES["lengths"]: d.lengths.astype("int32"),
        **{theirs: getattr(d, ours) for ours, theirs in OWN_NAMES.items()},
    }
    with h5py.File(buffer, "w") as file:
        for name, values in content.items():
            file.create_dataset(name, data=values, compression="gzip", compression_opts=4)
        file.attrs["task"] = d.task
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, buffer.getvalue())
    except OSError as error:
        raise GailbenchError(f"cannot write demonstrations to {path}: {error.strerror}") from None
