"""Files of arrays and JSON: what is written is read, and anything else is refused in one line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from gailbench.plumbing import checkpoints
from gailbench.plumbing.errors import GailbenchError
from gailbench.policy import Policy, policy_bytes, read_policy

ARRAYS = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "sums": np.array([1.5, -2.0]),
    "times": np.array([3, 4, 5]),
    "done": np.array([True, False]),
    "state": np.frombuffer(b"{}", dtype=np.uint8),
    "empty": np.empty((0, 3)),
}
CONTENT = {"iteration": 12, "history": [0.1, 2.0], "name": "größe", "nested": {"b": None, "a": True}}


def refusal(path, kind="checkpoint"):
    """The message with which that file is refused: one line that names the file."""
    with pytest.raises(GailbenchError) as caught:
        checkpoints.read(path, kind)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def written(tmp_path, data):
    path = tmp_path / "file.safetensors"
    path.write_bytes(data)
    return path


def test_what_is_written_is_read(tmp_path):
    checkpoints.write(tmp_path / "file", "checkpoint", ARRAYS, CONTENT)
    arrays, content = checkpoints.read(tmp_path / "file", "checkpoint")
    assert content == CONTENT
    assert arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        assert arrays[name].dtype == values.dtype
        assert arrays[name].shape == values.shape
        assert np.array_equal(arrays[name], values)


def test_scalars_keep_their_shape(tmp_path):
    checkpoints.write(tmp_path / "file", "checkpoint", {"scalar": np.array(7.0)}, {})
    arrays, _ = checkpoints.read(tmp_path / "file", "checkpoint")
    assert arrays["scalar"].shape == ()


def test_strided_arrays_are_stored_by_their_values(tmp_path):
    """safetensors alone would store the memory behind a transposed array."""
    values = np.arange(12.0).reshape(3, 4)
    checkpoints.write(tmp_path / "file", "checkpoint", {"t": values.T, "s": values[:, ::2]}, {})
    arrays, _ = checkpoints.read(tmp_path / "file", "checkpoint")
    assert np.array_equal(arrays["t"], values.T)
    assert np.array_equal(arrays["s"], values[:, ::2])


def test_equal_input_gives_equal_bytes():
    """Whatever the order of the names; a hundred times, for hash maps of random order showed in some only."""
    data = checkpoints.to_bytes("checkpoint", ARRAYS, CONTENT)
    for _ in range(100):
        assert checkpoints.to_bytes("checkpoint", dict(ARRAYS), dict(CONTENT)) == data
    arrays, content = (dict(reversed(mapping.items())) for mapping in (ARRAYS, CONTENT))
    assert checkpoints.to_bytes("checkpoint", arrays, content) == data


def test_equal_policies_give_equal_bytes_in_another_process():
    program = (
        "import sys, numpy as np; from gailbench.policy import Policy, policy_bytes; "
        "sys.stdout.write(policy_bytes(Policy(3, 2, False, generator=np.random.default_rng(0))).hex())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    data = policy_bytes(Policy(3, 2, False, generator=np.random.default_rng(0)))
    assert bytes.fromhex(other.stdout) == data


def test_other_input_gives_other_bytes():
    data = checkpoints.to_bytes("checkpoint", ARRAYS, CONTENT)
    assert checkpoints.to_bytes("policy", ARRAYS, CONTENT) != data
    assert checkpoints.to_bytes("checkpoint", ARRAYS, {**CONTENT, "iteration": 13}) != data
    assert checkpoints.to_bytes("checkpoint", {**ARRAYS, "sums": np.array([1.5, 2.0])}, CONTENT) != data


@pytest.mark.parametrize("kind", ["checkpoint", "policy"])
def test_missing_files_are_named(tmp_path, kind):
    assert refusal(tmp_path / "none", kind) == f"no {kind} file at {tmp_path / 'none'}"


def test_truncated_files_are_refused(tmp_path):
    data = checkpoints.to_bytes("checkpoint", ARRAYS, CONTENT)
    for length in range(len(data)):
        refusal(written(tmp_path, data[:length]))


def test_files_with_something_behind_them_are_refused(tmp_path):
    refusal(written(tmp_path, checkpoints.to_bytes("checkpoint", ARRAYS, CONTENT) + b"x"))


@pytest.mark.parametrize(
    "data",
    [
        b"task,return\nhopper,3571\n" * 20,
        b"PK\x03\x04" + bytes(200),
        bytes(200),
        np.random.default_rng(0).bytes(500),
        safetensors.numpy.save({"w": np.zeros(3)}),
        safetensors.numpy.save({"w": np.zeros(3)}, {"format": "pt"}),
        # NumPy has no bfloat16, which most published models are stored in.
        safetensors.torch.save({"w": torch.zeros(3, dtype=torch.bfloat16)}, {"format": "pt"}),
    ],
    ids=["text", "zip", "zeros", "noise", "tensors", "model", "bfloat16 model"],
)
def test_foreign_files_are_refused(tmp_path, data):
    refusal(written(tmp_path, data))


def test_folders_are_refused(tmp_path):
    refusal(tmp_path)


@pytest.mark.parametrize(("kind", "other"), [("policy", "checkpoint"), ("checkpoint", "policy")])
def test_files_of_another_kind_are_refused(tmp_path, kind, other):
    path = written(tmp_path, checkpoints.to_bytes(kind, ARRAYS, CONTENT))
    checkpoints.read(path, kind)
    assert f"not a {other} of gailbench" in refusal(path, other)


def test_files_of_another_format_are_refused(tmp_path, monkeypatch):
    current = checkpoints.FORMAT
    monkeypatch.setattr(checkpoints, "FORMAT", current + 1)
    path = written(tmp_path, checkpoints.to_bytes("checkpoint", ARRAYS, CONTENT))
    monkeypatch.undo()
    message = refusal(path)
    assert f"has format {current + 1};" in message
    assert message.endswith(f"reads format {current}")


def test_a_damaged_header_is_refused(tmp_path):
    """Any one byte of the header changed: the file is refused in one line, or reads as if nothing were."""
    data = checkpoints.to_bytes("checkpoint", {"w": np.zeros(1)}, {"n": 1})
    header = 8 + int.from_bytes(data[:8], "little")
    messages = []
    for position in range(header):
        damaged = bytearray(data)
        damaged[position] ^= 0x41
        path = written(tmp_path, bytes(damaged))
        try:
            checkpoints.read(path, "checkpoint")
        except GailbenchError as error:
            messages.append(str(error))
    assert len(messages) > header / 2
    assert all("\n" not in message and str(path) in message for message in messages)


def test_failed_writing_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    checkpoints.write(path, "checkpoint", ARRAYS, {"n": 1})
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.write(path, "checkpoint", ARRAYS, {"n": 2})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_policies_are_read_as_they_were_written(tmp_path):
    policy = Policy(5, 2, False, hidden=(7,), activation="leaky_relu", generator=np.random.default_rng(0))
    policy.network.weights[-1].data[:] = torch.linspace(-1, 1, 14).reshape(7, 2)
    policy.log_std.data[:] = torch.tensor([-0.5, 0.25])
    policy.standardizer.update(np.random.default_rng(1).standard_normal((9, 5)))
    again = read_policy(written(tmp_path, policy_bytes(policy)))
    assert again.configuration() == policy.configuration()
    observations = np.random.default_rng(2).standard_normal((4, 5), dtype=np.float32)
    noise = np.ones((4, 2), dtype=np.float32)
    for a, b in zip(policy.actor()(observations, noise), again.actor()(observations, noise), strict=True):
        assert np.array_equal(a, b)
    assert policy_bytes(again) == policy_bytes(policy)


@pytest.mark.parametrize(
    "change",
    [
        {"configuration": {"observation_dim": 6}},
        {"configuration": {"action_dim": 3}},
        {"configuration": {"colour": "red"}},
        {"configuration": {"hidden": [8]}},
        {"without": "log_std"},
        {"without": "standardizer.sum"},
    ],
)
def test_policies_of_another_shape_than_they_say_are_refused(tmp_path, change):
    policy = Policy(5, 2, False, hidden=(7,))
    state, configuration = policy.state(), policy.configuration()
    configuration.update(change.get("configuration", {}))
    if "without" in change:
        assert state.pop(change["without"]) is not None
    path = written(tmp_path, checkpoints.to_bytes("policy", state, configuration))
    with pytest.raises(GailbenchError) as caught:
        read_policy(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
