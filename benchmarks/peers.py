"""GAIL on hopper, here and by `imitation` 1.0.1 with sb3-contrib's TRPO and with PPO, in turn on the same cores.

    python3 -m venv peers-venv && peers-venv/bin/pip install -r benchmarks/peers-requirements.txt
    python benchmarks/peers.py --peer peers-venv/bin/python > benchmarks/peers.txt

All three learn from the same 200 pairs (4 trajectories of the shipped expert) with two hidden layers of 100 tanh units
for policy, value function and discriminator, and one discriminator step per round. TRPO samples the paper's 50,000
pairs per round as we do, PPO 8 x 2,048, its default. A figure is the median of environment steps per second over
rounds, the first of each turn left out; what starting up takes is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gailbench import demonstrations, experts
from gailbench.algorithms.gail import Gail
from gailbench.algorithms.loop import LoopSettings, RewardLearner
from gailbench.bench import rate, steps_of_iteration
from gailbench.demonstrations import Pairs
from gailbench.plumbing.computing import prepare_process
from gailbench.plumbing.streams import stream
from gailbench.plumbing.versions import versions
from gailbench.tasks import Task, get_task

THREADS = 2
PEER = Path(__file__).with_name("peers_imitation.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="the Python of the virtual environment with imitation")
    parser.add_argument("--turns", type=int, default=3, help="how often the three take turns")
    parser.add_argument("--rounds", type=int, default=2, help="rounds timed per turn")
    arguments = parser.parse_args()

    prepare_process(THREADS)
    task = get_task("hopper")
    policy, digest = experts.load(task)
    pairs = demonstrations.sample(task, policy, digest, 4, 0).subset(4, task.keep_every)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "demonstrations.npz"
        np.savez(file, observations=pairs.observations, actions=pairs.actions)
        peer = [arguments.peer, str(PEER), f"--demonstrations={file}", f"--threads={THREADS}"]
        peer += [f"--rounds={arguments.rounds + 1}", f"--batch={task.batch}"]
        contestants: dict[str, Callable[[], list[float]]] = {
            "gailbench": lambda: time_ours(task, pairs, arguments.rounds),
            "imitation, TRPO": lambda: time_peer([*peer, "--learner=trpo"]),
            "imitation, PPO": lambda: time_peer([*peer, "--learner=ppo"]),
        }
        speeds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(arguments.turns):
            for name, contestant in contestants.items():
                speeds[name] += contestant()

    print(json.dumps(versions()))
    installed = output_of([arguments.peer, "-m", "pip", "list", "--format", "freeze"]).splitlines()
    wanted = ("imitation", "sb3", "stable", "gymnasium", "mujoco==", "numpy", "torch")
    print("peer:", ", ".join(line for line in installed if line.lower().startswith(wanted)))
    ours = statistics.median(speeds["gailbench"])
    print(f"{'':<16} {'steps/s':>9} {'least':>9} {'most':>9} {'gailbench is':>13}")
    for name, values in speeds.items():
        median = statistics.median(values)
        print(f"{name:<16} {median:>9,.0f} {min(values):>9,.0f} {max(values):>9,.0f} {ours / median:>11.2f} x")


def time_ours(task: Task, pairs: Pairs, rounds: int) -> list[float]:
    """Return steps per second of GAIL iterations at the paper's batch, after a first one."""
    reward = Gail(pairs, task.reward_sign, stream(0, "reward"))
    learner = RewardLearner(task, reward, LoopSettings(batch=task.batch), 0, pairs.observations, THREADS)
    return [rate(lambda: steps_of_iteration(learner)) for _ in range(rounds + 1)][1:]


def time_peer(command: list[str]) -> list[float]:
    """Return what the peer's process prints: steps per second of its rounds after the first."""
    speeds: list[float] = json.loads(output_of(command).splitlines()[-1])
    return speeds


def output_of(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
