"""Listing the paper's tasks and checking your own."""

from __future__ import annotations

import click

from gailbench.commands.options import TASK_LIST
from gailbench.commands.printing import duration, print_json, print_table
from gailbench.tasks import TASKS, Task


@click.group("tasks", short_help="List the tasks, or check one of your own.", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON with every setting.")
@click.pass_context
def tasks(context: click.Context, as_json: bool) -> None:
    """List the paper's nine tasks with their settings, or check a task of your own.

    \b
    Example:
      gailbench tasks --json
    """
    from dataclasses import asdict

    if context.invoked_subcommand is not None:
        return
    if as_json:
        print_json([asdict(task) for task in TASKS.values()])
        return
    print_table(
        (
            "task",
            "environment",
            "horizon",
            "sizes",
            "keep every",
            "batch",
            "iterations",
            "BC steps",
            "reward",
            "lambda",
        ),
        [
            (
                task.name,
                task.environment,
                task.horizon,
                ",".join(map(str, task.sizes)),
                task.keep_every,
                task.batch,
                task.iterations,
                task.bc_steps,
                task.reward_sign,
                ",".join(f"{weight:g}" for weight in task.entropy_weights),
            )
            for task in TASKS.values()
        ],
    )


@tasks.command("check")
@click.argument("task", type=TASK_LIST, metavar="TASK")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(task: list[Task], as_json: bool) -> None:
    """Build and step a task, and print its settings and speed. TASK is a name, a Gymnasium id or a .toml file.

    \b
    Example:
      gailbench tasks check Pendulum-v1
    """
    from dataclasses import asdict

    from gailbench.algorithms import get_algorithm, registry
    from gailbench.experts.recipes import recipe_for
    from gailbench.runs import settings
    from gailbench.simulation import check_steps, dimensions, estimate_steps_per_second

    for one in task:
        for name in one.algorithms:
            get_algorithm(name)
        settings.check_owners(one.settings, registry().values())
        for algorithm in registry().values():
            settings.of_task(algorithm, one)
        recipe_for(one)
        observations, actions, discrete = dimensions(one)
        check_steps(one)
        speed = estimate_steps_per_second(one)
        content = {
            **asdict(one),
            "observation_dim": observations,
            "action_dim": actions,
            "discrete": discrete,
            "steps_per_second": round(speed),
        }
        if as_json:
            print_json(content)
            continue
        budget = one.batch * one.iterations
        sizes = ", ".join(map(str, one.sizes))
        click.echo(f"{one.name}: works")
        for name, value in (
            ("environment", f"{one.environment} {dict(one.kwargs) or ''}".strip()),
            ("observations", f"{observations} numbers"),
            ("actions", f"{actions} discrete" if discrete else f"{actions} numbers"),
            ("horizon", f"{one.horizon} steps"),
            (
                "sizes",
                f"{sizes} of {one.demonstrations} trajectories, 1 pair of {one.keep_every} kept",
            ),
            ("reward sign", f"{one.reward_sign} (negative where episodes end early on success)"),
            ("budget", f"{one.iterations} iterations of {one.batch:,} pairs; BC {one.bc_steps:,} gradient steps"),
            ("speed", f"{speed:,.0f} steps/s on one core, {duration(budget / speed)} of simulation for a run"),
        ):
            click.echo(f"  {name:<13}{value}")
