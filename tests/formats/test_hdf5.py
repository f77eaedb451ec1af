"""The paper's HDF5 layout, as openai/imitation writes it."""

from __future__ import annotations

import numpy as np
import pytest
from format_helpers import LENGTHS, assert_equal, both, make, make_facts, refusal

from gailbench import formats
from gailbench.plumbing import bounds
from gailbench.plumbing.errors import GailbenchError

h5py = pytest.importorskip("h5py")


def store(path, discrete=True, **changes):
    """Write right-padded arrays as openai/imitation's vis_mj.py does, with changes (None: without)."""
    d = make(discrete)
    actions = d.actions[:, None] if discrete else d.actions
    arrays = {}
    for name, values in (("obs_B_T_Do", d.observations), ("a_B_T_Da", actions), ("r_B_T", d.rewards)):
        arrays[name] = np.zeros((4, 7, *values.shape[1:]), values.dtype)
        for row, (start, length) in enumerate(zip(d.starts, LENGTHS, strict=True)):
            arrays[name][row, :length] = values[start : start + length]
    arrays["len_B"] = np.array(LENGTHS, dtype=np.int32)
    with h5py.File(path, "w") as file:
        for name, values in {**arrays, **changes}.items():
            if values is not None:
                chunks = (min(128, len(values)), *values.shape[1:])
                file.create_dataset(name, data=values, chunks=chunks, compression="gzip", compression_opts=9)
        file.attrs["args"] = "{}"
    return path


@both
def test_what_is_exported_is_imported_in_equal_arrays(discrete, tmp_path):
    path = formats.export(make(discrete), tmp_path / "new" / "demos.h5", "hdf5")
    imported = formats.read(path, make_facts(discrete))
    assert imported.format == formats.recognize(path) == "hdf5"
    assert imported.remarks == ()
    assert_equal(imported.demonstrations, make(discrete))
    again = formats.export(imported.demonstrations, tmp_path / "again.h5", "hdf5")
    assert again.read_bytes() == path.read_bytes()


@both
def test_the_papers_own_code_would_read_what_is_exported(discrete, tmp_path):
    """Its arrays by name, axes and padding."""
    ours, theirs = (
        formats.export(make(discrete), tmp_path / "demos.h5", "hdf5"),
        store(tmp_path / "theirs.h5", discrete),
    )
    with h5py.File(ours) as found, h5py.File(theirs) as expected:
        for name in ("obs_B_T_Do", "a_B_T_Da", "r_B_T", "len_B"):
            assert np.array_equal(found[name][:], expected[name][:])
            assert found[name].dtype == expected[name].dtype


@both
def test_the_papers_files_are_read(discrete, tmp_path):
    imported = formats.read(store(tmp_path / "demos.npz", discrete), make_facts(discrete))
    assert_equal(imported.demonstrations, make(discrete), "final_observations")
    assert any("how trajectories ended" in remark for remark in imported.remarks)


def test_padding_is_told_by_lengths_alone(tmp_path):
    observations = np.full((4, 7, 2), np.nan)
    start = 0
    for row, length in enumerate(LENGTHS):
        observations[row, :length] = make(True).observations[start : start + length]
        start += length
    imported = formats.read(store(tmp_path / "demos.h5", obs_B_T_Do=observations), make_facts(True))
    assert_equal(imported.demonstrations, make(True), "final_observations")


REFUSED = {
    "too long": ({"len_B": np.array([5, 1, 8, 3])}, ("len_B", "length 8", "7 steps")),
    "empty": ({"len_B": np.array([5, 1, 0, 3])}, ("len_B", "length 0")),
    "fewer": ({"len_B": np.array([5, 1, 7])}, ("obs_B_T_Do", "(4, 7, 2)", "(3, 7, ...)")),
    "two axes": ({"obs_B_T_Do": np.zeros((4, 7))}, ("obs_B_T_Do", "(4, 7)", "steps")),
    "other task": ({"obs_B_T_Do": np.ones((4, 7, 5))}, ("obs_B_T_Do", "(16, 5)", "(16, 2)")),
    "other steps": ({"a_B_T_Da": np.zeros((4, 6, 1))}, ("a_B_T_Da", "(4, 6, 1)", "(4, 7, ...)")),
    "no actions": ({"a_B_T_Da": None}, ("lacks a_B_T_Da",)),
    "text": ({"a_B_T_Da": np.full((4, 7, 1), b"x")}, ("a_B_T_Da", "numbers")),
    "nan": ({"r_B_T": np.full((4, 7), np.nan)}, ("r_B_T holds nan in row 0",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_the_files_names(case, tmp_path):
    changes, words = REFUSED[case]
    refusal(store(tmp_path / "demos.h5", **changes), *words)


def test_hdf5_files_of_other_layouts_are_listed(tmp_path):
    with h5py.File(tmp_path / "demos.h5", "w") as file:
        file["policy"] = np.zeros(3)
    refusal(tmp_path / "demos.h5", "HDF5 file of policy", "obs_B_T_Do", "episode_0")


def test_damaged_and_cut_files_are_refused(tmp_path):
    data = store(tmp_path / "whole.h5").read_bytes()
    for length in (8, 40, 200, len(data) // 2, len(data) - 1):
        (tmp_path / "demos.h5").write_bytes(data[:length])
        refusal(tmp_path / "demos.h5", "cannot be read as an HDF5 file")


def test_declared_sizes_are_checked_before_anything_is_allocated(tmp_path, monkeypatch):
    def declare(shape, chunks):
        path = store(tmp_path / "demos.h5", obs_B_T_Do=None)
        with h5py.File(path, "a") as file:
            file.create_dataset("obs_B_T_Do", shape, "f8", chunks=chunks)
        return path

    refusal(declare((10**12, 7, 2), (10**6, 7, 2)), "obs_B_T_Do", "(1000000000000, 7, 2)", "GiB")
    refusal(declare((10**6, 7, 2), (10**5, 7, 2)), "obs_B_T_Do", "stores 0 bytes", "exhaust memory")
    refusal(declare((10_000, 6, 2), (1, 1, 1)), "obs_B_T_Do", "120,000 chunks", "at most 100,000")
    monkeypatch.setattr(bounds, "LIMIT", 300)
    refusal(store(tmp_path / "demos.h5"), "GiB")


def test_arrays_outside_the_file_are_not_followed(tmp_path):
    """A file could else read any other on the disk into demonstrations that are then shared."""
    (tmp_path / "secret").write_bytes(bytes(4 * 7 * 8))
    store(tmp_path / "other.h5")
    path = store(tmp_path / "demos.h5", r_B_T=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("r_B_T", (4, 7), "f8", external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)])
    refusal(path, "r_B_T", "other files")
    store(path, r_B_T=None)
    with h5py.File(path, "a") as file:
        file["r_B_T"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "r_B_T")
    refusal(path, "r_B_T", "link to elsewhere")
    store(path, r_B_T=None)
    with h5py.File(path, "a") as file:
        layout = h5py.VirtualLayout((4, 7), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "r_B_T", (4, 7))
        file.create_virtual_dataset("r_B_T", layout)
    refusal(path, "r_B_T", "other files")


def test_exports_that_cannot_be_written_leave_nothing(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(GailbenchError, match="cannot write"):
        formats.export(make(True), tmp_path / "file" / "demos.h5", "hdf5")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
