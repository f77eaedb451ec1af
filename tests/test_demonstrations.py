"""Demonstrations: whole first episodes, their bookkeeping, subsamples, and files that are read or refused."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace

import gymnasium
import numpy as np
import pytest

from gailbench import demonstrations
from gailbench.demonstrations import Demonstrations, read, sample
from gailbench.plumbing.errors import GailbenchError
from gailbench.policy import Policy
from gailbench.simulation.classic import ClassicPhysics
from gailbench.tasks import TASKS

LENGTHS = (5, 1, 7, 3)
K = len(LENGTHS)


class Numbered(gymnasium.Env):
    """Observes (label of the episode, number of the environment's episode, steps taken).

    Episodes terminate after 2 to 11 steps; each step's reward is 10 x episode + steps taken before.
    """

    observation_space = gymnasium.spaces.Box(0, 2**20, (3,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)
    episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.label = int(self.np_random.integers(2**20))
        self.length = int(self.np_random.integers(2, 12))
        self.count = 0
        return np.array([self.label, self.episode, 0.0]), {}

    def step(self, action):
        reward = 10.0 * self.episode + self.count
        self.count += 1
        observation = np.array([self.label, self.episode, self.count], dtype=np.float64)
        return observation, reward, self.count >= self.length, False, {}


@pytest.fixture
def numbered():
    """A task of numbered steps, some of whose episodes terminate, some reach the limit, some do both at once."""
    gymnasium.register("GailbenchNumbered-v0", entry_point=Numbered, disable_env_checker=True)
    yield replace(TASKS["cartpole"], name="numbered", environment="GailbenchNumbered-v0", horizon=8)
    del gymnasium.registry["GailbenchNumbered-v0"]


def by_hand(discrete=True):
    """Trajectories of 5, 1, 7 and 3 pairs; observations are (trajectory, step), the last one's step the length."""
    trajectory = np.repeat(np.arange(K), LENGTHS)
    step = np.concatenate([np.arange(length) for length in LENGTHS])
    observations = np.column_stack((trajectory, step)).astype(np.float32)
    return Demonstrations(
        task="cartpole",
        num_actions=2,
        expert_sha256="ab",
        seed=3,
        observations=observations,
        actions=step % 2 if discrete else observations / 8,
        rewards=100.0 * trajectory + step,
        lengths=np.array(LENGTHS),
        terminated=np.array([True, False, True, False]),
        truncated=np.array([False, True, True, True]),
        final_observations=np.column_stack((np.arange(K), LENGTHS)).astype(np.float32),
        offsets=np.array([1, 0, 2, 2]),
    )


def assert_equal(a, b):
    for field in fields(Demonstrations):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, np.ndarray):
            assert (left.dtype, left.shape) == (right.dtype, right.shape), field.name
            assert left.tobytes() == right.tobytes(), field.name
        else:
            assert left == right, field.name
            assert type(left) is type(right), field.name


class TestTrajectories:
    def test_starts_times_and_returns_equal_a_slow_count(self):
        d = by_hand()
        assert (d.trajectories, d.discrete) == (4, True)
        assert not by_hand(discrete=False).discrete
        starts, times, returns = [], [], []
        row = 0
        for length in LENGTHS:
            starts.append(row)
            total = 0.0
            for t in range(length):
                times.append(t)
                total += d.rewards[row]
                row += 1
            returns.append(total)
        assert d.starts.tolist() == starts == [0, 5, 6, 13]
        assert d.times.tolist() == times
        assert d.returns.tolist() == returns == [10.0, 100.0, 1421.0, 903.0]

    def test_next_observations_stay_within_the_trajectory(self):
        d = by_hand()
        assert np.array_equal(d.next_observations, d.observations + np.array([0, 1]))
        assert d.next_observations[4].tolist() == [0, 5]  # not the second trajectory's first, (1, 0)

    def test_ends_are_the_last_pairs_of_trajectories_that_terminated(self):
        """The first and the third trajectory: pairs 0 to 4 and 6 to 12."""
        assert np.flatnonzero(by_hand().ends).tolist() == [4, 12]

    def test_looking_does_not_change_them(self):
        d, untouched = by_hand(), by_hand()
        for name in ("next_observations", "times", "starts", "returns", "ends"):
            getattr(d, name)[:] = 0
        d.subset(4, 3).observations[:] = 0
        assert_equal(d, untouched)


class TestSubset:
    def test_every_third_pair_is_kept_from_its_offset(self):
        """Offsets 1, 0, 2, 2; the last trajectory has one pair there, (3, 2)."""
        pairs = by_hand().subset(4, 3)
        assert pairs.observations.tolist() == [[0, 1], [0, 4], [1, 0], [2, 2], [2, 5], [3, 2]]
        assert pairs.actions.tolist() == [1, 0, 0, 0, 1, 0]
        assert (len(pairs), pairs.num_actions, pairs.discrete) == (6, 2, True)

    def test_continuous_actions_stay_with_their_observations(self):
        pairs = by_hand(discrete=False).subset(4, 3)
        assert np.array_equal(pairs.actions, pairs.observations / 8)
        assert not pairs.discrete

    def test_every_pair_is_kept_with_k_of_1(self):
        d = by_hand()
        pairs = d.subset(4, 1)
        assert np.array_equal(pairs.observations, d.observations)
        assert np.array_equal(pairs.actions, d.actions)

    @pytest.mark.parametrize(("trajectories", "keep_every"), [(4, 3), (2, 1), (3, 2)])
    def test_kept_tells_which_pairs_a_subset_is(self, trajectories, keep_every):
        d = by_hand()
        rows, pairs = d.kept(trajectories, keep_every), d.subset(trajectories, keep_every)
        assert np.array_equal(d.observations[rows], pairs.observations)
        assert np.array_equal(d.actions[rows], pairs.actions)
        assert np.array_equal(d.next_observations[rows], pairs.observations + np.array([0, 1]))

    @pytest.mark.parametrize("keep_every", [1, 2, 3])
    def test_smaller_sizes_are_prefixes_of_larger_ones(self, keep_every):
        d = by_hand()
        largest = d.subset(K, keep_every)
        lengths = []
        for size in range(1, K + 1):
            pairs = d.subset(size, keep_every)
            assert np.array_equal(pairs.observations, largest.observations[: len(pairs)])
            assert np.array_equal(pairs.actions, largest.actions[: len(pairs)])
            assert set(pairs.observations[:, 0]) <= set(range(size))
            lengths.append(len(pairs))
        assert lengths == sorted(set(lengths))  # each trajectory adds pairs

    @pytest.mark.parametrize("keep_every", [1, 2, 3, 5])
    def test_subsets_equal_a_slow_walk(self, keep_every):
        """An offset drawn for a larger k is taken modulo k, so that it lies within [0, k)."""
        d = by_hand()
        kept = []
        for row, (trajectory, step) in enumerate(d.observations.astype(int)):
            offset = d.offsets[trajectory] % keep_every
            if step >= offset and (step - offset) % keep_every == 0:
                kept.append(row)
        pairs = d.subset(K, keep_every)
        assert np.array_equal(pairs.observations, d.observations[kept])
        assert np.array_equal(pairs.actions, d.actions[kept])

    def test_larger_sizes_than_the_demonstrations_are_refused(self):
        with pytest.raises(GailbenchError) as caught:
            by_hand().subset(7, 3)
        message = str(caught.value)
        assert "size 7 " in message
        assert "hold 4 trajectories" in message
        assert "\n" not in message

    def test_four_full_length_trajectories_are_200_pairs(self):
        """The paper's MuJoCo tasks: 1000 steps, every 20th pair; whatever the offsets."""
        steps = np.arange(4_000)
        d = replace(
            by_hand(),
            observations=steps[:, None].astype(np.float32),
            actions=steps % 2,
            rewards=np.ones(4_000),
            lengths=np.full(4, 1_000),
            offsets=np.array([0, 7, 13, 19]),
        )
        assert len(d.subset(4, TASKS["hopper"].keep_every)) == 200


class TestSample:
    def test_trajectories_are_one_episode_of_each_environment(self, numbered):
        """Taking episodes as they finish would favor short ones, and bring later episodes."""
        policy = Policy(3, 2, True, generator=np.random.default_rng(0))
        d = sample(numbered, policy, "ab", 60, 0)
        assert d.trajectories == 60
        assert (d.observations[:, 1] == 1).all()
        assert np.array_equal(d.observations[:, 2], d.times)
        assert np.array_equal(d.rewards, 10 + d.times)
        # The next observation carries the same episode's label, and one step more, at its end too.
        assert np.array_equal(d.next_observations - d.observations, np.tile([0, 0, 1], (len(d.times), 1)))
        assert np.array_equal(d.final_observations[:, 2], d.lengths)
        assert np.array_equal(d.observations[d.starts, 0], d.final_observations[:, 0])
        assert len(np.unique(d.final_observations[:, 0])) == 60

    def test_terminated_and_truncated_tell_how_each_ended(self, numbered):
        d = sample(numbered, Policy(3, 2, True), "ab", 60, 0)
        assert np.array_equal(d.truncated, d.lengths == 8)
        assert d.terminated[d.lengths < 8].all()
        assert not d.terminated[d.truncated].all()  # lengths of 9 to 11 were cut ...
        assert d.terminated[d.truncated].any()  # ... and those of 8 ended by themselves just then
        assert (~d.truncated).sum() > 20

    def test_whole_trajectories_of_a_real_task(self):
        d = sample(TASKS["cartpole"], Policy(4, 2, True), "ab", 10, 0)
        assert (d.task, d.num_actions, d.expert_sha256, d.seed) == ("cartpole", 2, "ab", 0)
        assert d.observations.dtype == d.final_observations.dtype == np.float32
        assert (d.actions.dtype, d.rewards.dtype) == (np.int64, np.float64)
        assert np.array_equal(d.returns, d.lengths)
        # Cart-pole starts within 0.05 of upright, and ends when the pole leans by 12 degrees.
        assert abs(d.observations[d.starts]).max() <= 0.05
        limit = 12 * 2 * np.pi / 360
        assert (abs(d.final_observations[:, 2]) > limit).all()
        assert (abs(d.observations[:, 2]) < limit).all()
        demonstrations.check(d)

    def test_actions_are_the_stochastic_policys(self):
        policy = Policy(10, 2, False)  # zero output layer: means of 0, deviations of 1
        d = sample(TASKS["reacher"], policy, "", 18, 0)
        assert d.actions.shape == (18 * 50, 2)
        assert d.actions.dtype == np.float32
        assert d.lengths.tolist() == [50] * 18
        assert abs(d.actions.mean()) < 4.5 / np.sqrt(1_800)
        assert abs((d.actions**2).mean() - 1) < 4.5 * np.sqrt(2 / 1_800)
        assert (d.truncated & ~d.terminated).all()

    def test_numbers_that_are_not_finite_cannot_be_demonstrations(self, monkeypatch):
        step = ClassicPhysics.step

        def without_rewards(physics, actions):
            observations, rewards, *ends = step(physics, actions)
            return observations, np.full_like(rewards, np.nan), *ends

        monkeypatch.setattr(ClassicPhysics, "step", without_rewards)
        with pytest.raises(GailbenchError, match="cannot be demonstrations: rewards holds a number in row 0"):
            sample(TASKS["cartpole"], Policy(4, 2, True), "", 1, 0)

    def test_offsets_lie_below_k_and_take_all_values(self):
        task = replace(TASKS["cartpole"], horizon=2)
        offsets = sample(task, Policy(4, 2, True), "", 300, 0).offsets
        assert sorted(set(offsets.tolist())) == list(range(10))

    def test_equal_seeds_give_equal_demonstrations(self):
        policy = Policy(4, 2, True)
        first, again, other = (sample(TASKS["cartpole"], policy, "", 5, seed) for seed in (1, 1, 2))
        assert_equal(first, again)
        assert first.sha256() == again.sha256() != other.sha256()
        assert not np.array_equal(first.observations[0], other.observations[0])
        assert len({sample(TASKS["cartpole"], policy, "", 9, seed).offsets.tobytes() for seed in (1, 2)}) == 2


class TestFiles:
    @pytest.mark.parametrize("task", ["cartpole", "reacher"])
    def test_what_is_sampled_is_read_in_the_same_bytes(self, task, tmp_path):
        policy = Policy(4, 2, True) if task == "cartpole" else Policy(10, 2, False)
        d = sample(TASKS[task], policy, "0123", 4, 7)
        path = tmp_path / "new" / "folder" / "demos.npz"
        d.write(path)
        again = read(path)
        assert_equal(d, again)
        assert again.sha256() == d.sha256()
        again.write(tmp_path / "again.npz")
        assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
        assert list(path.parent.iterdir()) == [path]

    def test_the_hash_sees_every_number_that_matters(self):
        d = by_hand()
        names = [field.name for field in fields(d) if isinstance(getattr(d, field.name), np.ndarray)]
        hashes = {d.sha256()}
        for name in names:
            values = getattr(d, name).copy()
            values[-1] = ~values[-1] if values.dtype == bool else values[-1] + 1
            hashes.add(replace(d, **{name: values}).sha256())
        assert len(hashes) == 1 + len(names) == 9

    def test_missing_files_are_named_with_what_makes_them(self, tmp_path):
        message = refusal(tmp_path / "none.npz")
        assert "gailbench demos sample" in message

    def test_truncated_files_are_refused(self, tmp_path):
        by_hand().write(tmp_path / "whole.npz")
        data = (tmp_path / "whole.npz").read_bytes()
        path = tmp_path / "demos.npz"
        for length in [*range(0, len(data), 61), len(data) - 1]:
            path.write_bytes(data[:length])
            refusal(path)

    @pytest.mark.parametrize("bits", [0x01, 0xFF])
    def test_damaged_files_are_refused(self, bits, tmp_path):
        """Any one byte changed: the file is refused in one line, or nothing that was read has changed."""
        d = by_hand()
        d.write(tmp_path / "whole.npz")
        data = (tmp_path / "whole.npz").read_bytes()
        path = tmp_path / "demos.npz"
        messages = []
        for position in range(0, len(data), 3):
            damaged = bytearray(data)
            damaged[position] ^= bits
            path.write_bytes(damaged)
            try:
                assert_equal(read(path), d)
            except GailbenchError as error:
                messages.append(str(error))
        assert len(messages) > len(data) / 6
        assert all("\n" not in message and str(path) in message for message in messages)

    def test_foreign_files_are_refused(self, tmp_path):
        path = tmp_path / "demos.npz"
        path.write_text("task,return\nhopper,3571\n")
        refusal(path)
        path.write_bytes(b"")
        refusal(path)
        path.write_bytes(pickle.dumps({"observations": [1.0]}))
        refusal(path)
        with path.open("wb") as stream:
            np.save(stream, np.zeros(3))
        refusal(path)
        np.savez(path, x=np.zeros(3))
        assert "lacks" in refusal(path)
        refusal(tmp_path)  # a folder

    @pytest.mark.parametrize("names", ["observations actions lengths", "obs acs", "states actions episode_starts"])
    def test_a_file_that_an_import_converts_is_refused_with_this_advice(self, names, tmp_path):
        np.savez(tmp_path / "demos.npz", **dict.fromkeys(names.split(), np.zeros((3, 2))))
        message = refusal(tmp_path / "demos.npz")
        assert "of gailbench: it lacks " in message
        assert "; 'gailbench demos import' converts files of other programs" in message

    def test_text_is_not_called_a_damaged_file(self, tmp_path):
        (tmp_path / "demos.npz").write_text("task,return\nhopper,3571\n")
        message = refusal(tmp_path / "demos.npz")
        assert "is text, it begins with b'task,return" in message
        assert "np.savez" in message
        assert "damaged" not in message

    def test_a_text_on_an_axis_of_its_own_is_that_text(self, tmp_path):
        store(tmp_path / "demos.npz", task=np.array(["cartpole"]), seed=np.array([3]))
        assert_equal(demonstrations.read(tmp_path / "demos.npz"), by_hand())

    def test_rewards_whose_sums_are_infinite_are_refused(self, tmp_path):
        store(tmp_path / "demos.npz", rewards=np.full(16, 1.7e308))
        assert "rewards holds a number in row 0 that is not finite or too large" in refusal(tmp_path / "demos.npz")

    def test_pickles_in_a_file_are_never_loaded(self, tmp_path):
        Trap.sprung = False
        for name in ("observations", "task"):
            store(tmp_path / "demos.npz", **{name: np.array([Trap()], dtype=object)})
            refusal(tmp_path / "demos.npz")
        store(tmp_path / "demos.npz", extra=np.array([Trap()], dtype=object))
        demonstrations.read(tmp_path / "demos.npz")  # what is of no use is not looked at
        assert not Trap.sprung

    def test_files_that_lack_an_array_are_refused(self, tmp_path):
        for field in fields(Demonstrations):
            if field.name == "stated_sha256":  # files of the first format have none
                continue
            store(tmp_path / "demos.npz", **{field.name: None})
            assert f"lacks {field.name}" in refusal(tmp_path / "demos.npz")
        store(tmp_path / "demos.npz", format=None)
        assert "lacks format" in refusal(tmp_path / "demos.npz")

    def test_files_of_another_format_are_refused(self, tmp_path):
        store(tmp_path / "demos.npz", format=np.array(demonstrations.FORMAT + 1))
        message = refusal(tmp_path / "demos.npz")
        assert f"format {demonstrations.FORMAT + 1};" in message
        assert message.endswith(f"reads {demonstrations.FORMAT}")

    @pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("name", ["observations", "actions", "rewards", "final_observations"])
    def test_non_finite_numbers_are_named_with_their_row(self, name, number, tmp_path):
        d = by_hand(discrete=False)
        values = getattr(d, name).copy()
        values[2] = number
        replace(d, **{name: values}).write(tmp_path / "demos.npz")
        assert f"{name} holds a number in row 2 that is not finite" in refusal(tmp_path / "demos.npz")

    @pytest.mark.parametrize("lengths", [(5, 1, 7, 4), (5, 1, 7, 2), (5, 1, 7), (5, 0, 7, 4), (-5, 11, 7, 3), ()])
    def test_lengths_that_do_not_fit_are_refused(self, lengths, tmp_path):
        store(tmp_path / "demos.npz", lengths=np.array(lengths, dtype=np.int64))
        assert "damaged" in refusal(tmp_path / "demos.npz")

    @pytest.mark.parametrize("name", ["actions", "rewards", "terminated", "truncated", "final_observations", "offsets"])
    @pytest.mark.parametrize("by", [-1, 1])
    def test_arrays_of_other_lengths_are_refused(self, name, by, tmp_path):
        values = getattr(by_hand(), name)
        store(tmp_path / "demos.npz", **{name: values[:-1] if by < 0 else np.concatenate((values, values[-1:]))})
        message = refusal(tmp_path / "demos.npz")
        assert f"{name} has {len(values) + by} rows, expected {len(values)}" in message

    @pytest.mark.parametrize(
        "arrays",
        [
            {"actions": np.full(16, 2)},  # of two actions, 0 and 1
            {"actions": np.full(16, -1)},
            {"actions": np.zeros((16, 3), dtype=np.float32)},  # num_actions is 2
            {"actions": np.zeros((16, 2, 1), dtype=np.float32)},
            {"observations": np.zeros(16, dtype=np.float32)},
            {"observations": np.zeros((16, 3), dtype=np.float32)},  # final ones have 2 numbers
            {"observations": np.full((16, 2), "x")},
            {"rewards": np.array(1.0)},
            {"rewards": np.zeros((16, 2))},
            {"rewards": np.full(16, "x")},
            {"lengths": np.array(LENGTHS, dtype=np.float64)},
            {"lengths": np.array(["5", "1", "7", "3"])},
            {"offsets": np.full(4, np.nan)},
            {"offsets": np.full(4, 0.5)},
            {"terminated": np.array([0.5, 1.0, 2.0, 3.0])},
            {"format": np.array("x")},
            {"format": np.array([1, 1])},
            {"num_actions": np.array("two")},
            {"seed": np.array([1, 2])},
        ],
        ids=lambda arrays: "-".join(f"{k}-{v.dtype.kind}{'x'.join(map(str, v.shape))}" for k, v in arrays.items()),
    )
    def test_arrays_of_other_shapes_and_types_are_refused(self, arrays, tmp_path):
        store(tmp_path / "demos.npz", **arrays)
        refusal(tmp_path / "demos.npz")

    def test_files_in_places_that_cannot_be_written_are_refused(self, tmp_path):
        """Below a regular file, where not even root can write."""
        (tmp_path / "file").write_text("x")
        for path in (tmp_path / "file" / "demos.npz", tmp_path / "file" / "folder" / "demos.npz"):
            with pytest.raises(GailbenchError) as caught:
                by_hand().write(path)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == [tmp_path / "file"]

    def test_nothing_half_written_is_left_behind(self, tmp_path, monkeypatch):
        path = tmp_path / "demos.npz"
        by_hand().write(path)
        before = path.read_bytes()

        def fail(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", fail)
            with pytest.raises(GailbenchError, match="No space left"):
                by_hand(discrete=False).write(path)
        assert path.read_bytes() == before
        (tmp_path / "taken").mkdir()
        with pytest.raises(GailbenchError):
            by_hand().write(tmp_path / "taken")
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["demos.npz", "taken"]


class Trap:
    """Its pickle calls `spring` when it is loaded."""

    sprung = False

    def __reduce__(self):
        return spring, ()


def spring():
    Trap.sprung = True


def store(path, **changes):
    """Write the file as `Demonstrations.write` would, with other arrays (None: without)."""
    d = by_hand()
    content = {field.name: np.asarray(getattr(d, field.name)) for field in fields(d)}
    content["format"] = np.array(demonstrations.FORMAT)
    content.update(changes)
    np.savez(path, **{name: values for name, values in content.items() if values is not None})


def refusal(path):
    """The message with which that file is refused: one line that names the file."""
    with pytest.raises(GailbenchError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message
