"""The folders that HumanCompatibleAI's imitation writes with Hugging Face's datasets, which writes them here."""

from __future__ import annotations

import json

import numpy as np
import pytest
from format_helpers import LENGTHS, assert_equal, both, make, make_facts, refusal

from gailbench import formats

pa = pytest.importorskip("pyarrow")


def columns(discrete=True):
    """One row per trajectory, as imitation makes them; infos are encoded Python objects."""
    d = make(discrete)
    pieces = np.split(np.arange(16), d.starts[1:])
    return {
        "obs": [np.vstack((d.observations[rows], d.final_observations[k])) for k, rows in enumerate(pieces)],
        "acts": [d.actions[rows] for rows in pieces],
        "infos": [['{"py/object": "nowhere.Trap"}'] * length for length in LENGTHS],
        "terminal": [True] * 4,
        "rews": [d.rewards[rows] for rows in pieces],
    }


def store(folder, **changes):
    """Write the layout with pyarrow alone, with changes (None: without)."""
    folder.mkdir(exist_ok=True)
    content = {**columns(), **changes}
    lists = {
        name: [getattr(row, "tolist", lambda row=row: row)() for row in rows]
        for name, rows in content.items()
        if rows is not None
    }
    table = pa.table(lists)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    return folder


@pytest.mark.parametrize("shards", [1, 3])
@both
def test_what_hugging_faces_datasets_write_is_read(discrete, shards, tmp_path):
    """As imitation does: Dataset.from_dict(...).save_to_disk(...); float32 lists become doubles."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(columns(discrete)).save_to_disk(str(tmp_path / "demos"), num_shards=shards)
    imported = formats.read(tmp_path / "demos", make_facts(discrete))
    assert imported.format == formats.recognize(tmp_path / "demos") == "imitation-folder"
    assert_equal(imported.demonstrations, make(discrete))
    assert imported.has_rewards


def test_arrays_of_fixed_shape_are_read_too(tmp_path):
    """Hugging Face's Array2D, stored as an extension type."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    d = make(True)
    features = datasets.Features(
        obs=datasets.Array2D((5, 2), "float32"),
        acts=datasets.List(datasets.Value("int64")),
        terminal=datasets.Value("bool"),
    )
    rows = {
        "obs": [d.observations[:5], d.observations[5:10]],
        "acts": [d.actions[:4], d.actions[4:8]],
        "terminal": [True, True],
    }
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "demos"))
    found = formats.read(tmp_path / "demos", make_facts(True)).demonstrations
    assert np.array_equal(found.final_observations, d.observations[[4, 9]])
    assert np.array_equal(found.actions, d.actions[:8])


def test_several_splits_are_refused(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    split = datasets.Dataset.from_dict(columns())
    datasets.DatasetDict({"train": split}).save_to_disk(str(tmp_path / "demos"))
    refusal(tmp_path / "demos", "splits")
    assert_equal(formats.read(tmp_path / "demos" / "train", make_facts(True)).demonstrations, make(True))


def test_the_layout_written_by_hand_is_read_with_or_without_rewards(tmp_path):
    assert_equal(formats.read(store(tmp_path / "demos"), make_facts(True)).demonstrations, make(True))
    imported = formats.read(store(tmp_path / "demos", rews=None), make_facts(True))
    assert_equal(imported.demonstrations, make(True), "rewards")
    assert not imported.has_rewards


WIDE = [np.zeros((length + 1, 5)) for length in LENGTHS]
REFUSED = {
    "no actions": ({"acts": None}, ("lacks the column acts",)),
    "no rows": ({name: [] for name in columns()}, ("lacks the column obs or any row",)),
    "other task": ({"obs": WIDE}, ("obs", "(16, 5)", "(16, 2)")),
    "no last observation": (
        {"obs": [row[:-1] for row in columns()["obs"]]},
        ("obs", "(16, 2)", "one observation more"),
    ),
    "ragged": ({"obs": [*WIDE[:3], columns()["obs"][3]]}, ("rows hold 2 to 5 numbers",)),
    "missing number": ({"acts": [[None] * length for length in LENGTHS]}, ("a value is missing",)),
    "missing row": ({"acts": [*columns()["acts"][:3], None]}, ("a value is missing",)),
    "fewer rewards": ({"rews": [[0.0]] * 4}, ("rews", "(4,)", "one reward per action")),
    "text": ({"acts": [["x"] * length for length in LENGTHS]}, ("acts", "object")),
    "number": ({"obs": [1.0] * 4}, ("obs", "(4,)")),
    "numbers as ends": ({"terminal": [5, 5, 5, 5]}, ("terminal holds 5",)),
    "empty trajectory": (
        {"acts": [*columns()["acts"][:3], []], "rews": [*columns()["rews"][:3], []]},
        ("acts", "length 0"),
    ),
    "structures": ({"acts": [[{"a": 1}] * length for length in LENGTHS]}, ("cannot be read",)),
}


def two_files(folder, **changes):
    """Write a folder with a second file, which has these changes."""
    store(folder)
    second = store(folder.with_name("second"), **changes) / "data-00000-of-00001.arrow"
    second.rename(folder / "second.arrow")
    files = ("data-00000-of-00001.arrow", "second.arrow")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in files]}))
    return folder


def test_a_file_without_rows_holds_nothing(tmp_path):
    folder = two_files(tmp_path / "demos", **{name: [] for name in columns()})
    assert_equal(formats.read(folder, make_facts(True)).demonstrations, make(True))


def test_files_of_observations_of_two_widths_are_refused(tmp_path):
    refusal(two_files(tmp_path / "demos", obs=WIDE), "obs holds entries of the shapes (2,) and (5,)")


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_the_column(case, tmp_path):
    changes, words = REFUSED[case]
    refusal(store(tmp_path / "demos", **changes), *words)


def test_damaged_folders_are_refused(tmp_path):
    folder = store(tmp_path / "demos")
    file = folder / "data-00000-of-00001.arrow"
    data = file.read_bytes()
    for length in (0, 4, 100, len(data) // 2):
        file.write_bytes(data[:length])
        refusal(folder, "cannot be read as an Arrow file")
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    refusal(folder, "cannot be read as an Arrow file")
    file.unlink()
    refusal(folder, file.name, "no file at")
    for state in ("{", "{}", "[]", '{"_data_files": [{}]}', '{"_data_files": []}', '{"_data_files": 1}'):
        (folder / "state.json").write_text(state)
        refusal(folder)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "../other.arrow"}]}')
    refusal(folder, "'../other.arrow'", "outside its folder")
