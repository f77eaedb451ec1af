"""Minari datasets: those that Minari itself writes are read, and it reads those that are exported."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from format_helpers import LENGTHS, assert_equal, both, make, make_facts, refusal

from gailbench import formats
from gailbench.plumbing.errors import GailbenchError
from gailbench.tasks import TASKS

h5py = pytest.importorskip("h5py")
minari = pytest.importorskip("minari")
from minari.data_collector import EpisodeBuffer  # noqa: E402


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Where Minari keeps its datasets in a test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def record(name, discrete=True, env=None, **options):
    """Let Minari write a dataset of the hand-made demonstrations."""
    d = make(discrete)
    buffers = [
        EpisodeBuffer(
            observations=[*d.observations[start : start + length], d.final_observations[row]],
            actions=list(d.actions[start : start + length]),
            rewards=list(d.rewards[start : start + length]),
            terminations=[False] * (length - 1) + [bool(d.terminated[row])],
            truncations=[False] * (length - 1) + [bool(d.truncated[row])],
            infos={"number": np.arange(length)},
        )
        for row, (start, length) in enumerate(zip(d.starts, LENGTHS, strict=True))
    ]
    box, three = gymnasium.spaces.Box(-9, 9, (2,), np.float32), gymnasium.spaces.Box(-9, 9, (3,), np.float32)
    spaces = {"observation_space": box, "action_space": gymnasium.spaces.Discrete(3) if discrete else three}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(name, buffers, env=env, **(spaces if env is None else {}), **options)


@both
def test_a_dataset_that_minari_wrote_is_read_by_id_folder_or_file(discrete, root):
    record("made/by-hand-v0", discrete)
    folder = root / "made" / "by-hand-v0"
    for place in ("made/by-hand-v0", folder, folder / "data", folder / "data" / "main_data.hdf5"):
        imported = formats.read(place, make_facts(discrete))
        assert imported.format == formats.recognize(place) == "minari"
        assert_equal(imported.demonstrations, make(discrete))
        assert imported.has_rewards
        assert imported.remarks == ()


def test_a_datasets_file_may_stand_alone_under_any_name(root, tmp_path):
    record("made-v0")
    path = (root / "made-v0" / "data" / "main_data.hdf5").rename(tmp_path / "demos")
    assert formats.recognize(path) == "minari"
    assert_equal(formats.read(path, make_facts(True)).demonstrations, make(True))


def test_the_environment_that_the_metadata_name_is_remarked_and_not_made(monkeypatch):
    record("mountaincar-v3", env="MountainCar-v0")
    monkeypatch.setattr(gymnasium, "make", None)
    remarks = formats.read("mountaincar-v3", make_facts(True)).remarks
    assert any("recorded in MountainCar-v0" in remark for remark in remarks)


def test_what_a_data_collector_records_of_a_task_is_read():
    pytest.importorskip("jax", reason="Minari's collector needs it")
    env = minari.DataCollector(gymnasium.make("CartPole-v1"))
    env.action_space.seed(0)
    rewards = []
    for seed in range(3):
        env.reset(seed=seed)
        rewards.append(0)
        ended = False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            rewards[-1] += reward
            ended = terminated or truncated
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env.create_dataset("cartpole/random-v0")
    d = formats.read("cartpole/random-v0", formats.facts_of(TASKS["cartpole"])).demonstrations
    assert d.returns.tolist() == d.lengths.tolist() == rewards
    assert d.terminated.all()


@both
def test_what_is_exported_is_imported_in_equal_arrays(discrete, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, folder in (
        ("gail/ours-v1", root / "gail" / "ours-v1"),
        (str(tmp_path / "x-v0"), tmp_path / "x-v0"),
        ("./y-v0", Path("y-v0")),
    ):
        assert formats.export(make(discrete), place, "minari") == folder
        imported = formats.read(place, make_facts(discrete))
        assert_equal(imported.demonstrations, make(discrete))
        assert [entry.name for entry in folder.iterdir()] == ["data"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["minari", "x-v0", "y-v0"]


@both
def test_minari_reads_what_is_exported(discrete):
    formats.export(make(discrete), "gail/ours-v1", "minari")
    d, dataset = make(discrete), minari.load_dataset("gail/ours-v1")
    assert "gail/ours-v1" in minari.list_local_datasets()
    assert "gail" in minari.namespace.list_local_namespaces()
    assert (dataset.total_episodes, dataset.total_steps) == (4, 16)
    for row, episode in enumerate(dataset.iterate_episodes()):
        steps = slice(d.starts[row], d.starts[row] + LENGTHS[row])
        assert np.array_equal(episode.observations[:-1], d.observations[steps])
        assert np.array_equal(episode.observations[-1], d.final_observations[row])
        assert np.array_equal(episode.actions, d.actions[steps])
        assert np.array_equal(episode.rewards, d.rewards[steps])
        assert episode.terminations.tolist() == [False] * (LENGTHS[row] - 1) + [bool(d.terminated[row])]
        assert episode.truncations.tolist() == [False] * (LENGTHS[row] - 1) + [bool(d.truncated[row])]
    task = TASKS[d.task]
    assert dataset.env_spec.id == task.environment
    assert dataset.env_spec.max_episode_steps == task.horizon
    assert isinstance(dataset.action_space, gymnasium.spaces.Discrete) == discrete


def test_an_export_leaves_gymnasiums_registry_as_it_was(tmp_path):
    """The task's horizon is not its environment's default."""
    before = gymnasium.spec("CartPole-v1").max_episode_steps
    assert before != TASKS["cartpole"].horizon
    d = make(True)
    formats.export(type(d)(**{**vars(d), "task": "cartpole"}), str(tmp_path / "x-v0"), "minari")
    assert gymnasium.spec("CartPole-v1").max_episode_steps == before


def test_demonstrations_of_an_own_task_are_exported_without_an_environment(tmp_path):
    d = make(False)
    folder = formats.export(type(d)(**{**vars(d), "task": "own"}), str(tmp_path / "x-v0"), "minari")
    assert minari.MinariDataset(folder / "data").env_spec is None
    imported = formats.read(str(folder), make_facts(False)).demonstrations
    assert np.array_equal(imported.actions, d.actions)


def test_exports_never_overwrite_and_need_an_id(root, tmp_path):
    formats.export(make(True), "ours-v0", "minari")
    before = (root / "ours-v0" / "data" / "main_data.hdf5").read_bytes()
    with pytest.raises(GailbenchError, match="never overwritten"):
        formats.export(make(False), "ours-v0", "minari")
    assert (root / "ours-v0" / "data" / "main_data.hdf5").read_bytes() == before
    for name in ("ours", "../ours", "a/../b-v0", str(tmp_path / "ours.hdf5"), "~/ours-v0"):
        with pytest.raises(GailbenchError, match="not a valid name of a Minari dataset"):
            formats.export(make(True), name, "minari")
    (tmp_path / "file").write_text("x")
    with pytest.raises(GailbenchError, match="cannot write"):
        formats.export(make(True), str(tmp_path / "file" / "ours-v0"), "minari")


def edited(root, edit):
    """Record a dataset and change its file; return its folder."""
    record("edited-v0")
    with h5py.File(root / "edited-v0" / "data" / "main_data.hdf5", "a") as file:
        edit(file)
    return root / "edited-v0"


def put(name, values):
    def edit(file):
        del file[name]
        file[name] = values

    return edit


def as_dictionary(file):
    """Observations as Minari stores those of a dictionary space."""
    del file["episode_0/observations"]
    file["episode_0/observations/goal"] = np.zeros((6, 2))


REFUSED = {
    "missing episode": (lambda file: file.move("episode_2", "episode_7"), ("lacks episode_2", "4 episodes")),
    "no last observation": (
        put("episode_1/observations", np.zeros((1, 2))),
        ("episode_1/observations", "(2, numbers)"),
    ),
    "other widths": (put("episode_1/observations", np.zeros((2, 5))), ("(2,)", "(5,)", "observations")),
    "dictionary": (as_dictionary, ("episode_0/observations is a group of goal",)),
    "no step": (put("episode_3/actions", np.zeros(0, int)), ("episode_3/actions", "no step")),
    "no rewards": (lambda file: file.__delitem__("episode_0/rewards"), ("lacks episode_0/rewards",)),
    "fewer rewards": (put("episode_0/rewards", np.zeros(4)), ("episode_0/rewards", "(4,)", "(5,)")),
    "fewer ends": (put("episode_0/truncations", np.zeros(4, bool)), ("episode_0/truncations", "(4,)", "(5,)")),
    "end within": (put("episode_0/terminations", np.arange(5) == 1), ("episode_0/terminations", "marks pair 1")),
    "text": (put("episode_0/actions", np.full(5, b"x")), ("episode_0/actions", "numbers")),
    "fractions": (put("episode_0/actions", np.full(5, 0.5)), ("actions holds 0.5 in row 0",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_the_episode(case, root):
    edit, words = REFUSED[case]
    path = edited(root, edit)
    refusal(path, *words)


def test_other_kinds_of_storage_and_broken_metadata_are_refused(root):
    record("edited-v0")
    metadata = root / "edited-v0" / "data" / "metadata.json"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**content, "data_format": "arrow"}))
    refusal(root / "edited-v0", "stored as 'arrow'", "data_format='hdf5'")
    metadata.write_text("{")
    refusal(root / "edited-v0", "metadata.json", "JSON")
    metadata.write_text("[]")
    refusal(root / "edited-v0", "metadata")
    metadata.unlink()
    refusal(root / "edited-v0", "neither Minari")
    refusal(root / "edited-v0" / "data", "lacks metadata.json")


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    for module in ("minari", "h5py"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(GailbenchError, match=rf"{module}.*pip install -e '\.\[minari\]' in a checkout"):
                formats.export(make(True), str(tmp_path / "x-v0"), "minari")
    record("made-v0")
    monkeypatch.setitem(sys.modules, "minari", None)
    assert_equal(formats.read("made-v0", make_facts(True)).demonstrations, make(True))  # reading needs h5py alone
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(GailbenchError, match=r"h5py.*pip install -e '\.\[minari\]' in a checkout"):
        formats.read("made-v0", make_facts(True))
