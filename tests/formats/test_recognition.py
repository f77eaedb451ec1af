"""What a file is, by its content: known formats, and one line for everything else; nothing exhausts memory."""

from __future__ import annotations

import errno
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from format_helpers import make, make_facts, refusal

from gailbench import formats
from gailbench.plumbing import bounds
from gailbench.plumbing.errors import GailbenchError

PAIR = np.zeros((3, 2))
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("observations actions lengths", "npz"),
        ("observations actions terminals timeouts rewards", "npz"),
        ("obs acs rews ep_rets", "baselines-npz"),
        ("obs actions rewards episode_starts episode_returns", "stable-baselines-npz"),
        ("observations actions episode_starts", "stable-baselines-npz"),
        ("states actions episode_starts", "stable-baselines-npz"),
        ("observations actions episode_starts lengths", "npz"),
        ("observations actions episode_starts truncated", "npz"),
        ("obs acts rews terminal indices infos", "imitation-npz"),
    ],
)
def test_npz_files_are_recognized_by_their_arrays_not_their_name(names, expected, tmp_path):
    path = tmp_path / "demos.hdf5"
    with path.open("wb") as stream:
        np.savez(stream, **dict.fromkeys(names.split(), PAIR))
    assert formats.recognize(path) == formats.recognize(str(path)) == expected
    assert expected in formats.FORMATS


def npy():
    buffer = io.BytesIO()
    np.save(buffer, PAIR)
    return buffer.getvalue()


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


FOREIGN = {
    "lfs": (LFS, ("Git LFS", "git lfs pull")),
    "pickle": (pickle.dumps({"obs": [1.0]}), ("pickle", "never loaded", "np.savez")),
    "old pickle": (pickle.dumps({"obs": [1.0]}, protocol=2), ("pickle",)),
    "npy": (npy(), ("single NumPy array", "np.savez")),
    "zip": (zipped("a.txt", "b.txt"), ("zip archive without NumPy arrays", "2 files")),
    "empty zip": (zipped(), ("zip archive without", "0 files")),
    "torch": (zipped("archive/data.pkl", "archive/data/0"), ("PyTorch", "never loaded")),
    "gzip": (b"\x1f\x8b\x08\x00", ("gzip", "unpack")),
    "parquet": (b"PAR1\x15\x04", ("Parquet",)),
    "html": (b"<!DOCTYPE html><html>", ("web page",)),
    "csv": (b"obs,act\n1,2\n", ("is text", "obs,act", "docs/formats.md")),
    "noise": (b"\x00\x01\x02\x03" * 20, ("unknown kind",)),
    "empty": (b"", ("empty",)),
    "cut zip": (zipped("a.npy")[:40], ("cannot be read", "fetch it again")),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_are_named_for_what_they_are(kind, tmp_path):
    content, words = FOREIGN[kind]
    (tmp_path / "demos.npz").write_bytes(content)
    refusal(tmp_path / "demos.npz", *words)


def test_unknown_arrays_are_listed(tmp_path):
    np.savez(tmp_path / "demos.npz", x=PAIR, s=PAIR)
    refusal(tmp_path / "demos.npz", "arrays s, x", "observations, actions and lengths")


def test_missing_files_and_other_folders_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    refusal(tmp_path / "none.npz", "no file or folder")
    refusal("mujoco/hopper/none-v0", "no Minari dataset", str(tmp_path / "minari"), "minari download")
    refusal("x" * 5000, "no file or folder")
    refusal(tmp_path, "neither Minari", "docs/formats.md")
    (tmp_path / "dataset_dict.json").write_text("{}")
    refusal(tmp_path, "splits")


def test_files_that_may_not_be_read_are_not_called_missing(tmp_path, monkeypatch):
    def forbidden(path, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    path = tmp_path / "demos.npz"
    monkeypatch.setattr(type(path), "stat", forbidden)
    refusal(path, f"cannot read {path}: Permission denied")


def test_a_user_without_a_home_folder_has_no_minari_datasets(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    refusal("mujoco/hopper/none-v0", "no file or folder", "no home folder", "set MINARI_DATASETS_PATH")


def test_pipes_and_devices_are_refused_before_they_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    refusal(tmp_path / "pipe.npz", "not a regular file")
    refusal("/dev/zero", "not a regular file")


def crafted(path, shape, data=b"", compression=zipfile.ZIP_STORED, descr="<f8"):
    """Write an archive whose observations declare a shape that their data do not have."""
    header = str({"descr": descr, "fortran_order": False, "shape": shape}).ljust(117) + "\n"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data
    np.savez(path, actions=np.zeros(3, int), lengths=np.array([3]))
    with zipfile.ZipFile(path, "a", compression) as archive:
        archive.writestr("observations.npy", member)
    return path


@pytest.mark.parametrize(
    ("shape", "data", "words"),
    [
        ((10**12, 2), b"", ("observations", "(1000000000000, 2)", "GiB")),
        ((2**33, 2**33), b"", ("GiB",)),  # a product that wraps around to 0 in 64 bits
        ((2**62, 4), bytes(64), ("GiB",)),
        ((10**8, 2), bytes(64), ("observations", "1,600,000,000 bytes", "exhaust memory")),
        ((4, 2), bytes(48), ("observations", "64 bytes", "48")),
        ((3, 2), bytes(56), ("observations", "48 bytes", "56")),
        ((-3, -2), bytes(48), ("observations", "impossible shape (-3, -2)")),
    ],
)
def test_declared_sizes_are_checked_before_anything_is_allocated(shape, data, words, tmp_path):
    refusal(crafted(tmp_path / "demos.npz", shape, data), *words)


def test_zip_bombs_are_refused_by_the_sum_of_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "LIMIT", 39_000_000)
    path = tmp_path / "demos.npz"
    np.savez_compressed(
        path, observations=np.zeros((10**6, 2)), actions=np.zeros((10**6, 3)), lengths=np.array([10**6])
    )
    assert path.stat().st_size < 100_000
    refusal(path, "actions", "more than the 0.0363216 GiB", discrete=False)


def test_damaged_archives_are_refused_or_read_the_same(tmp_path):
    """Any one byte changed."""
    make(True).write(tmp_path / "whole.npz")
    expected = formats.read(tmp_path / "whole.npz", make_facts(True)).demonstrations.sha256()
    data = (tmp_path / "whole.npz").read_bytes()
    path, messages = tmp_path / "demos.npz", []
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 0x11
        path.write_bytes(damaged)
        try:
            found = formats.read(path, make_facts(True))
        except GailbenchError as error:
            messages.append(str(error))
        else:
            # An optional array whose name is damaged is one that the file lacks.
            assert found.remarks or found.demonstrations.sha256() == expected
    assert len(messages) > len(data) / 7 / 3
    assert all("\n" not in message and str(path) in message for message in messages)


def test_a_changed_number_of_an_uncompressed_array_is_found_by_its_checksum(tmp_path):
    values = np.full((3, 2), 123456.0)
    np.savez(tmp_path / "demos.npz", observations=values, actions=np.zeros(3, int), lengths=np.array([3]))
    data = (tmp_path / "demos.npz").read_bytes()
    (tmp_path / "demos.npz").write_bytes(data.replace(values.tobytes(), np.full((3, 2), 123457.0).tobytes()))
    refusal(tmp_path / "demos.npz", "observations", "CRC")


def test_exports_to_unknown_formats_and_places_are_refused(tmp_path):
    with pytest.raises(GailbenchError, match="unknown format 'hdf' to export to; did you mean 'hdf5'"):
        formats.export(make(True), tmp_path / "demos", "hdf")
    (tmp_path / "file").write_text("x")
    with pytest.raises(GailbenchError, match="cannot write"):
        formats.export(make(True), tmp_path / "file" / "demos.npz", "npz")


@pytest.mark.parametrize(("module", "extra"), [("h5py", "hdf5"), ("pyarrow", "imitation")])
def test_a_missing_package_names_its_extra(module, extra, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # import raises ImportError
    path = tmp_path / "demos"
    if module == "h5py":
        path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    else:
        path.mkdir()
        (path / "state.json").write_text('{"_data_files": []}')
    refusal(path, module, f"install it with pip install -e '.[{extra}]' in a checkout of gailbench")


def test_importing_the_formats_imports_no_optional_package():
    code = "import sys, gailbench.formats; print(sorted({'h5py', 'minari', 'pyarrow', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
