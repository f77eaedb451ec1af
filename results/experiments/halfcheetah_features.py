"""Which features do half-cheetah's last policies of FEM and GTAL miss, and which would GTAL reward next?

python halfcheetah_features.py prints a Markdown table of the runs of record with seed 0, and of the run with the wide
pitch. Each policy samples eight batches of 50 episodes, as many pairs as an iteration. Differences are policy - expert,
in units of the expert's standard deviation, with the standard error over the 400 episodes. Run it in this folder after
wide_pitch.py. It takes about 3 minutes.
"""

from collections import Counter
from pathlib import Path

import numpy as np

import gailbench
from gailbench import demonstrations
from gailbench.algorithms.features import LinearFeatures
from gailbench.algorithms.gtal import worst
from gailbench.sampling import Sampler

TASK = gailbench.tasks.get_task("halfcheetah")
PAIRS, ENVIRONMENTS, BATCHES = 50_000, 50, 8
PITCH, SPEED = 1, 8  # in HalfCheetah-v5's observations
NAMES = {0: "height", PITCH: "pitch", SPEED: "speed"}
RECORD = "../runs/task=halfcheetah/algorithm={}/settings=paper/trajectories={}/seed=0"


def main() -> None:
    print("| run | pitch | speed | furthest off in each batch |")
    print("|---|---|---|---|")
    for algorithm in ("fem", "gtal"):
        for size in (4, 11, 18, 25):
            row(f"{algorithm} {size}", Path(RECORD.format(algorithm, size)), Path("../demos/halfcheetah.npz"), size)
    (wide,) = Path("runs/task=halfcheetah/algorithm=gtal").glob("*/trajectories=18/seed=0")
    row("gtal 18, wide pitch", wide, Path("wide.npz"), 18)


def row(name: str, run: Path, demos: Path, size: int) -> None:
    features = LinearFeatures(demonstrations.read(demos).subset(size, TASK.keep_every))
    policy = gailbench.load_policy(run / "policy.safetensors")
    sampler = Sampler(TASK, ENVIRONMENTS, np.random.default_rng(0))
    furthest: Counter[str] = Counter()
    episodes = []
    for _ in range(BATCHES):
        batch = sampler.sample(policy, PAIRS)
        phi = features.of_batch(batch)
        # All episodes last 1,000 steps; rows are one step after the other.
        means = phi.reshape(-1, ENVIRONMENTS, features.dim).mean(axis=0, dtype=np.float64)
        episodes.append(means - features.expert_mean)
        index = worst(-episodes[-1].mean(axis=0)) % features.dim
        furthest[NAMES.get(index, f"feature {index}")] += 1
    differences = np.concatenate(episodes)
    mean, error = differences.mean(0), differences.std(0) / np.sqrt(len(differences))
    cells = " | ".join(f"{mean[i]:.2f} ± {error[i]:.2f}" for i in (PITCH, SPEED))
    print(f"| {name} | {cells} | {', '.join(f'{k} {v}' for k, v in furthest.most_common())} |", flush=True)


if __name__ == "__main__":
    main()
