"""GAIL on hopper: here, by `imitation` with TRPO and with PPO, and by TorchRL with PPO, in turn on the same cores.

    python3 -m venv imitation-venv && imitation-venv/bin/pip install -r benchmarks/peers-imitation-requirements.txt
    python3 -m venv torchrl-venv && torchrl-venv/bin/pip install -r benchmarks/peers-torchrl-requirements.txt
    python benchmarks/peers.py --imitation imitation-venv/bin/python --torchrl torchrl-venv/bin/python

All learn from the same 200 pairs (4 trajectories of the shipped expert) with two hidden layers of 100 tanh units for
policy, value function and discriminator, and one discriminator step per round. TRPO (sb3-contrib's) samples the paper's
50,000 pairs per round as we do. PPO samples what its library does by default: `imitation` 8 x 2,048, TorchRL's recipe
of GAIL 2,048. A figure is the median of environment steps per second over rounds, the first of each turn left out.
Starting up is not counted. The output is `benchmarks/peers.txt`.
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
FOLDER = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--imitation", required=True, help="the Python of the virtual environment with imitation")
    parser.add_argument("--torchrl", required=True, help="the Python of the virtual environment with TorchRL")
    parser.add_argument("--turns", type=int, default=3, help="how often they take turns")
    parser.add_argument("--rounds", type=int, default=2, help="rounds timed per turn")
    arguments = parser.parse_args()

    prepare_process(THREADS)
    task = get_task("hopper")
    policy, digest = experts.load(task)
    pairs = demonstrations.sample(task, policy, digest, 4, 0).subset(4, task.keep_every)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "demonstrations.npz"
        np.savez(file, observations=pairs.observations, actions=pairs.actions)
        common = [f"--demonstrations={file}", f"--threads={THREADS}", f"--rounds={arguments.rounds + 1}"]
        imitation = [arguments.imitation, str(FOLDER / "peers_imitation.py"), *common, f"--batch={task.batch}"]
        torchrl = [arguments.torchrl, str(FOLDER / "peers_torchrl.py"), *common]
        contestants: dict[str, Callable[[], list[float]]] = {
            "gailbench": lambda: time_ours(task, pairs, arguments.rounds),
            "imitation, TRPO": lambda: time_peer([*imitation, "--learner=trpo"]),
            "imitation, PPO": lambda: time_peer([*imitation, "--learner=ppo"]),
            "TorchRL, PPO": lambda: time_peer(torchrl),
        }
        speeds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(arguments.turns):
            for name, contestant in contestants.items():
                speeds[name] += contestant()

    print(json.dumps(versions()))
    wanted = ("imitation", "sb3", "stable", "torchrl", "gymnasium==", "mujoco==", "numpy", "torch==")
    for python in (arguments.imitation, arguments.torchrl):
        installed = output_of([python, "-m", "pip", "list", "--format", "freeze"]).splitlines()
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
