"""What do ant's FEM and GTAL policies do, and what are they rewarded for?

python ant_parts.py prints two Markdown tables of the runs of record with seed 0. Run it in this folder. It takes about
a minute.

The first: the parts of the true reward per step, over ten episodes with the most probable actions; of random actions,
the expert, the policy trained on a constant reward and GAIL too.

The second: each last policy samples 20 episodes, and FEM's or GTAL's reward is fitted to them, as in an iteration.
"Contacts" is the share of steps in which one of the observations that are constant in the demonstrated pairs has
another value. All of these are forces of contacts. "Lowest" is the lowest reward, "spread" the standard deviation over
the steps without such a contact; both before the shift.
"""

from pathlib import Path

import gymnasium
import numpy as np

import gailbench
from gailbench import demonstrations
from gailbench.algorithms.features import LinearSettings
from gailbench.algorithms.fem import Fem
from gailbench.algorithms.gtal import Gtal
from gailbench.sampling import Sampler

TASK = gailbench.tasks.get_task("ant")
DEMONSTRATIONS = demonstrations.read(Path("../demos/ant.npz"))
EPISODES, SAMPLED = 10, 20
PARTS = ("reward_forward", "reward_survive", "reward_ctrl", "reward_contact")  # in Ant-v5's info
LINEAR = {"fem": Fem, "gtal": Gtal}


def main() -> None:
    print("| policy | length | forward | survival | actions | contact cost |")
    print("|---|---|---|---|---|---|")
    true_reward("random", None)
    true_reward("expert", "ant")
    true_reward("constant reward", str(policy_of("constant", 0)))
    for algorithm in (*LINEAR, "gail"):
        for size in TASK.sizes:
            if (path := policy_of(algorithm, size)).exists():
                true_reward(f"{algorithm} {size}", str(path))
    print("\n| run | constant observations | contacts | lowest | spread |")
    print("|---|---|---|---|---|")
    for algorithm in LINEAR:
        for size in TASK.sizes:
            if policy_of(algorithm, size).exists():
                linear_reward(algorithm, size)


def policy_of(algorithm: str, size: int) -> Path:
    run = f"../runs/task=ant/algorithm={algorithm}/settings=paper/trajectories={size}/seed=0"
    return Path(run, "policy.safetensors")


def true_reward(name: str, source: str | None) -> None:
    env = gymnasium.make(TASK.environment)
    env.action_space.seed(0)
    policy = None if source is None else gailbench.load_policy(source)
    parts, lengths = [], []
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=episode)
        length, ended = 0, False
        while not ended:
            action = env.action_space.sample() if policy is None else policy.predict(observation, deterministic=True)[0]
            observation, _, terminated, truncated, info = env.step(action)
            parts.append([info[part] for part in PARTS])
            length, ended = length + 1, terminated or truncated
        lengths.append(length)
    means = " | ".join(f"{mean:.2f}" for mean in np.mean(parts, axis=0))
    print(f"| {name} | {np.mean(lengths):.0f} | {means} |", flush=True)


def linear_reward(algorithm: str, size: int) -> None:
    pairs = DEMONSTRATIONS.subset(size, TASK.keep_every)
    constant = np.flatnonzero(pairs.observations.std(axis=0) == 0)
    policy = gailbench.load_policy(policy_of(algorithm, size))
    batch = Sampler(TASK, SAMPLED, np.random.default_rng(0)).sample(policy, SAMPLED * TASK.horizon)
    reward = LINEAR[algorithm](pairs, TASK.reward_sign, np.random.default_rng(0), LinearSettings(shifted=False))
    reward.fit(batch)
    rewards = batch.rows(reward.reward(batch))
    touching = (batch.observation_rows[:, constant] != pairs.observations[0, constant]).any(axis=1)
    print(
        f"| {algorithm} {size} | {len(constant)} of {pairs.observations.shape[1]} | {touching.mean():.4f} "
        f"| {rewards.min():,.0f} | {rewards[~touching].std():.2g} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
