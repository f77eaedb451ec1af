"""Writing Minari datasets with the package Minari."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gailbench.demonstrations import Demonstrations
from gailbench.formats import minari
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.extras import load_extra
from gailbench.tasks import TASKS


def write(demonstrations: Demonstrations, path_or_id: str) -> Path:
    """Write a dataset, completely or not at all. Return its folder.

    Args:
        demonstrations: The demonstrations. The dataset names the environment if the task is one of the paper's.
        path_or_id: The id of the dataset, such as gail/hopper-v0; it is written into Minari's folder. Or a path that
            begins with "/", "./" or "../" and ends in such an id.

    Raises:
        GailbenchError: Minari is missing, the name is not valid, the dataset exists, or it cannot be written.
    """
    load_extra("h5py", "minari", "writing Minari datasets")
    load_extra("minari", "minari", "writing Minari datasets")
    is_path = path_or_id.startswith(("/", "./", "../"))
    name = Path(path_or_id).name if is_path else path_or_id
    if not minari.is_id(name):
        raise GailbenchError(
            f"{path_or_id!r} is not a valid name of a Minari dataset; end it in a version, as in gail/hopper-v0 or "
            "./hopper-v0"
        )
    folder = Path(path_or_id) if is_path else minari.root() / path_or_id
    if folder.exists():
        raise GailbenchError(f"{folder} exists, and Minari datasets are never overwritten; choose another version")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            new = Path(temporary).resolve() / "new"  # Minari joins a relative path to itself
            new.mkdir()
            _write_data(demonstrations, new / "data", name)
            if not is_path:
                _add_namespaces(name)
            new.rename(folder)
    except (OSError, ValueError) as error:
        raise GailbenchError(f"cannot write the Minari dataset {folder}: {first_line(error)}") from None
    return folder


def _add_namespaces(name: str) -> None:
    from minari.namespace import create_namespace, list_local_namespaces

    namespace = name.rpartition("/")[0]
    if namespace and namespace not in list_local_namespaces():
        create_namespace(namespace)


def _write_data(d: Demonstrations, folder: Path, name: str) -> None:
    import gymnasium
    from gymnasium.spaces import Box, Discrete
    from minari import __version__
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    # Actions are samples of Gaussians and may leave the environment's bounds, so the action space is unbounded.
    actions = Discrete(d.num_actions) if d.discrete else Box(-np.inf, np.inf, (d.num_actions,), np.float32)
    specification = None
    if (task := TASKS.get(d.task)) is not None:  # demonstrations do not say which environment a user's own task has
        specification = copy.deepcopy(gymnasium.spec(task.environment))  # a copy, since it is changed
        specification.max_episode_steps = task.horizon
    storage = MinariStorage.new(
        folder,
        observation_space=Box(-np.inf, np.inf, d.observations.shape[1:], np.float32),
        action_space=actions,
        env_spec=specification,
    )
    storage.update_metadata({"dataset_id": name, "minari_version": __version__})

    def episodes() -> Any:
        for number, (start, length) in enumerate(zip(d.starts, d.lengths, strict=True)):
            rows = slice(start, start + length)
            ends = {}
            for key, values in (("terminations", d.terminated), ("truncations", d.truncated)):
                ends[key] = np.zeros(length, dtype=bool)
                ends[key][-1] = values[number]
            yield EpisodeBuffer(
                id=number,
                observations=np.concatenate((d.observations[rows], d.final_observations[number : number + 1])),
                actions=d.actions[rows],
                rewards=d.rewards[rows],
                **ends,
            )

    storage.update_episodes(episodes())
