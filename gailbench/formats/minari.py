"""Reading Minari datasets, with h5py only. Minari itself would create the environment that a dataset names, and so run
its code."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gailbench.formats.ends import flags, last_flags
from gailbench.formats.facts import Facts
from gailbench.formats.hdf5 import Hdf5, open_hdf5
from gailbench.formats.raw import Raw, count, joined, shape_error
from gailbench.plumbing.bounds import read_json, readable
from gailbench.plumbing.errors import GailbenchError

MAIN_FILE = "main_data.hdf5"
METADATA = "metadata.json"
FIRST = "episode_0"
_ID = re.compile(r"(?:[\w-]+/)*[\w-]+-v\d+")


def is_id(text: str) -> bool:
    """Return whether a text is a valid id of a Minari dataset, such as mujoco/hopper/expert-v0."""
    return _ID.fullmatch(text) is not None


def root() -> Path:
    """Return the folder in which Minari keeps its datasets.

    Raises:
        GailbenchError: The user has no home folder, and MINARI_DATASETS_PATH does not name another one.
    """
    try:
        return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")
    except RuntimeError:
        raise GailbenchError(
            "there is no home folder, where Minari keeps its datasets; set MINARI_DATASETS_PATH to their folder"
        ) from None


def data_folder(folder: Path) -> Path | None:
    """Return the folder with a dataset's files, given this folder or its parent. Return None if there is no dataset."""
    return next((place for place in (folder / "data", folder) if (place / METADATA).is_file()), None)


def read(path: Path, facts: Facts) -> Raw:
    """Read a dataset of arrays (not of dictionaries or images).

    Args:
        path: The dataset's folder, its data folder or its main_data.hdf5.
        facts: Facts about the task.

    Raises:
        GailbenchError: The dataset cannot be read, its arrays do not fit, or h5py is missing.
    """
    folder = data_folder(path) if path.is_dir() else path.parent
    assert folder is not None
    remarks = _remarks(folder / METADATA)
    with open_hdf5(folder / MAIN_FILE if path.is_dir() else path, "minari") as file:
        found = [_episode(file, f"episode_{number}") for number in range(_episodes(file))]
    wrong = "episodes' {name} have the shapes {{}} per step, expected one; leave the other episodes out"
    arrays = {
        name: joined(file.path, wrong.format(name=name), [episode[name] for episode in found]) for name in found[0]
    }
    return Raw(
        path=path,
        observations=arrays["observations"],
        actions=arrays["actions"],
        lengths=arrays["lengths"],
        rewards=arrays["rewards"],
        terminated=arrays["terminated"],
        truncated=arrays["truncated"],
        final_observations=arrays["final_observations"],
        remarks=tuple(remarks),
    )


def _episodes(file: Hdf5) -> int:
    count = sum(re.fullmatch(r"episode_\d+", name) is not None for name in file.names)
    for number in range(count):
        if f"episode_{number}" not in file.names:
            raise GailbenchError(f"{file.path} lacks episode_{number} of {count} episodes; fetch the dataset again")
    if not count:
        raise GailbenchError(f"{file.path} holds no episode; record some")
    return count


def _episode(file: Hdf5, episode: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of one trajectory. In the file, observations have one more row than actions."""
    observations, actions = file.read(f"{episode}/observations"), file.read(f"{episode}/actions")
    steps = count(actions)
    if not steps:
        raise GailbenchError(f"{file.path}: {episode}/actions holds no step; leave that episode out")
    if not observations.ndim or len(observations) != steps + 1:
        raise shape_error(
            file.path,
            f"{episode}/observations",
            observations,
            f"({steps + 1}, numbers), one more than the {steps} actions",
            "record the last observation too",
        )
    ends = {}
    for ours, theirs in (("terminated", "terminations"), ("truncated", "truncations")):
        name = f"{episode}/{theirs}"
        values = flags(file.path, name, file.read(name))
        if len(values) != steps:
            raise shape_error(file.path, name, values, f"({steps},) as actions", "save one flag per step")
        ends[ours] = last_flags(file.path, name, values, np.array([steps]))
    rewards = file.read(f"{episode}/rewards")
    if rewards.shape[:1] != (steps,):
        raise shape_error(file.path, f"{episode}/rewards", rewards, f"({steps},) as actions", "save one per step")
    return {
        "observations": observations[:-1],
        "final_observations": observations[-1:],
        "actions": actions,
        "rewards": rewards,
        "lengths": np.array([steps]),
        **ends,
    }


def _remarks(metadata: Path) -> list[str]:
    """Return remarks from the metadata, if there is a metadata file."""
    if not metadata.exists():
        return []
    content = read_json(metadata)
    with readable(metadata, "a Minari dataset's metadata"):
        kind = str(content.get("data_format", "hdf5"))
        environment = json.loads(content["env_spec"])["id"] if content.get("env_spec") else None
    if kind != "hdf5":
        raise GailbenchError(
            f"{metadata.parent} is a Minari dataset stored as {kind!r}, expected 'hdf5'; "
            "write it again with data_format='hdf5'"
        )
    return [f"Minari's metadata say that the dataset was recorded in {environment}"] if environment else []
