"""Showing the settings of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gailbench.commands.options import FILE, TASK_LIST, algorithm_name, one_task, setting_option
from gailbench.commands.printing import print_json, print_table
from gailbench.tasks import TASKS, Task, own_task

if TYPE_CHECKING:
    from gailbench.algorithms import Algorithm


@click.group("config")
def config() -> None:
    """Show settings.

    \b
    Example:
      gailbench config show --task cartpole --algorithm bc
    """


@config.command("show")
@click.option("--task", "tasks", type=TASK_LIST, required=True, help="One task.")
@click.option("--algorithm", required=True, help="One algorithm.")
@setting_option("A setting, such as loop.gamma=0.99.  [default: none]")
@click.option("--config", "file", type=FILE, help="TOML file with settings.  [default: none]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(
    tasks: list[Task], algorithm: str, settings: tuple[tuple[str, str], ...], file: Path | None, as_json: bool
) -> None:
    """Show every setting of a run, its value and its origin: paper, default, task, file or command.

    \b
    Example:
      gailbench config show --task walker --algorithm gail --set loop.gamma=0.99
    """
    from gailbench.algorithms import BUILT_IN, get_algorithm, registry
    from gailbench.runs import settings as by_name

    task = one_task(tasks)
    try:
        chosen = get_algorithm(algorithm_name(algorithm))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    rows = _of_task(task, chosen)
    for name, value in by_name.describe(chosen).items():
        own = chosen not in BUILT_IN and not name.startswith(f"{by_name.LOOP}.")
        rows[name] = (value, "default" if own else "paper")
    given: list[tuple[str, Any, str]] = [(name, value, "task") for name, value in task.settings]
    given += [(name, value, "file") for name, value in (by_name.read_settings(file) if file else ())]
    # A file may have settings of several algorithms.
    by_name.check_owners(((name, value) for name, value, _ in given), registry().values())
    given += [(name, value, "command") for name, value in settings]
    for name, value, origin in given:
        read = by_name.parse if origin == "command" else by_name.check
        if origin == "command" or by_name.belongs(chosen, name):
            rows[name] = (read(chosen, name, value), origin)
    if as_json:
        print_json({name: {"value": value, "origin": origin} for name, (value, origin) in rows.items()})
        return
    print_table(
        ("setting", "value", "origin"), [(name, _text(value), origin) for name, (value, origin) in rows.items()]
    )


def _of_task(task: Task, algorithm: Algorithm) -> dict[str, tuple[Any, str]]:
    """Return the value and origin of each field of a task that concerns an algorithm. A value of an own task's file
    that equals the default has the origin "default"."""

    def values(one: Task) -> dict[str, Any]:
        found = {name: getattr(one, name) for name in ("environment", "horizon", "sizes", "keep_every")}
        found["iterations"] = algorithm.iterations(one)
        if algorithm.takes_environment_steps:
            found |= {"batch": one.batch, "reward_sign": one.reward_sign}
        if algorithm.has_entropy_weight:
            found["entropy_weights"] = one.entropy_weights
        return found

    own = values(task)
    if task.name in TASKS:
        return {name: (value, "paper") for name, value in own.items()}
    given = {"name": task.name}
    usual = values(own_task(task.environment, {**given, "horizon": task.horizon}))  # other defaults depend on it
    usual["horizon"] = own_task(task.environment, given).horizon
    return {name: (value, "default" if value == usual[name] else "task") for name, value in own.items()}


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
