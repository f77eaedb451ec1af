"""The .npz files of OpenAI's baselines, Stable-Baselines and IL-Datasets, and old ones of imitation."""

from __future__ import annotations

import numpy as np
import pytest
from format_helpers import LENGTHS, Trap, assert_equal, both, make, make_facts, refusal

from gailbench import formats

FILLED = ("final_observations",)  # what these files lack


def padded(values, steps=7):
    """(K, T, ...) by a loop."""
    result = np.zeros((len(LENGTHS), steps, *values.shape[1:]), values.dtype)
    start = 0
    for row, length in enumerate(LENGTHS):
        result[row, :length] = values[start : start + length]
        start += length
    return result


def baselines(path, discrete, **changes):
    d = make(discrete)
    arrays = {"obs": padded(d.observations), "acs": padded(d.actions), "rews": padded(d.rewards), "ep_rets": d.returns}
    np.savez(path, **{**arrays, **changes})
    return path


class TestBaselines:
    @both
    def test_padded_arrays_are_read_without_their_padding(self, discrete, tmp_path):
        imported = formats.read(baselines(tmp_path / "demos.npz", discrete), make_facts(discrete))
        assert imported.format == "baselines-npz"
        assert_equal(imported.demonstrations, make(discrete), *FILLED)
        assert imported.has_rewards
        assert any("padding" in remark and "12 in all" in remark for remark in imported.remarks)

    def test_pairs_with_any_number_but_0_are_no_padding(self, tmp_path):
        obs, acs, rews = np.zeros((3, 4, 2)), np.zeros((3, 4, 3)), np.zeros((3, 4))
        obs[0, 3, 1] = acs[1, 2, 0] = rews[2, 1] = 1
        np.savez(tmp_path / "demos.npz", obs=obs, acs=acs, rews=rews)
        assert formats.read(tmp_path / "demos.npz", make_facts(False)).demonstrations.lengths.tolist() == [4, 3, 2]
        np.savez(tmp_path / "demos.npz", obs=obs * 0, acs=acs * 0)
        assert formats.read(tmp_path / "demos.npz", make_facts(False)).demonstrations.lengths.tolist() == [4, 4, 4]

    def test_arrays_of_one_length_are_read_whole(self, tmp_path):
        generator = np.random.default_rng(0)
        obs, acs = generator.normal(size=(3, 4, 2)), generator.normal(size=(3, 4, 3))
        np.savez(tmp_path / "demos.npz", obs=obs, acs=acs, rews=np.ones((3, 4)), ep_rets=np.full(3, 4.0))
        imported = formats.read(tmp_path / "demos.npz", make_facts(False))
        d = imported.demonstrations
        assert d.lengths.tolist() == [4, 4, 4]
        assert np.array_equal(d.observations, obs.reshape(12, 2).astype(np.float32))
        assert d.returns.tolist() == [4, 4, 4]
        assert not any("padding" in remark or "ep_rets" in remark for remark in imported.remarks)

    def test_a_single_trajectory_may_lack_its_axis(self, tmp_path):
        d = make(False)
        total = np.array([d.rewards.sum()])
        np.savez(tmp_path / "demos.npz", obs=d.observations, acs=d.actions, rews=d.rewards, ep_rets=total)
        found = formats.read(tmp_path / "demos.npz", make_facts(False)).demonstrations
        assert found.lengths.tolist() == [16]
        assert np.array_equal(found.observations, d.observations)

    def test_object_arrays_are_refused_without_loading_them(self, tmp_path):
        Trap.sprung = False
        ragged = np.empty(2, dtype=object)
        ragged[:] = [Trap(), Trap()]
        refusal(baselines(tmp_path / "demos.npz", True, obs=ragged), "obs", "(2,)", "pickled", "np.savez")
        assert not Trap.sprung

    def test_other_returns_than_the_rewards_are_remarked(self, tmp_path):
        path = baselines(tmp_path / "demos.npz", True, ep_rets=np.zeros(4))
        assert any("ep_rets are not" in remark for remark in formats.read(path, make_facts(True)).remarks)

    def test_flat_arrays_of_several_trajectories_are_refused(self, tmp_path):
        path = baselines(tmp_path / "demos.npz", True, obs=make(True).observations)
        refusal(path, "obs", "(16, 2)", "(trajectories, steps, numbers)", "lengths")

    def test_arrays_of_other_shapes_are_refused(self, tmp_path):
        refusal(baselines(tmp_path / "demos.npz", True, acs=np.zeros((4, 6))), "acs", "(4, 6)", "(4, 7, ...)")
        refusal(baselines(tmp_path / "demos.npz", True, rews=np.zeros(4)), "rews", "(4,)")
        refusal(baselines(tmp_path / "demos.npz", True, obs=np.zeros((4, 0, 2))), "obs", "no pair")


def stable(path, discrete, observations="obs", **changes):
    d = make(discrete)
    arrays = {
        observations: d.observations,
        "actions": d.actions[:, None] if discrete else d.actions,
        "rewards": d.rewards,
        "episode_starts": np.isin(np.arange(16), d.starts),
        "episode_returns": d.returns,
    }
    np.savez(path, **{name: values for name, values in {**arrays, **changes}.items() if values is not None})
    return path


class TestStableBaselines:
    @pytest.mark.parametrize("name", ["obs", "observations", "states"])
    @both
    def test_trajectories_begin_at_episode_starts(self, discrete, name, tmp_path):
        imported = formats.read(stable(tmp_path / "demos.npz", discrete, name), make_facts(discrete))
        assert imported.format == "stable-baselines-npz"
        assert_equal(imported.demonstrations, make(discrete), *FILLED)
        assert not any("episode_returns" in remark for remark in imported.remarks)

    def test_starts_as_floats_and_missing_rewards_are_read(self, tmp_path):
        starts = np.isin(np.arange(16), make(True).starts).astype(float)
        path = stable(tmp_path / "demos.npz", True, episode_starts=starts, rewards=None)
        imported = formats.read(path, make_facts(True))
        assert_equal(imported.demonstrations, make(True), *FILLED, "rewards")
        assert not imported.has_rewards

    def test_other_returns_than_the_rewards_are_remarked(self, tmp_path):
        for returns in (np.zeros(4), np.zeros(3)):
            path = stable(tmp_path / "demos.npz", True, episode_returns=returns)
            assert any("episode_returns" in remark for remark in formats.read(path, make_facts(True)).remarks)

    def test_starts_that_do_not_fit_are_refused(self, tmp_path):
        path = tmp_path / "demos.npz"
        refusal(stable(path, True, episode_starts=np.arange(16) == 3), "episode_starts", "begin with 1")
        refusal(stable(path, True, episode_starts=np.arange(15) == 0), "episode_starts", "(15,)", "(16,)")
        refusal(stable(path, True, obs=np.zeros((16, 5))), "obs", "(16, 5)", "(16, 2)")


def imitation(path, discrete, **changes):
    d = make(discrete)
    pieces = np.split(d.observations, d.starts[1:])
    arrays = {
        "obs": np.concatenate([np.vstack((o, f)) for o, f in zip(pieces, d.final_observations, strict=True)]),
        "acts": d.actions,
        "rews": d.rewards,
        "terminal": np.ones(4, dtype=bool),
        "indices": d.starts[1:],
        "infos": np.array([Trap()] * 16, dtype=object),
    }
    np.savez(path, **{name: values for name, values in {**arrays, **changes}.items() if values is not None})
    return path


class TestImitation:
    @both
    def test_trajectories_are_split_at_indices_and_infos_never_loaded(self, discrete, tmp_path):
        Trap.sprung = False
        imported = formats.read(imitation(tmp_path / "demos.npz", discrete), make_facts(discrete))
        assert imported.format == "imitation-npz"
        assert_equal(imported.demonstrations, make(discrete))
        assert not Trap.sprung

    def test_a_fragment_counts_as_truncated(self, tmp_path):
        path = imitation(tmp_path / "demos.npz", True, terminal=np.array([True, False, True, True]))
        imported = formats.read(path, make_facts(True))
        d = imported.demonstrations
        assert d.terminated.tolist() == [True, False, False, True]  # the third reaches the horizon
        assert d.truncated.tolist() == [False, True, True, False]
        (remark,) = imported.remarks
        assert "those of 7 steps or more and those whose end is not marked count as truncated, the others as" in remark

    def test_a_single_trajectory_has_no_indices(self, tmp_path):
        obs = np.arange(34.0).reshape(17, 2)
        for indices in (np.zeros(0, int), np.zeros(0)):
            path = imitation(tmp_path / "demos.npz", True, obs=obs, terminal=np.array([True]), indices=indices)
            d = formats.read(path, make_facts(True)).demonstrations
            assert d.lengths.tolist() == [16]
            assert d.final_observations.tolist() == [[32, 33]]

    def test_indices_and_rows_that_do_not_fit_are_refused(self, tmp_path):
        path = tmp_path / "demos.npz"
        refusal(imitation(path, True, indices=np.array([5, 6])), "indices", "(2,)", "(3,)")
        refusal(imitation(path, True, indices=np.array([5, 6, 99])), "length -83")
        refusal(imitation(path, True, indices=np.array([5, 5, 6])), "length 0")
        refusal(imitation(path, True, obs=np.zeros((16, 2))), "obs", "(16, 2)", "(20, numbers)")
        refusal(imitation(path, True, acts=np.array([Trap()] * 16)), "acts", "pickled")
