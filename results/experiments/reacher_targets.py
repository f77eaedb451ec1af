"""Does a policy of reacher's fail at targets in directions that no demonstration shows?

python reacher_targets.py DEMONSTRATIONS.npz N [POLICY...] prints the widest gap between the directions of the first N
demonstrated targets, seen from the arm's base. With policies it also prints a Markdown table: each policy's mean
return over a grid of targets, by the angle between a target and the nearest demonstrated one. One episode per target,
with the policy's most probable actions; the arm starts as Gymnasium draws it. A policy is a file or `reacher`, the
shipped expert.
"""

import itertools
import sys

import gymnasium
import numpy as np

import gailbench

TARGET = slice(4, 6)  # in Reacher-v5's observations
REACH, SPACING = 0.2, 0.02  # m; Gymnasium draws targets within the reach
BANDS = (0, 15, 30, 45, 180)  # degrees


def main() -> None:
    demonstrations = np.load(sys.argv[1], allow_pickle=False)
    first = np.cumsum(demonstrations["lengths"]) - demonstrations["lengths"]
    shown = np.sort(np.angle(demonstrations["observations"][first[: int(sys.argv[2])], TARGET] @ [1, 1j]))
    print(f"widest gap: {np.degrees(np.diff(shown, append=shown[0] + 2 * np.pi)).max():.0f} degrees")
    if not sys.argv[3:]:
        return
    side = np.arange(-REACH, REACH + SPACING / 2, SPACING)
    targets = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    distance = np.hypot(*targets.T)
    targets = targets[(distance < REACH) & (distance > SPACING / 2)]
    turn = np.angle(np.exp(1j * (np.angle(targets @ [1, 1j])[:, None] - shown)))
    degrees = np.degrees(np.abs(turn).min(1))
    environment = gymnasium.make("Reacher-v5").unwrapped
    columns = []
    for source in sys.argv[3:]:
        policy = gailbench.load_policy(source)
        returns = np.zeros(len(targets))
        for episode, target in enumerate(targets):
            environment.reset(seed=episode)
            state = environment.data.qpos.copy(), environment.data.qvel.copy()
            state[0][2:] = target
            environment.set_state(*state)
            observation = environment._get_obs()
            for _ in range(50):
                action, _ = policy.predict(observation, deterministic=True)
                observation, reward, *_ = environment.step(action)
                returns[episode] += reward
        columns.append(returns)
    print("| degrees to the nearest demonstrated target | targets |" + "".join(f" {s} |" for s in sys.argv[3:]))
    print("|---" * (2 + len(columns)) + "|")
    for low, high in itertools.pairwise(BANDS):
        band = (low <= degrees) & (degrees < high)
        if band.any():
            print(f"| {low} to {high} | {band.sum()} |" + "".join(f" {c[band].mean():.1f} |" for c in columns))


if __name__ == "__main__":
    main()
