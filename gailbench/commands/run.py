"""Running algorithms on tasks."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from gailbench.commands.options import (
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    FILE,
    FOLDER,
    POSITIVE,
    SECONDS,
    TASK_LIST,
    CommaList,
    Duration,
    Shard,
    algorithm_name,
    cores,
    number,
    one_task,
    setting_option,
    whole_numbers,
)
from gailbench.commands.printing import count, duration, print_table, say, stderr
from gailbench.plumbing.errors import plural
from gailbench.tasks import Task


@click.command("run", short_help="Train algorithms on tasks.")
@click.option(
    "--task",
    "tasks",
    type=TASK_LIST,
    required=True,
    help="Tasks of the paper, or 'all'; for your own task a Gymnasium id or a .toml file.",
)
@click.option(
    "--sizes",
    type=CommaList(whole_numbers(1), "N,..."),
    help="Demonstration sizes in trajectories.  [default: the paper's]",
    show_default=False,
)
@click.option(
    "--algorithms",
    type=CommaList(algorithm_name, "A,..."),
    help="Algorithms; 'constant' is a control, TRPO on a constant reward.  [default: the paper's for the task]",
    show_default=False,
)
@click.option(
    "--seeds", type=CommaList(whole_numbers(0), "S,..."), default="0", help="Seeds; ranges such as 0-6 are allowed."
)
@click.option(
    "--entropy-weight",
    "entropy_weights",
    type=CommaList(number(float, 0), "L,..."),
    help="GAIL's weights of the policy's entropy (lambda).  [default: the paper's for the task]",
    show_default=False,
)
@click.option(
    "--demos",
    "demos_file",
    type=FILE,
    help="Demonstrations file of your own.  [default: sampled from the task's expert]",
    show_default=False,
)
@click.option(
    "--iterations",
    type=POSITIVE,
    help="Iterations (BC: gradient steps).  [default: the paper's]",
    show_default=False,
)
@click.option(
    "--batch", type=POSITIVE, help="State-action pairs per iteration.  [default: the paper's]", show_default=False
)
@setting_option("A setting, such as gail.learning_rate=0.003; 'gailbench config show' lists them.  [default: none]")
@click.option(
    "--config",
    "config_file",
    type=FILE,
    help="TOML file with settings; --set overrides it.  [default: none]",
    show_default=False,
)
@click.option("--results", type=FOLDER, default=Path("results"), help="Results folder.")
@click.option(
    "--jobs",
    type=POSITIVE,
    help="Number of runs in parallel, local engine only.  [default: number of cores]",
    show_default=False,
)
@click.option("--checkpoint-every", type=SECONDS, default=300, help="Seconds between two checkpoints of a run.")
@click.option(
    "--time-limit",
    type=Duration(),
    help="Save everything and stop after this time.  [default: none]",
    show_default=False,
)
@click.option(
    "--shard",
    type=Shard(),
    help="Do only the K-th of N parts of the runs, for batch systems.  [default: all]",
    show_default=False,
)
@click.option(
    "--engine",
    type=click.Choice(("local", "ray")),
    default="local",
    help="Processes on this machine, or a Ray cluster.",
)
@click.option(
    "--address",
    help="Ray cluster to join; 'auto' is the one that this machine belongs to.  [default: starts one]",
    show_default=False,
)
@click.option("--tensorboard", is_flag=True, help="Also write learning curves for TensorBoard, into the run folders.")
@click.option("--dry-run", is_flag=True, help="List the runs and write nothing.")
def run(
    tasks: list[Task],
    sizes: list[int] | None,
    algorithms: list[str] | None,
    seeds: list[int],
    entropy_weights: list[float] | None,
    demos_file: Path | None,
    iterations: int | None,
    batch: int | None,
    settings: tuple[tuple[str, str], ...],
    config_file: Path | None,
    results: Path,
    jobs: int | None,
    checkpoint_every: float,
    time_limit: float | None,
    shard: tuple[int, int] | None,
    engine: str,
    address: str | None,
    tensorboard: bool,
    dry_run: bool,
) -> None:
    """Train algorithms on tasks: by default the paper's grid at the paper's budget.

    Complete runs are skipped. The same command continues interrupted runs. Runs with the fewest environment steps go
    first, then lower seeds, then smaller sizes. Several commands may share a results folder.

    \b
    Example:
      gailbench run --task walker --sizes 4,11,18,25 --algorithms bc,gail --seeds 0,1,2
    """
    import time

    from gailbench.commands.progress import GridProgress
    from gailbench.runs import estimate, grid
    from gailbench.runs.settings import read_settings
    from gailbench.runs.tensorboard import check_installed

    deadline = float("inf")
    if time_limit is not None:
        # Saving takes time too.
        deadline = time.monotonic() + time_limit - min(10.0, 0.05 * time_limit)
    if demos_file is not None:
        one_task(tasks, "--demos names one task's file")
    if address is not None and engine != "ray":
        raise click.UsageError("--address needs --engine ray")
    if tensorboard:
        check_installed()
    request = grid.Request(
        results=results,
        demonstrations=demos_file,
        sizes=sizes,
        algorithms=algorithms,
        seeds=seeds,
        entropy_weights=entropy_weights,
        batch=batch,
        iterations=iterations,
        settings=(*(read_settings(config_file) if config_file else ()), *settings),
        write=not dry_run,
        tensorboard=tensorboard,
    )
    remarks: list[str] = []
    states = grid.plan_all(tasks, request, shard, remarks.append)
    todo = [job for job, state in states.items() if state != "complete"]
    found = list(states.values())
    workers = min(jobs or cores(), max(len(todo), 1))
    steps = sum(job.spec.steps for job in todo)
    budget = f"{'at least ' if steps else ''}{count(steps)} environment steps"  # a batch holds whole episodes
    if todo:
        budget += f", about {duration(estimate.seconds(todo, workers))}"
        budget += f" with {plural(workers, 'job')}"
    say(
        f"{len(states)} runs: {found.count('complete')} complete, {found.count('resumable')} to resume, "
        f"{found.count('new')} new; {budget}"
    )
    for remark in remarks:
        say(f"remark: {remark}")
    if dry_run:
        print_table(
            ("status", "task", "algorithm", "settings", "trajectories", "seed", "steps"),
            [
                (state, spec.task, spec.algorithm, spec.settings, spec.trajectories, spec.seed, f"{spec.steps:,}")
                for spec, state in ((job.spec, state) for job, state in states.items())
            ],
        )
        return
    with GridProgress(len(todo), stderr()) as progress:
        if engine == "ray":
            from gailbench.engines import ray

            outcome = ray.execute(todo, results, address, progress.show, checkpoint_every, deadline)
        else:
            from gailbench.engines import local

            outcome = local.execute(todo, results, workers, progress.show, checkpoint_every, deadline)
    for spec, message in outcome.failed.items():
        say(f"failed: {spec.label()}: {message}")
    if outcome.interrupted:
        why = "the time limit is reached" if time.monotonic() >= deadline else "interrupted"
        say(f"{why}; checkpoints are saved and the same command continues")
        left = len(todo) - len(outcome.complete) - len(outcome.failed)
        sys.exit(EXIT_INTERRUPTED if left or not outcome.failed else EXIT_SOME_FAILED)
    say(f"next: gailbench report --results {shlex.quote(str(results))}")
    if outcome.failed:
        sys.exit(EXIT_SOME_FAILED)
