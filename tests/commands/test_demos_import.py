"""Somebody's demonstrations come in and go out by the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_helpers import call, files_under

from gailbench import demonstrations


@pytest.fixture
def rollouts(tmp_path: Path) -> Path:
    """Three trajectories of cart-pole in the arrays that people have: big-endian, integers as floats, no rewards."""
    rng = np.random.default_rng(0)
    lengths = np.array([30, 200, 45])
    path = tmp_path / "rollouts.npz"
    np.savez(
        path,
        observations=rng.normal(0, 0.1, (lengths.sum(), 4)).astype(">f8"),
        actions=rng.integers(2, size=lengths.sum()).astype(">f4"),
        lengths=lengths,
    )
    return path


def test_an_import_says_what_it_understood_and_runs(rollouts: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.npz"
    imported = call("demos", "import", "--task", "cartpole", rollouts, "--out", out)
    assert imported.code == 0, imported.err
    for said in ("trajectories: 3", "4", "rewards", f"written to {out}"):
        assert said in imported.out
    found = demonstrations.read(out)
    assert (found.lengths.tolist(), found.actions.dtype, found.genuine) == ([30, 200, 45], np.int64, False)
    run = call(
        *("run", "--task", "cartpole", "--demos", out, "--sizes", 3, "--algorithms", "bc,gail", "--iterations", 2),
        *("--batch", 50, "--jobs", 1, "--results", tmp_path / "r"),
    )
    assert run.code == 0, run.err
    assert len(list((tmp_path / "r").rglob("settings=*demonstrations-*"))) == 2


def test_keep_every_only_changes_what_is_reported(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    source = tmp_path / "hopper.npz"
    content = {"observations": rng.normal(size=(400, 11)), "actions": rng.normal(size=(400, 3)), "lengths": [40] * 10}
    np.savez(source, **content)
    plain, thinned = tmp_path / "plain.npz", tmp_path / "thinned.npz"
    assert call("demos", "import", "--task", "hopper", source, "--out", plain).code == 0
    imported = call("demos", "import", "--task", "hopper", source, "--out", thinned, "--keep-every", 2)
    assert "200 of 400 remain if every 2-th pair is kept" in imported.out
    assert demonstrations.read(thinned).sha256() == demonstrations.read(plain).sha256()


@pytest.mark.parametrize(
    ("lengths", "offsets", "said"),
    [
        ([1, 2, 1], [5, 6, 7], "remark: no run can learn from demos.npz: if every 10-th pair is kept, none remains; "),
        ([1, 20, 1], [5, 6, 7], "next: gailbench run --task cartpole --demos demos.npz --sizes 3\n"),
        ([20, 1, 1], [5, 6, 7], "next: gailbench run --task cartpole --demos demos.npz --sizes 1\n"),
    ],
)
def test_the_next_command_has_pairs_to_learn_from(
    lengths: list[int], offsets: list[int], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = sum(lengths)
    content = {"observations": np.zeros((pairs, 4)), "actions": np.zeros(pairs, int), "lengths": lengths}
    np.savez("short.npz", offsets=offsets, **content)
    imported = call("demos", "import", "--task", "cartpole", "short.npz", "--out", "demos.npz")
    assert imported.code == 0, imported.err
    assert imported.err.startswith(said)


def test_an_import_never_overwrites_unasked(rollouts: Path, tmp_path: Path) -> None:
    out = tmp_path / "own.npz"
    out.write_bytes(b"precious")
    before = files_under(tmp_path)
    refused = call("demos", "import", "--task", "cartpole", rollouts, "--out", out)
    assert (refused.code, "--overwrite" in refused.err, files_under(tmp_path)) == (1, True, before)
    assert call("demos", "import", "--task", "cartpole", rollouts, "--out", out, "--overwrite").code == 0


def test_what_does_not_fit_the_task_names_array_and_shapes(rollouts: Path, tmp_path: Path) -> None:
    refused = call("demos", "import", "--task", "hopper", rollouts, "--out", tmp_path / "own.npz")
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "observations" in refused.err
    assert not (tmp_path / "own.npz").exists()


def test_an_export_comes_back_the_same(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    sampled, back = tmp_path / "sampled.npz", tmp_path / "back.npz"
    assert call("demos", "sample", "--task", "cartpole", "--trajectories", 2, "--out", sampled).code == 0
    exported = call("demos", "export", sampled, "--format", "hdf5", "--out", tmp_path / "out.h5")
    assert exported.code == 0, exported.err
    assert call("demos", "export", sampled, "--format", "hdf5", "--out", tmp_path / "out.h5").code == 1
    assert call("demos", "import", "--task", "cartpole", tmp_path / "out.h5", "--out", back).code == 0
    assert demonstrations.read(back).sha256() == demonstrations.read(sampled).sha256()
