"""Training, listing and measuring experts."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from gailbench.commands.options import (
    EXIT_INTERRUPTED,
    FILE,
    POSITIVE,
    SECONDS,
    SEED,
    TASK_LIST,
    check_free,
    one_task,
    overwrite_option,
    setting_option,
)
from gailbench.commands.printing import count, duration, print_json, print_table, say, stderr, telling
from gailbench.experts import default_path
from gailbench.plumbing.errors import GailbenchError
from gailbench.tasks import TASKS, Task, as_option


@click.group()
def expert() -> None:
    """Train, list and evaluate experts. An expert's return is 1 in the normalized score.

    \b
    Example:
      gailbench expert list
    """


@expert.command("train")
@click.option("--task", "tasks", type=TASK_LIST, help="Tasks; all nine if not given.")
@click.option("--iterations", type=POSITIVE, help="Iterations of TRPO.  [default: the recipe's]", show_default=False)
@click.option("--seed", type=SEED, help="Seed.  [default: the recipe's]", show_default=False)
@click.option(
    "--out",
    type=FILE,
    help="Policy file.  [default: experts/TASK.safetensors; for your own task, under results/]",
    show_default=False,
)
@setting_option("A setting of the recipe (ant, humanoid: of the last training), such as batch=20000.  [default: none]")
@click.option(
    "--start",
    type=FILE,
    help="Policy file to start from.  [default: a random policy]",
    show_default=False,
)
@click.option("--checkpoint-every", type=SECONDS, default=300, help="Seconds between two checkpoints.")
@click.option("--overwrite", is_flag=True, help="Replace a finished expert.")
def expert_train(
    tasks: list[Task] | None,
    iterations: int | None,
    seed: int | None,
    out: Path | None,
    settings: tuple[tuple[str, str], ...],
    start: Path | None,
    checkpoint_every: float,
    overwrite: bool,
) -> None:
    """Train experts by TRPO on the true reward, with the shipped experts' recipes.

    Writes the policy, its card (.json), its learning curve (.csv) and a checkpoint. The same command continues an
    interrupted training. With more --iterations it continues a finished one. With --start only the value function
    is trained at first.

    \b
    Example:
      gailbench expert train --task cartpole --out my/cartpole.safetensors
    """
    from dataclasses import replace

    from gailbench.commands.progress import CurveProgress
    from gailbench.experts.recipes import changed, recipe_for
    from gailbench.experts.train import is_finished, train
    from gailbench.plumbing.computing import prepare_process
    from gailbench.plumbing.interrupts import Interrupted, StopSignals
    from gailbench.plumbing.typed import from_text
    from gailbench.simulation import estimate_steps_per_second

    chosen = tasks or list(TASKS.values())
    if out is not None:
        one_task(chosen, "--out names one file")
    if out is not None and out.suffix != ".safetensors":
        raise click.UsageError(f"--out {out} must end in .safetensors; the card and the curve are written beside it")
    if start is not None:
        one_task(chosen, "--start names one policy")
    if taken := [name for name, _ in settings if name in ("iterations", "seed")]:
        raise click.UsageError(f"--set {taken[0]}: give --{taken[0]} instead")
    prepare_process(1)
    trainings = {}
    for task in chosen:
        recipe = changed(recipe_for(task), [(name, from_text(text)) for name, text in settings], "--set")
        recipe = replace(
            recipe if seed is None else recipe.with_seed(seed),
            iterations=iterations or recipe.iterations,
            level=None if iterations and "level" not in dict(settings) else recipe.level,
        )
        path = out or (Path("experts") / f"{task.name}.safetensors" if task.name in TASKS else default_path(task))
        trainings[task] = recipe.trainings(path) if start is None else [(recipe, path, start)]
    total = 0.0
    for task, parts in trainings.items():
        recipe = parts[-1][0]
        steps = sum(part.iterations * part.batch for part, _, _ in parts)
        seconds = steps / estimate_steps_per_second(recipe.training_task(task))
        total += seconds
        bound = "at most" if recipe.level is not None else "at least"
        say(f"{task.name}: {bound} {count(steps)} steps, about {duration(seconds)} of simulation plus learning")
    if len(chosen) > 1:
        say(f"all: about {duration(total)} of simulation plus learning")
    with StopSignals() as stopping, telling() as tell:
        for task, parts in trainings.items():
            for recipe, path, first in parts:
                # With --overwrite an earlier training that this command has finished before is not done again.
                keep = recipe is not parts[-1][0] and is_finished(task, recipe, path, first)
                with CurveProgress(task.name, recipe.iterations, stderr()) as progress:
                    try:
                        card = train(
                            task,
                            recipe,
                            path,
                            progress.show,
                            stop=lambda: stopping.set,
                            checkpoint_every=checkpoint_every,
                            overwrite=overwrite and not keep,
                            start=first,
                            notice=lambda text: say(f"remark: {text}"),
                        )
                    except Interrupted:
                        say(f"interrupted; the same command continues {task.name} from its checkpoint")
                        sys.exit(EXIT_INTERRUPTED)
                tell(f"{task.name}: {_returns(card)} ({_beside(card)}), written to {path}")
            say(_next(task, path))


def _returns(figures: dict[str, Any]) -> str:
    """Return the returns of an expert with sampled and with the most probable actions, in words."""
    return (
        f"stochastic {figures['stochastic_mean']:.2f} ± {figures['stochastic_std']:.2f}, "
        f"deterministic {figures['deterministic_mean']:.2f} ± {figures['deterministic_std']:.2f}"
    )


def _next(task: Task, path: Path) -> str:
    if path == default_path(task):
        return f"next: gailbench run {as_option(task)}"
    return f"next: gailbench demos sample {as_option(task)} --expert {shlex.quote(str(path))}"


def _beside(card: dict[str, Any]) -> str:
    """Return the returns that an expert is compared with: the paper's, or the random policy's."""
    if "paper_mean" in card:
        return f"paper {card['paper_mean']:.2f} ± {card['paper_std']:.2f}"
    return f"random {card['random']['mean']:.2f} ± {card['random']['std']:.2f}"


@expert.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the cards as JSON.")
def expert_list(as_json: bool) -> None:
    """List the shipped experts' returns beside those of the paper's experts.

    Steps are environment steps up to the shipped policy. If an expert comes from several trainings, they are those of
    the last one.

    \b
    Example:
      gailbench expert list --json
    """
    from gailbench import experts

    cards = [card for name in experts.shipped() if (card := experts.card(name)) is not None]
    if as_json:
        print_json(cards)
        return
    print_table(
        ("task", "stochastic", "deterministic", "paper", "random", "steps"),
        [
            (
                card["task"],
                f"{card['stochastic_mean']:.2f} ± {card['stochastic_std']:.2f}",
                f"{card['deterministic_mean']:.2f} ± {card['deterministic_std']:.2f}",
                f"{card['paper_mean']:.2f} ± {card['paper_std']:.2f}",
                f"{experts.random_returns()[card['task']]['mean']:.2f}",
                f"{card['steps']:,}" + (" (last training)" if "start" in card["settings"] else ""),
            )
            for card in cards
        ],
    )


@expert.command("evaluate")
@click.option("--task", "tasks", type=TASK_LIST, required=True, help="Tasks.")
@click.option("--expert", "file", type=FILE, help="Policy file.  [default: the task's expert]", show_default=False)
@click.option(
    "--episodes", type=POSITIVE, default=50, help="Episodes with sampled actions, and as many with the most probable."
)
@click.option("--seed", type=SEED, default=0, help="Seed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def expert_evaluate(tasks: list[Task], file: Path | None, episodes: int, seed: int, as_json: bool) -> None:
    """Measure the returns of experts on fresh episodes of Gymnasium's own environments.

    \b
    Example:
      gailbench expert evaluate --task hopper --episodes 50
    """
    from gailbench import experts
    from gailbench.experts.train import measure

    results = []
    for task in tasks:
        policy, _ = experts.load(task, file)
        results.append({"task": task.name, **measure(task, policy, seed, episodes)})
    if as_json:
        print_json(results)
        return
    for result in results:
        click.echo(f"{result['task']}: {_returns(result)} ({episodes} episodes each)")


@expert.command("random")
@click.option("--task", "tasks", type=TASK_LIST, help="Tasks; all nine if not given.")
@click.option("--episodes", type=POSITIVE, default=200, help="Episodes.")
@click.option("--seed", type=SEED, default=0, help="Seed.")
@click.option("--out", type=FILE, help="Also write the figures to this JSON file.")
@overwrite_option
def expert_random(tasks: list[Task] | None, episodes: int, seed: int, out: Path | None, overwrite: bool) -> None:
    """Measure the random policy (uniform actions), the zero of the normalized score.

    \b
    Example: how the shipped figures were made
      gailbench expert random --out gailbench/experts/random.json --overwrite
    """
    from gailbench.experts.train import measure_random
    from gailbench.plumbing.files import check_writable, write_atomic

    if out is not None:
        check_free(out, overwrite)
        check_writable(out.parent)
    figures = {task.name: measure_random(task, episodes, seed) for task in tasks or list(TASKS.values())}
    with telling() as tell:
        for name, values in figures.items():
            tell(f"{name}: {values['mean']:.2f} ± {values['std']:.2f} ({episodes} episodes)")
        if out is not None:
            try:
                write_atomic(out, json.dumps(figures, indent=2) + "\n")
            except OSError as error:
                raise GailbenchError(f"cannot write {out}: {error.strerror}") from None
