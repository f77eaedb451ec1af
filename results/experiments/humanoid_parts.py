"""How well can a discriminator tell humanoid's expert from GAIL's policy by one part of its inputs alone?

python humanoid_parts.py EXPERT.npz POLICY.npz prints a Markdown table. Each part gets a new network of the paper's size
(two layers of 100 tanh units), trained with Adam for 300 steps on 70 % of the pairs. Both classes weigh the same. The
accuracies and the loss (0 at best, 1.39 by chance) are those of the other pairs. Of the expert every 20th pair counts,
as in the paper.
"""

import sys
from pathlib import Path

import numpy as np
import torch

PARTS = {
    "joint positions, height, orientation": slice(0, 22),
    "velocities": slice(22, 45),
    "inertia of the bodies, which depends on their positions": slice(45, 175),
    "velocities of the bodies": slice(175, 253),
    "forces of the actuators": slice(253, 270),
    "forces of contacts": slice(270, 348),
    "actions": slice(348, 365),
    "everything": slice(0, 365),
}
TRAJECTORIES, SUBSAMPLE, STEPS, BATCH = 80, 20, 300, 512


def pairs(path: Path, every: int) -> torch.Tensor:
    """Return every `every`-th pair of the first trajectories, with observation and action in one row."""
    arrays = np.load(path, allow_pickle=False)
    kept: list[int] = []
    start = 0
    for number, length in enumerate(arrays["lengths"][:TRAJECTORIES]):
        kept += range(start + number % every, start + int(length), every)
        start += int(length)
    return torch.tensor(np.concatenate([arrays["observations"][kept], arrays["actions"][kept]], axis=1))


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    expert, policy = pairs(Path(sys.argv[1]), SUBSAMPLE), pairs(Path(sys.argv[2]), 1)
    inputs = torch.cat([expert, policy])
    inputs = (inputs - inputs.mean(0)) / (inputs.std(0) + 1e-6)
    is_expert = torch.cat([torch.ones(len(expert)), torch.zeros(len(policy))])
    weight = torch.where(is_expert > 0, 0.5 / is_expert.mean(), 0.5 / (1 - is_expert).mean())
    train = torch.rand(len(inputs)) < 0.7
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    print(f"{len(expert)} pairs of the expert, {len(policy)} of the policy\n")
    print("| part | right on the expert's pairs | right on the policy's pairs | loss |\n|---|---|---|---|")
    for name, part in PARTS.items():
        x = inputs[:, part]
        network = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], 100),
            torch.nn.Tanh(),
            torch.nn.Linear(100, 100),
            torch.nn.Tanh(),
            torch.nn.Linear(100, 1),
        )
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        rows = torch.nonzero(train)[:, 0]
        for _ in range(STEPS):
            some = rows[torch.randint(len(rows), (BATCH,))]
            optimizer.zero_grad()
            loss(network(x[some])[:, 0], is_expert[some], weight[some]).backward()
            optimizer.step()
        with torch.no_grad():
            logits = network(x[~train])[:, 0]
        truth = is_expert[~train]
        sides = [logits[truth > 0], logits[truth == 0]]
        total = sum(float(loss(side, torch.full_like(side, 1.0 - k))) for k, side in enumerate(sides))
        shares = [float((sides[0] > 0).double().mean()), float((sides[1] < 0).double().mean())]
        print(f"| {name} | {shares[0]:.3f} | {shares[1]:.3f} | {total:.3f} |")


if __name__ == "__main__":
    main()
