"""Our own .npz files: any dtype, byte order and incompleteness that means the same is read, the rest is refused."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from format_helpers import LENGTHS, Trap, assert_equal, both, make, make_facts, refusal

from gailbench import demonstrations, formats
from gailbench.demonstrations import Demonstrations
from gailbench.plumbing.errors import GailbenchError

BARE = ("observations", "actions", "lengths")


def content(discrete=True, *names):
    """Arrays by name, all or those."""
    d = make(discrete)
    names = names or tuple(field.name for field in fields(d))
    return {name: np.asarray(getattr(d, name)) for name in names}


def store(path, discrete=True, **changes):
    """Write the bare arrays, with changes (None: without)."""
    arrays = {**content(discrete, *BARE), **changes}
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    return path


@both
def test_what_is_exported_is_imported_in_equal_arrays(discrete, tmp_path):
    path = formats.export(make(discrete), tmp_path / "new" / "demos.npz", "npz")
    imported = formats.read(path, make_facts(discrete))
    assert imported.format == formats.recognize(path) == "npz"
    assert imported.has_rewards
    assert imported.remarks == ()
    assert_equal(imported.demonstrations, make(discrete))
    assert imported.demonstrations.sha256() == make(discrete).sha256()


@both
def test_what_is_imported_is_written_and_read_as_ours(discrete, tmp_path):
    imported = formats.read(store(tmp_path / "bare.npz", discrete), make_facts(discrete)).demonstrations
    imported.write(tmp_path / "ours.npz")
    assert_equal(demonstrations.read(tmp_path / "ours.npz"), imported)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
@both
def test_byte_orders_and_precisions_are_normalized(discrete, kind, order, tmp_path):
    arrays = content(discrete)
    for name, values in arrays.items():
        if values.dtype.kind == "f":
            arrays[name] = values.astype(order + ("f8" if name == "rewards" else kind))
        if values.dtype.kind == "i":
            arrays[name] = values.astype(f"{order}i2")
        if values.dtype.kind == "U":
            arrays[name] = values.astype(values.dtype.newbyteorder(order))
    np.savez(tmp_path / "demos.npz", **arrays)
    assert_equal(formats.read(tmp_path / "demos.npz", make_facts(discrete)).demonstrations, make(discrete))


def test_column_major_arrays_are_read_in_the_right_order(tmp_path):
    path = store(tmp_path / "demos.npz", observations=np.asfortranarray(make(True).observations))
    assert_equal(formats.read(path, make_facts(True)).demonstrations, make(True), "rewards", "final_observations")


@both
def test_what_a_bare_file_lacks_is_filled_in_with_remarks(discrete, tmp_path):
    imported = formats.read(store(tmp_path / "demos.npz", discrete), make_facts(discrete))
    d, expected = imported.demonstrations, make(discrete)
    assert_equal(d, expected, "rewards", "final_observations")
    assert not d.rewards.any()
    assert not imported.has_rewards
    assert np.array_equal(d.final_observations, expected.observations[np.cumsum(LENGTHS) - 1])
    assert len(imported.remarks) == 3
    for words in ("no rewards", "no final observations", "how trajectories ended"):
        assert any(words in remark for remark in imported.remarks)


def test_offsets_are_those_that_sampling_with_the_seed_would_draw(tmp_path):
    """And depend on the seed; a file's own ones are kept."""
    path, facts = store(tmp_path / "demos.npz"), make_facts(True)
    assert np.array_equal(formats.read(path, facts).demonstrations.offsets, make(True).offsets)
    drawn = {
        formats.read(path, formats.Facts(**{**vars(facts), "seed": seed})).demonstrations.offsets.tobytes()
        for seed in range(6)
    }
    assert len(drawn) > 3
    store(path, offsets=np.array([2, 1, 0, 19], dtype=np.uint8))
    assert formats.read(path, facts).demonstrations.offsets.tolist() == [2, 1, 0, 19]


ENDS = np.zeros(16)
ENDS[[4, 5, 12, 15]] = 1
TIMEOUT = (np.arange(16) == 12).astype(float)
FIRST = (np.arange(16) == 4).astype(float)


@pytest.mark.parametrize(
    "marks",
    [
        {"dones": ENDS},
        {"dones": ENDS.astype(bool)[:, None]},
        {"terminals": ENDS - TIMEOUT, "timeouts": TIMEOUT},
        {"terminated": (ENDS - TIMEOUT).astype(bool), "truncated": TIMEOUT.astype(np.int8)},
        {"terminals": ENDS - TIMEOUT, "lengths": np.array(LENGTHS)},
        {"timeouts": TIMEOUT, "lengths": np.array(LENGTHS)},
        {"dones": ENDS, "lengths": np.array(LENGTHS, dtype=">u2")},
        {"terminated": np.array([1, 1, 0, 1]), "lengths": np.array(LENGTHS)},
        {"terminated": FIRST, "terminals": ENDS - TIMEOUT - FIRST, "truncated": TIMEOUT, "timeouts": np.zeros(16)},
        {"terminated": np.array([1, 0, 0, 0]), "terminals": ENDS - TIMEOUT - FIRST, "lengths": np.array(LENGTHS)},
        {"truncated": TIMEOUT, "timeouts": np.zeros(4), "lengths": np.array(LENGTHS)},
    ],
    ids=lambda marks: "-".join(marks),
)
def test_ends_per_pair_or_trajectory_give_the_same_trajectories(marks, tmp_path):
    path = store(tmp_path / "demos.npz", **{"lengths": None, **marks})
    assert_equal(formats.read(path, make_facts(True)).demonstrations, make(True), "rewards", "final_observations")


def test_a_trajectory_that_the_file_does_not_end_is_kept_with_a_remark(tmp_path):
    path = store(tmp_path / "demos.npz", lengths=None, terminals=ENDS - (np.arange(16) == 15), timeouts=TIMEOUT)
    imported = formats.read(path, make_facts(True))
    assert imported.demonstrations.lengths.tolist() == list(LENGTHS)
    assert not imported.demonstrations.terminated[3]
    assert any("no end in the file" in remark for remark in imported.remarks)
    assert any("1 trajectories neither terminated nor" in remark for remark in imported.remarks)


@pytest.mark.parametrize("name", ["dones", "terminals", "timeouts"])
def test_a_trajectory_that_the_file_does_not_end_did_not_terminate(name, tmp_path):
    path = store(tmp_path / "demos.npz", lengths=None, **{name: TIMEOUT})
    found = formats.read(path, make_facts(True)).demonstrations
    assert found.lengths.tolist() == [13, 3]
    assert (bool(found.terminated[1]), bool(found.truncated[1])) == (False, True)


def test_the_task_of_a_file_is_named_so_that_it_can_be_given(tmp_path):
    refusal(store(tmp_path / "demos.npz", task="cartpole"), "task 'cartpole', not 'mountaincar'; give --task cartpole")
    refusal(store(tmp_path / "demos.npz", task=["cartpole"]), "task 'cartpole', not 'mountaincar'")
    refusal(store(tmp_path / "demos.npz", task=["a", "b"]), "task is an array of <U1 of shape (2,), expected one text")
    refusal(store(tmp_path / "demos.npz", task="own"), "task 'own', not 'mountaincar'; give the id or the .toml file")


def test_where_actions_do_not_begin_at_zero_only_our_format_is_imported(tmp_path):
    facts = formats.Facts(**{**vars(make_facts(True)), "first_action": 1})
    d = make(True)
    assert np.array_equal(formats.read(store(tmp_path / "demos.npz"), facts).demonstrations.actions, d.actions)
    starts = np.zeros(16)
    starts[d.starts] = 1
    np.savez(tmp_path / "other.npz", obs=d.observations, actions=d.actions + 1, episode_starts=starts)
    with pytest.raises(GailbenchError, match=r"begin at 1, .* save an \.npz file of .* actions counted from 0"):
        formats.read(tmp_path / "other.npz", facts)


def test_trajectories_beyond_the_horizon_are_kept_with_a_remark(tmp_path):
    path = store(tmp_path / "demos.npz", lengths=np.array([8, 8]))
    imported = formats.read(path, make_facts(True))
    assert imported.demonstrations.lengths.tolist() == [8, 8]
    assert any("2 of 2 trajectories are longer" in remark and "horizon of 7" in remark for remark in imported.remarks)


def test_discrete_actions_may_be_whole_floats_or_have_an_axis_of_one(tmp_path):
    actions = make(True).actions
    for same in (
        actions.astype(np.float32),
        actions[:, None],
        actions.astype(">f8")[:, None],
        actions.astype(np.uint8),
    ):
        path = store(tmp_path / "demos.npz", actions=same)
        d = formats.read(path, make_facts(True)).demonstrations
        assert np.array_equal(d.actions, actions)
        assert d.actions.dtype == np.int64


def changed(values, row, value):
    values = np.array(values)
    values[row] = value
    return values


D, C = make(True), make(False)
REFUSED = {
    "fraction": ({"actions": changed(D.actions.astype(float), 3, 0.5)}, ("actions holds 0.5 in row 3", "0 to 2")),
    "action too large": ({"actions": changed(D.actions, 2, 3)}, ("actions holds 3 in row 2", "mountaincar")),
    "action that wraps": ({"actions": changed(D.actions.astype(np.uint64), 2, 2**63)}, (f"{2**63} in row 2",)),
    "nan action": ({"actions": changed(D.actions.astype(float), 3, np.nan)}, ("actions holds nan in row 3",)),
    "one-hot": ({"actions": np.eye(3)[D.actions]}, ("(16, 3)", "one-hot", "argmax")),
    "boolean actions": ({"actions": D.actions > 0}, ("bool", "int64")),
    "observations of another task": ({"observations": np.zeros((16, 4))}, ("(16, 4)", "(16, 2)", "mountaincar")),
    "flat observations": ({"observations": np.zeros(16)}, ("(16,)", "(16, 2)")),
    "one number": ({"observations": np.float64(1)}, ("16", "0 pairs")),
    "text": ({"observations": np.full((16, 2), "x")}, ("observations", "<U1", "numbers")),
    "complex": ({"observations": np.zeros((16, 2), complex)}, ("observations", "complex128")),
    "nan": ({"observations": changed(D.observations, (7, 1), np.nan)}, ("observations holds nan in row 7",)),
    "overflow": ({"observations": changed(D.observations.astype(float), (7, 1), 1e39)}, ("1e+39 in row 7", "float32")),
    "infinite reward": ({"rewards": changed(D.rewards, 1, -np.inf)}, ("rewards holds -inf in row 1",)),
    "reward missing": ({"rewards": D.rewards[1:]}, ("rewards", "(15,)", "(16,)")),
    "final observations": ({"final_observations": np.zeros((3, 2))}, ("final_observations", "(3, 2)", "(4, 2)")),
    "nan final": ({"final_observations": np.full((4, 2), np.nan)}, ("final_observations holds nan in row 0",)),
    "other sum": ({"lengths": np.array([5, 1, 7, 4])}, ("lengths sum to 17", "16 pairs")),
    "empty one": ({"lengths": np.array([5, 1, 7, 3, 0])}, ("length 0", "at least 1")),
    "negative": ({"lengths": np.array([-5, 11, 7, 3])}, ("length -5",)),
    "sum that wraps": ({"lengths": np.array([2**63, 2**63, 16], dtype=np.uint64)}, (f"{2**64 + 16}", "16 pairs")),
    "float lengths": ({"lengths": np.array([5.0, 1, 7, 3])}, ("lengths", "float64", "integers")),
    "no trajectory": (
        {"lengths": np.zeros(0, int), "observations": np.zeros((0, 2)), "actions": D.actions[:0]},
        ("(0,)",),
    ),
    "no ends": ({"lengths": None}, ("lacks lengths",)),
    "flags of another length": ({"lengths": None, "dones": np.ones(4)}, ("dones", "(4,)", "(16,)")),
    "flags that are none": ({"dones": np.full(16, 2)}, ("dones holds 2",)),
    "flags of floats": ({"terminated": np.full(4, "x")}, ("terminated", "<U1")),
    "end within": ({"dones": changed(ENDS, 2, 1)}, ("dones marks pair 2",)),
    "too few flags": ({"terminated": np.zeros(3)}, ("terminated", "(3,)", "(4,)")),
    "offsets": ({"offsets": np.zeros(4)}, ("offsets", "integers")),
    "negative offsets": ({"offsets": np.full(4, -1)}, ("offsets", "negative")),
    "other task": ({"task": np.array("hopper")}, ("'hopper'", "'mountaincar'", "--task hopper")),
    "other format": ({"format": np.array(3)}, ("format 3", "reads 2")),
    "other actions": ({"num_actions": np.array(2)}, ("num_actions is 2", "expected 3")),
    "control characters": ({"expert_sha256": np.array("a\x1b[2J")}, ("expert_sha256 is 'a\\x1b[2J'", "printable")),
    "two seeds": ({"seed": np.array([1, 2])}, ("seed", "(2,)", "one integer")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_array_and_values(case, tmp_path):
    changes, words = REFUSED[case]
    refusal(store(tmp_path / "demos.npz", **changes), *words)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (C.actions[:, :2], ("actions", "(16, 2)", "(16, 3)")),
        (C.actions[:, 0], ("(16,)", "(16, 3)")),
        (C.actions[:15], ("(15, 3)",)),
        (changed(C.actions, (4, 0), np.inf), ("actions holds inf in row 4",)),
    ],
    ids=["fewer numbers", "flat", "fewer rows", "infinite"],
)
def test_continuous_actions_that_do_not_fit_are_refused(actions, words, tmp_path):
    refusal(store(tmp_path / "demos.npz", False, actions=actions), *words, discrete=False)


def test_pickles_are_never_loaded(tmp_path):
    Trap.sprung = False
    for name in (*BARE, "rewards", "dones", "task", "seed"):
        path = store(tmp_path / "demos.npz", **{name: np.array([Trap()], dtype=object)})
        refusal(path, name, "pickled", "np.savez")
    assert not Trap.sprung
    path = store(tmp_path / "demos.npz", extra=np.array([Trap()], dtype=object))
    assert isinstance(formats.read(path, make_facts(True)).demonstrations, Demonstrations)  # nobody reads it
    assert not Trap.sprung
