"""Measuring speed."""

from __future__ import annotations

import click

from gailbench.commands.options import POSITIVE, TASK_LIST, THREADS
from gailbench.commands.printing import print_json, print_table, say
from gailbench.tasks import TASKS, Task


@click.command("bench", short_help="Measure speed against the physics alone.")
@click.option("--task", "tasks", type=TASK_LIST, help="Tasks; all nine if not given.")
@click.option("--threads", type=THREADS, default=1, help="Threads per measurement.")
@click.option("--rounds", type=POSITIVE, default=5, help="Rounds of measurements; medians are printed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(tasks: list[Task] | None, threads: int, rounds: int, as_json: bool) -> None:
    """Measure the speed of sampling and of whole GAIL iterations, relative to the physics alone.

    \b
    Example:
      gailbench bench --task hopper
    """
    from dataclasses import asdict

    from gailbench.bench import measure

    speeds = []
    for task in tasks or list(TASKS.values()):
        say(f"measuring {task.name} ...")
        speeds.append(measure(task, threads, rounds))
    if as_json:
        print_json([asdict(speed) for speed in speeds])
        return
    print_table(
        ("task", "threads", "states", "physics/s", "sampling/s", "training/s", "sampling ratio", "training ratio"),
        [
            (
                speed.task,
                speed.threads,
                speed.states,
                f"{speed.physics_steps_per_second:,.0f}",
                f"{speed.sampling_steps_per_second:,.0f}",
                f"{speed.training_steps_per_second:,.0f}",
                f"{speed.sampling_ratio:.3f}",
                f"{speed.training_ratio:.3f}",
            )
            for speed in speeds
        ],
    )
