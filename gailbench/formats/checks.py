"""From the raw arrays of a file to checked demonstrations: checks arrays, and fills in missing ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gailbench import demonstrations
from gailbench.demonstrations import Demonstrations
from gailbench.formats import arrays
from gailbench.formats.ends import check_flags
from gailbench.formats.facts import Facts, Imported
from gailbench.formats.raw import Raw, checked_lengths, count
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.streams import stream


def build(raw: Raw, facts: Facts, format: str) -> Imported:
    """Check the arrays that a reader returned, and fill in missing ones.

    Raises:
        GailbenchError: An array does not fit the task or the other arrays, or holds numbers that are not finite.
    """
    pairs = count(raw.observations)
    lengths = checked_lengths(raw.path, raw.names.get("lengths", "lengths"), raw.lengths, pairs)
    remarks = list(raw.remarks)
    observations = arrays.rows_of(raw, "observations", raw.observations, pairs, facts.observation_dim, facts)
    if raw.final_observations is None:
        final_observations = observations[np.cumsum(lengths) - 1]
        remarks.append("the file has no final observations; each trajectory's last observation is used instead")
    else:
        final_observations = arrays.rows_of(
            raw, "final_observations", raw.final_observations, len(lengths), facts.observation_dim, facts
        )
    if raw.rewards is None:
        remarks.append("the file has no rewards; rewards and returns are set to 0")
    terminated, truncated = _ends(raw, lengths, facts.horizon, remarks)
    if (longer := int((lengths > facts.horizon).sum())) > 0:
        remarks.append(
            f"{longer} of {len(lengths)} trajectories are longer than the task's horizon of {facts.horizon} steps "
            f"(the longest has {lengths.max()}); they are kept in full length"
        )
    if raw.offsets is None:
        offsets = stream(facts.seed, f"offsets/{facts.task}").integers(facts.keep_every, size=len(lengths))
    else:
        offsets = arrays.offsets(raw, raw.offsets, len(lengths))
    found = Demonstrations(
        task=facts.task,
        num_actions=facts.action_dim,
        expert_sha256=raw.expert_sha256,
        seed=raw.seed,
        observations=observations,
        actions=arrays.discrete(raw, pairs, facts)
        if facts.discrete
        else arrays.rows_of(raw, "actions", raw.actions, pairs, facts.action_dim, facts),
        rewards=np.zeros(pairs) if raw.rewards is None else arrays.rewards(raw, raw.rewards, pairs),
        lengths=lengths,
        terminated=terminated,
        truncated=truncated,
        final_observations=final_observations,
        offsets=offsets,
    )
    try:
        demonstrations.check(found)
    except ValueError as error:  # any other error: an imported file must be readable
        raise GailbenchError(f"{raw.path}: {first_line(error)}") from None
    return Imported(found, format, raw.rewards is not None, tuple(remarks))


def _ends(
    raw: Raw, lengths: NDArray[np.int64], horizon: int, remarks: list[str]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which trajectories terminated and which were truncated, as far as the file says."""
    for name in ("done", "terminated", "truncated"):
        values = getattr(raw, name)
        if values is not None:
            check_flags(raw.path, raw.names.get(name, name), values, lengths)
    if raw.terminated is not None and raw.truncated is not None:
        if (open_ended := int((~(raw.terminated | raw.truncated)).sum())) > 0:
            remarks.append(f"{open_ended} trajectories neither terminated nor reached a time limit")
        return raw.terminated, raw.truncated
    if raw.terminated is not None:
        return raw.terminated, ~raw.terminated | (lengths >= horizon)
    if raw.truncated is not None:
        terminated = ~raw.truncated if raw.done is None else raw.done & ~raw.truncated
        return terminated, ~terminated
    done = np.ones(lengths.shape, dtype=bool) if raw.done is None else raw.done
    unmarked = "" if done.all() else " and those whose end is not marked"
    remarks.append(
        f"the file does not say how trajectories ended: those of {horizon} steps or more{unmarked} count as truncated, "
        "the others as terminated"
    )
    terminated = done & (lengths < horizon)
    return terminated, ~terminated
