"""Sampling, importing, exporting and inspecting demonstrations."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gailbench.commands.options import FILE, MILLION, POSITIVE, SEED, TASK_LIST, check_free, one_task, overwrite_option
from gailbench.commands.printing import print_json, say, telling
from gailbench.plumbing.errors import plural
from gailbench.tasks import TASKS, Task, as_option

if TYPE_CHECKING:
    from gailbench.demonstrations import Demonstrations


@click.group()
def demos() -> None:
    """Sample, import, export and inspect demonstrations.

    \b
    Example:
      gailbench demos sample --task hopper
    """


@demos.command("sample")
@click.option("--task", "tasks", type=TASK_LIST, help="Tasks.  [default: all with a shipped expert]")
@click.option("--trajectories", type=MILLION, help="Number of trajectories.  [default: the task's]", show_default=False)
@click.option("--seed", type=SEED, default=0, help="Seed.")
@click.option("--expert", "file", type=FILE, help="Policy file.  [default: the task's expert]", show_default=False)
@click.option("--out", type=FILE, help="Demonstrations file.  [default: demos/TASK.npz]", show_default=False)
@overwrite_option
def demos_sample(
    tasks: list[Task] | None, trajectories: int | None, seed: int, file: Path | None, out: Path | None, overwrite: bool
) -> None:
    """Sample demonstrations: whole trajectories of the stochastic expert, with true rewards.

    \b
    Example:
      gailbench demos sample --task hopper --trajectories 50 --out hopper.npz
    """
    from gailbench import demonstrations, experts

    chosen = tasks or [TASKS[name] for name in experts.shipped()]
    if out is not None or file is not None:
        one_task(chosen, "--out and --expert name one file")
    paths = {task: out or Path("demos") / f"{task.name}.npz" for task in chosen}
    for path in paths.values():
        check_free(path, overwrite)
    with telling() as tell:
        for task, path in paths.items():
            policy, digest = experts.load(task, file)
            found = demonstrations.sample(task, policy, digest, trajectories or task.demonstrations, seed)
            found.write(path)
            tell(
                f"{task.name}: {plural(found.trajectories, 'trajectory')}, return {found.returns.mean():.2f} ± "
                f"{found.returns.std():.2f}, written to {path}"
            )
            say(_next(task, path, found))


def _next(task: Task, path: Path, found: Demonstrations) -> str:
    """Return the command that learns from a demonstrations file, with sizes for which it has enough trajectories and
    pairs. Return a remark instead if no size has a pair."""
    kept = found.offsets % task.keep_every < found.lengths  # the trajectories of which a pair remains
    if not kept.any():
        return (
            f"remark: no run can learn from {path}: if every {task.keep_every}-th pair is kept, none remains; "
            "use longer trajectories, or a task's file with a smaller keep_every"
        )
    first = int(kept.argmax()) + 1
    sizes = [size for size in task.sizes if first <= size <= found.trajectories] or [found.trajectories]
    command = f"next: gailbench run {as_option(task)} --demos {shlex.quote(str(path))}"
    return command if sizes == list(task.sizes) else f"{command} --sizes {','.join(map(str, sizes))}"


@demos.command("import")
@click.option("--task", "tasks", type=TASK_LIST, required=True, help="One task.")
@click.argument("source", metavar="FILE_OR_ID")
@click.option("--out", type=FILE, help="Demonstrations file.  [default: demos/TASK_imported.npz]", show_default=False)
@click.option(
    "--keep-every", type=POSITIVE, help="Report how many pairs remain if every k-th is kept.  [default: the task's]"
)
@overwrite_option
def demos_import(tasks: list[Task], source: str, out: Path | None, keep_every: int | None, overwrite: bool) -> None:
    """Convert demonstrations of another program to a demonstrations file, and print what the file holds.

    The format is recognized by content: Minari, the paper's HDF5, baselines, Stable-Baselines, IL-Datasets, imitation.

    \b
    Example:
      gailbench demos import --task hopper rollouts.npz --out hopper.npz
    """
    from dataclasses import replace

    from gailbench import formats

    task = one_task(tasks)
    path = out or Path("demos") / f"{task.name}_imported.npz"
    check_free(path, overwrite)
    facts = formats.facts_of(task)
    imported = formats.read(source, facts)
    imported.demonstrations.write(path)
    shown = facts if keep_every is None else replace(facts, keep_every=keep_every)
    with telling() as tell:
        for line in (*formats.describe(imported, shown), f"written to {path}"):
            tell(line)
    say(_next(task, path, imported.demonstrations))


@demos.command("export")
@click.argument("file", type=FILE)
@click.option("--format", "format", type=click.Choice(("npz", "minari", "hdf5")), required=True, help="Format.")
@click.option("--out", required=True, help="File. For Minari an id such as gail/hopper-v0, or a path ./NAME-v0.")
@overwrite_option
def demos_export(file: Path, format: str, out: str, overwrite: bool) -> None:
    """Write a demonstrations file for other programs.

    \b
    Example:
      gailbench demos export demos/hopper.npz --format hdf5 --out hopper.h5
    """
    from gailbench import demonstrations, formats

    if format != "minari":
        check_free(Path(out), overwrite)
    with telling() as tell:
        tell(f"written to {formats.export(demonstrations.read(file), out, format)}")


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
