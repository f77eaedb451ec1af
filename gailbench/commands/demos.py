"""Sampling and inspecting demonstrations."""

from __future__ import annotations

from pathlib import Path

import click

from gailbench.commands.options import FILE, POSITIVE, SEED, TASK_LIST, print_json, say
from gailbench.tasks import TASKS, Task


@click.group()
def demos() -> None:
    """Sample and inspect demonstrations."""


@demos.command("sample")
@click.option("--task", "tasks", type=TASK_LIST, help="Tasks; all that have an expert if not given.")
@click.option(
    "--trajectories", type=POSITIVE, help="Trajectories.  [default: the paper's full set]", show_default=False
)
@click.option("--seed", type=SEED, default=0, help="Seed.")
@click.option("--expert", "file", type=FILE, help="Policy file.  [default: the shipped one]", show_default=False)
@click.option("--out", type=FILE, help="Demonstrations file.  [default: demos/TASK.npz]", show_default=False)
def demos_sample(
    tasks: list[Task] | None, trajectories: int | None, seed: int, file: Path | None, out: Path | None
) -> None:
    """Sample whole trajectories of the stochastic expert, with their true rewards.

    \b
    Example:
      gailbench demos sample --task hopper --trajectories 50 --out hopper.npz
    """
    from gailbench import demonstrations, experts

    chosen = tasks or [TASKS[name] for name in experts.shipped()]
    if len(chosen) > 1 and (out is not None or file is not None):
        raise click.UsageError(f"--out and --expert name one file, but there are {len(chosen)} tasks; give one --task")
    for task in chosen:
        policy, digest = experts.load(task, file)
        path = out or Path("demos") / f"{task.name}.npz"
        found = demonstrations.sample(task, policy, digest, trajectories or task.demonstrations, seed)
        found.write(path)
        click.echo(
            f"{task.name}: {found.trajectories} trajectories, return {found.returns.mean():.2f} ± "
            f"{found.returns.std():.2f}, written to {path}"
        )
        say(f"next: gailbench run --task {task.name} --demos {path}")


@demos.command("show")
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def demos_show(file: Path, as_json: bool) -> None:
    """Show what a demonstrations file holds.

    \b
    Example:
      gailbench demos show demos/hopper.npz
    """
    from gailbench import demonstrations

    found = demonstrations.read(file)
    content = {
        "task": found.task,
        "trajectories": found.trajectories,
        "pairs": int(found.lengths.sum()),
        "return_mean": round(float(found.returns.mean()), 4),
        "return_std": round(float(found.returns.std()), 4),
        "length_mean": round(float(found.lengths.mean()), 2),
        "terminated": int(found.terminated.sum()),
        "observation_dim": found.observations.shape[1],
        "actions": f"{found.num_actions} discrete" if found.discrete else f"{found.num_actions} continuous",
        "seed": found.seed,
        "expert_sha256": found.expert_sha256,
        "sha256": found.sha256(),
    }
    if as_json:
        print_json(content)
        return
    for name, value in content.items():
        click.echo(f"{name}: {value}")
