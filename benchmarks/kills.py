"""Kills runs with SIGKILL at random moments, resumes them each time, and compares their bytes with undisturbed ones.

    python benchmarks/kills.py --kills 200 > benchmarks/kills.txt

Each kill hits the whole process group of a `gailbench run` or `gailbench expert train`: four of five while the run is
being carried out, wherever that is (an iteration, writing a checkpoint, the evaluation, writing results), one of five
at any moment since the command was started. A checkpoint is written at every iteration (BC: every validation), so
that many kills hit a writing. A run that is complete before its share of kills has come is followed by the next seed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM = [sys.executable, "-m", "gailbench"]


@dataclass(frozen=True)
class Kind:
    """A training at a small budget."""

    task: str
    algorithm: str  # or "expert"
    iterations: int
    batch: int = 1000
    span: float = 1.5  # kills come up to so many seconds after the work has begun

    def command(self, seed: int) -> list[str]:
        if self.algorithm == "expert":
            budget = f"--iterations {self.iterations} --seed {seed} --out expert.safetensors --checkpoint-every 0"
            return [*PROGRAM, *f"expert train --task {self.task} {budget}".split()]
        size = 1 if self.task == "cartpole" else 4
        budget = f"--iterations {self.iterations} --batch {self.batch} --seeds {seed} --jobs 1 --checkpoint-every 0"
        return [*PROGRAM, *f"run --task {self.task} --algorithms {self.algorithm} --sizes {size} {budget}".split()]

    def results(self, folder: Path) -> dict[str, bytes]:
        """Bytes of the policy, the learning curve and the returns."""
        if self.algorithm == "expert":
            return {name: (folder / name).read_bytes() for name in ("expert.safetensors", "expert.csv")}
        (evaluation,) = folder.glob("results/runs/**/evaluation.csv")
        names = ("spec.json", "policy.safetensors", "curve.csv", "evaluation.csv")
        return {name: (evaluation.parent / name).read_bytes() for name in names}


KINDS = (
    Kind("cartpole", "gail", 300),
    Kind("cartpole", "fem", 400),
    Kind("cartpole", "bc", 15_000),
    Kind("hopper", "gail", 60),
    Kind("hopper", "fem", 60),
    Kind("hopper", "bc", 15_000),
    Kind("cartpole", "expert", 60),
    Kind("hopper", "expert", 3, span=9.0),  # at its recipe's 50,000 pairs an iteration takes seconds
)


@dataclass
class Tally:
    """What became of one kind's runs."""

    kills: int = 0
    runs: int = 0
    different: int = 0
    # Kills by what the run's folder held at that moment.
    moments: dict[str, int] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    print(f"{'kind':18} {'kills':>5} {'runs':>5} {'different bytes':>15}   kills by moment")
    total = Tally()
    for index, kind in enumerate(KINDS):
        wanted = arguments.kills * (index + 1) // len(KINDS) - arguments.kills * index // len(KINDS)
        tally = Tally()
        seed = 0
        while tally.kills < wanted:
            kill_and_compare(kind, seed, wanted, generator, tally)
            seed += 1
        moments = ", ".join(f"{name} {number}" for name, number in sorted(tally.moments.items()))
        name = f"{kind.task} {kind.algorithm}"
        print(f"{name:18} {tally.kills:>5} {tally.runs:>5} {tally.different:>15}   {moments}", flush=True)
        total.kills += tally.kills
        total.runs += tally.runs
        total.different += tally.different
    print(f"{'all':18} {total.kills:>5} {total.runs:>5} {total.different:>15}")
    sys.exit(1 if total.different else 0)


def kill_and_compare(kind: Kind, seed: int, wanted: int, generator: random.Random, tally: Tally) -> None:
    """One run undisturbed, and one killed until it is complete or the kills are done."""
    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as killed:
        finish(kind.command(seed), Path(alone))
        while tally.kills < wanted and kill_once(kind, seed, Path(killed), generator, tally):
            pass
        finish(kind.command(seed), Path(killed))
        tally.runs += 1
        tally.different += kind.results(Path(alone)) != kind.results(Path(killed))


def kill_once(kind: Kind, seed: int, folder: Path, generator: random.Random, tally: Tally) -> bool:
    """Start the command and kill it; return whether it was still running."""
    process = subprocess.Popen(
        kind.command(seed), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    if generator.random() < 0.8:
        while process.poll() is None and not working(folder):
            time.sleep(0.005)
        time.sleep(generator.uniform(0, kind.span))
    else:
        time.sleep(generator.uniform(0, 4))
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    moment = "before work"
    if working(folder):
        moment = "writing" if list(folder.rglob(".*.tmp")) else "working"
    for lock in folder.rglob("*lock"):
        lock.unlink()  # only so that `working` sees the next one
    tally.kills += 1
    tally.moments[moment] = tally.moments.get(moment, 0) + 1
    return True


def working(folder: Path) -> bool:
    return any(folder.rglob("*lock"))


def finish(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main()
