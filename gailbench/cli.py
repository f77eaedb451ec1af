"""The command line: parse, call, print. Heavy imports stand inside the commands, so that help is instant."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gailbench import __version__
from gailbench.formats import FORMATS as REPORT_FORMATS
from gailbench.plumbing.errors import GailbenchError, nearest
from gailbench.tasks import ALGORITHMS, CONSTANT, TASKS, Task

if TYPE_CHECKING:
    from rich.console import Console

EXIT_ERROR, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 1, 3, 130
EXIT_CODES = """\b
Exit codes: 0 all asked for is done; 1 an error, named in one line; 2 wrong usage;
3 finished, but some runs failed; 130 interrupted after saving."""


class CommaList(click.ParamType):
    """A comma-separated list; `item` converts one entry and raises ValueError with what is wrong."""

    name = "list"

    def __init__(self, item: Callable[[str], Any], metavar: str) -> None:
        self._item, self._metavar = item, metavar

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self._metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Any]:
        if isinstance(value, list):
            return value
        items = []
        for word in str(value).split(","):
            try:
                items.append(self._item(word.strip()))
            except ValueError as error:
                self.fail(str(error), param, ctx)
        return [item for index, item in enumerate(items) if item not in items[:index]]


def _one_of(kind: str, known: Sequence[str]) -> Callable[[str], str]:
    def convert(word: str) -> str:
        if word not in known:
            raise ValueError(f"unknown {kind} '{word}'{nearest(word, known)}")
        return word

    return convert


def _number(kind: type[int] | type[float], least: float) -> Callable[[str], float]:
    def convert(word: str) -> float:
        try:
            value = kind(word)
        except ValueError:
            raise ValueError(f"'{word}' is not {'an integer' if kind is int else 'a number'}") from None
        if not least <= value < float("inf"):
            raise ValueError(f"{word} is out of range; the least is {least:g}")
        return value

    return convert


class Duration(click.ParamType):
    """A time such as 2h30m, 45m or 90 (seconds); in seconds."""

    name = "duration"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "2h30m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        import re

        found = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", str(value).strip())
        seconds = 0.0
        if found:
            seconds = sum(float(n or 0) * unit for n, unit in zip(found.groups(), (86400, 3600, 60, 1), strict=True))
        if not seconds:
            self.fail(f"'{value}' is not a time such as 2h30m, 45m or 90 (seconds)", param, ctx)
        return seconds


class Shard(click.ParamType):
    """One of several equal parts, such as 2/8."""

    name = "shard"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "K/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        number, slash, of = str(value).partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            self.fail(f"'{value}' is not K/N with K from 1 to N, such as 2/8", param, ctx)
        return int(number), int(of)


TASK_LIST = CommaList(_one_of("task", list(TASKS)), "T,...")
TASK_LIST_OR_ALL = CommaList(_one_of("task", [*TASKS, "all"]), "T,...|all")
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
POSITIVE = click.IntRange(min=1)
SECONDS = click.FloatRange(min=0)
SEED = click.IntRange(min=0)


def _tasks(names: list[str] | None) -> list[Task]:
    return list(TASKS.values()) if not names or "all" in names else [TASKS[name] for name in names]


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    console = Console()
    # A pipe has no width of its own; cutting columns there would lose data.
    Console(width=None if console.is_terminal else 240).print(table)


def _print_json(content: object) -> None:
    click.echo(json.dumps(content, indent=2))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True}, epilog=EXIT_CODES)
@click.version_option(__version__, prog_name="gailbench")
def cli() -> None:
    """Reproduce Generative Adversarial Imitation Learning (Ho & Ermon, 2016), cell by cell.

    \b
    Example: the cart-pole rows of the paper's table beside ours
      gailbench run --task cartpole
      gailbench report
    """


@cli.command("tasks")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with every setting.")
def tasks_command(as_json: bool) -> None:
    """List the paper's nine tasks with their settings.

    \b
    Example:
      gailbench tasks --json
    """
    from dataclasses import asdict

    if as_json:
        _print_json([asdict(task) for task in TASKS.values()])
        return
    _print_table(
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


@cli.group()
def expert() -> None:
    """Train, list and evaluate the experts that all scores are relative to."""


@expert.command("train")
@click.option("--task", "names", type=TASK_LIST, help="Tasks; all nine if not given.")
@click.option("--iterations", type=POSITIVE, help="Iterations of TRPO.  [default: the recipe's]", show_default=False)
@click.option("--seed", type=SEED, help="Seed.  [default: the recipe's]", show_default=False)
@click.option("--out", type=FILE, help="Policy file.  [default: experts/TASK.safetensors]", show_default=False)
@click.option("--checkpoint-every", type=SECONDS, default=300, help="Seconds between two checkpoints.")
@click.option("--overwrite", is_flag=True, help="Train anew where a finished expert is.")
def expert_train(
    names: list[str] | None,
    iterations: int | None,
    seed: int | None,
    out: Path | None,
    checkpoint_every: float,
    overwrite: bool,
) -> None:
    """Train experts by TRPO on the true reward, with the shipped experts' recipes.

    Writes the policy, its card (.json), its learning curve (.csv) and a checkpoint. Interrupted, the same command
    continues. Finished, the same command with more --iterations continues.

    \b
    Example:
      gailbench expert train --task cartpole --out my/cartpole.safetensors
    """
    from dataclasses import replace

    from gailbench.experts.recipes import RECIPES
    from gailbench.experts.train import train
    from gailbench.plumbing.computing import prepare_process
    from gailbench.plumbing.interrupts import Interrupted, StopSignals
    from gailbench.plumbing.progress import CurveProgress, count, duration
    from gailbench.simulation import estimate_steps_per_second

    chosen = _tasks(names)
    if out is not None and len(chosen) > 1:
        raise click.UsageError(f"--out names one file, but there are {len(chosen)} tasks; give one --task")
    if out is not None and out.suffix != ".safetensors":
        raise click.UsageError(f"--out {out} must end in .safetensors; the card and the curve stand beside it")
    prepare_process(1)
    recipes = {}
    for task in chosen:
        recipe = RECIPES[task.name]
        recipes[task.name] = replace(
            recipe,
            iterations=iterations or recipe.iterations,
            level=None if iterations else recipe.level,
            seed=recipe.seed if seed is None else seed,
        )
    total = 0.0
    for task in chosen:
        recipe = recipes[task.name]
        steps = recipe.iterations * recipe.batch
        seconds = steps / estimate_steps_per_second(task.environment, recipe.horizon)
        total += seconds
        bound = "at most" if recipe.level is not None else "at least"
        _say(f"{task.name}: {bound} {count(steps)} steps, about {duration(seconds)} of simulation plus learning")
    if len(chosen) > 1:
        _say(f"all: about {duration(total)} of simulation plus learning")
    with StopSignals() as stopping:
        for task in chosen:
            path = out or Path("experts") / f"{task.name}.safetensors"
            recipe = recipes[task.name]
            with CurveProgress(task.name, recipe.iterations, _stderr()) as progress:
                try:
                    card = train(task, recipe, path, progress.show, lambda: stopping.set, checkpoint_every, overwrite)
                except Interrupted:
                    _say(f"interrupted; the same command continues {task.name} from its checkpoint")
                    sys.exit(EXIT_INTERRUPTED)
            click.echo(
                f"{task.name}: stochastic {card['stochastic_mean']:.2f} ± {card['stochastic_std']:.2f}, "
                f"deterministic {card['deterministic_mean']:.2f} ± {card['deterministic_std']:.2f} "
                f"(paper {card['paper_mean']:.2f} ± {card['paper_std']:.2f}), written to {path}"
            )
            _say(f"next: gailbench demos sample --task {task.name} --expert {path}")


@expert.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the cards as JSON.")
def expert_list(as_json: bool) -> None:
    """List the shipped experts beside the paper's.

    \b
    Example:
      gailbench expert list --json
    """
    from gailbench import experts

    cards = [card for name in experts.shipped() if (card := experts.card(name)) is not None]
    if as_json:
        _print_json(cards)
        return
    _print_table(
        ("task", "stochastic", "deterministic", "paper", "random", "steps"),
        [
            (
                card["task"],
                f"{card['stochastic_mean']:.2f} ± {card['stochastic_std']:.2f}",
                f"{card['deterministic_mean']:.2f} ± {card['deterministic_std']:.2f}",
                f"{card['paper_mean']:.2f} ± {card['paper_std']:.2f}",
                f"{experts.random_returns()[card['task']]['mean']:.2f}",
                f"{card['steps']:,}",
            )
            for card in cards
        ],
    )


@expert.command("evaluate")
@click.option("--task", "names", type=TASK_LIST, required=True, help="Tasks.")
@click.option("--expert", "file", type=FILE, help="Policy file.  [default: the shipped one]", show_default=False)
@click.option("--episodes", type=POSITIVE, default=50, help="Episodes, stochastic and deterministic each.")
@click.option("--seed", type=SEED, default=0, help="Seed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def expert_evaluate(names: list[str], file: Path | None, episodes: int, seed: int, as_json: bool) -> None:
    """Measure experts on fresh episodes of Gymnasium's own environments.

    \b
    Example:
      gailbench expert evaluate --task hopper --episodes 50
    """
    from gailbench import experts
    from gailbench.experts.train import measure

    results = []
    for task in _tasks(names):
        policy, _ = experts.load(task, file)
        results.append({"task": task.name, **measure(task, policy, seed, episodes)})
    if as_json:
        _print_json(results)
        return
    for result in results:
        click.echo(
            f"{result['task']}: stochastic {result['stochastic_mean']:.2f} ± {result['stochastic_std']:.2f}, "
            f"deterministic {result['deterministic_mean']:.2f} ± {result['deterministic_std']:.2f} "
            f"({episodes} episodes each)"
        )


@expert.command("random")
@click.option("--task", "names", type=TASK_LIST, help="Tasks; all nine if not given.")
@click.option("--episodes", type=POSITIVE, default=200, help="Episodes.")
@click.option("--seed", type=SEED, default=0, help="Seed.")
@click.option("--out", type=FILE, help="Also write the figures to this JSON file.")
def expert_random(names: list[str] | None, episodes: int, seed: int, out: Path | None) -> None:
    """Measure the random policy (uniform actions), the zero of the normalized score.

    \b
    Example: how the shipped figures were made
      gailbench expert random --out gailbench/experts/random.json
    """
    from gailbench.experts.train import measure_random
    from gailbench.plumbing.files import write_atomic

    figures = {task.name: measure_random(task, episodes, seed) for task in _tasks(names)}
    for name, values in figures.items():
        click.echo(f"{name}: {values['mean']:.2f} ± {values['std']:.2f} ({episodes} episodes)")
    if out is not None:
        try:
            write_atomic(out, json.dumps(figures, indent=2) + "\n")
        except OSError as error:
            raise GailbenchError(f"cannot write {out}: {error.strerror}") from None


@cli.group()
def demos() -> None:
    """Sample and inspect demonstrations."""


@demos.command("sample")
@click.option("--task", "names", type=TASK_LIST, help="Tasks; all that have an expert if not given.")
@click.option(
    "--trajectories", type=POSITIVE, help="Trajectories.  [default: the paper's full set]", show_default=False
)
@click.option("--seed", type=SEED, default=0, help="Seed.")
@click.option("--expert", "file", type=FILE, help="Policy file.  [default: the shipped one]", show_default=False)
@click.option("--out", type=FILE, help="Demonstrations file.  [default: demos/TASK.npz]", show_default=False)
def demos_sample(
    names: list[str] | None, trajectories: int | None, seed: int, file: Path | None, out: Path | None
) -> None:
    """Sample whole trajectories of the stochastic expert, with their true rewards.

    \b
    Example:
      gailbench demos sample --task hopper --trajectories 50 --out hopper.npz
    """
    from gailbench import demonstrations, experts

    chosen = _tasks(names or experts.shipped())
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
        _say(f"next: gailbench run --task {task.name} --demos {path}")


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
        _print_json(content)
        return
    for name, value in content.items():
        click.echo(f"{name}: {value}")


@cli.command("run")
@click.option("--task", "names", type=TASK_LIST_OR_ALL, required=True, help="Tasks, or all.")
@click.option(
    "--sizes",
    type=CommaList(_number(int, 1), "N,..."),
    help="Demonstration sizes in trajectories.  [default: the paper's]",
    show_default=False,
)
@click.option(
    "--algorithms",
    type=CommaList(_one_of("algorithm", (*ALGORITHMS, CONSTANT)), "A,..."),
    help="Algorithms, or constant: TRPO on a constant reward, a control.  [default: the paper's for the task]",
    show_default=False,
)
@click.option("--seeds", type=CommaList(_number(int, 0), "S,..."), default="0", help="Seeds.")
@click.option(
    "--entropy-weight",
    "entropy_weights",
    type=CommaList(_number(float, 0), "L,..."),
    help="GAIL's policy entropy weights (lambda).  [default: the paper's for the task]",
    show_default=False,
)
@click.option(
    "--demos",
    "demos_file",
    type=FILE,
    help="Demonstrations of your own.  [default: the shipped expert's]",
    show_default=False,
)
@click.option(
    "--iterations",
    type=POSITIVE,
    help="Iterations (BC: gradient steps).  [default: the paper's]",
    show_default=False,
)
@click.option("--batch", type=POSITIVE, help="Pairs per iteration.  [default: the paper's]", show_default=False)
@click.option("--results", type=FOLDER, default=Path("results"), help="Results folder.")
@click.option(
    "--jobs",
    type=POSITIVE,
    help="Runs side by side, local engine only.  [default: number of cores]",
    show_default=False,
)
@click.option("--checkpoint-every", type=SECONDS, default=300, help="Seconds between two checkpoints of a run.")
@click.option(
    "--time-limit",
    type=Duration(),
    help="Stop, with everything saved, when this time is over.  [default: none]",
    show_default=False,
)
@click.option(
    "--shard",
    type=Shard(),
    help="Only the K-th of N parts, for batch systems.  [default: all]",
    show_default=False,
)
@click.option(
    "--engine", type=click.Choice(("local", "ray")), default="local", help="Processes of this machine, or a cluster."
)
@click.option(
    "--address",
    help="Ray cluster to join, 'auto' for the one this machine is in.  [default: starts one]",
    show_default=False,
)
@click.option("--dry-run", is_flag=True, help="List the runs and write nothing.")
def run_command(
    names: list[str],
    sizes: list[int] | None,
    algorithms: list[str] | None,
    seeds: list[int],
    entropy_weights: list[float] | None,
    demos_file: Path | None,
    iterations: int | None,
    batch: int | None,
    results: Path,
    jobs: int | None,
    checkpoint_every: float,
    time_limit: float | None,
    shard: tuple[int, int] | None,
    engine: str,
    address: str | None,
    dry_run: bool,
) -> None:
    """Run algorithms on tasks: by default the paper's grid at the paper's budget.

    Complete runs are skipped; interrupted, the same command continues. Runs with the fewest environment steps go
    first, then lower seeds, then smaller sizes. Several of these commands may share a results folder.

    \b
    Example:
      gailbench run --task walker --sizes 4,11,18,25 --algorithms bc,gail --seeds 0,1,2
    """
    import time

    from gailbench import grid, runs
    from gailbench.plumbing.files import check_writable
    from gailbench.plumbing.progress import GridProgress, count, duration

    deadline = float("inf")
    if time_limit is not None:
        # Saving takes a moment too.
        deadline = time.monotonic() + time_limit - min(10.0, 0.05 * time_limit)
    chosen = _tasks(names)
    if demos_file is not None and len(chosen) > 1:
        raise click.UsageError(f"--demos names one task's file, but there are {len(chosen)} tasks; give one --task")
    if address is not None and engine != "ray":
        raise click.UsageError("--address is Ray's; give --engine ray too")
    remarks: list[str] = []
    planned = [
        job
        for task in chosen
        for job in grid.plan(
            task,
            results,
            demos_file,
            sizes,
            algorithms,
            seeds,
            entropy_weights,
            batch,
            iterations,
            remarks.append,
            not dry_run,
        )
    ]
    planned = grid.ordered(planned) if shard is None else grid.shard(planned, *shard)
    states = {job: runs.status(job.spec, results, remarks.append) for job in planned}
    todo = [job for job in planned if states[job] != "complete"]
    if todo and not dry_run:
        check_writable(results / "runs")
    found = list(states.values())
    steps = sum(job.spec.steps for job in todo)
    workers = min(jobs or _cores(), max(len(todo), 1))
    budget = f"{count(steps)} environment steps"
    if steps:
        budget = f"at least {budget}"  # a batch holds whole episodes
    if todo:
        from gailbench.simulation import estimate_steps_per_second  # not the policy's: importing torch takes seconds

        seconds = sum(
            sum(job.spec.steps for job in todo if job.spec.task == task.name)
            / estimate_steps_per_second(task.environment, task.horizon)
            for task in chosen
            if any(job.spec.task == task.name for job in todo)
        )
        budget += f", about {duration(seconds / workers)} of simulation plus learning"
        budget += f" with {workers} job{'s' if workers > 1 else ''}"
    _say(
        f"{len(planned)} runs: {found.count('complete')} complete, {found.count('resumable')} to resume, "
        f"{found.count('new')} new; {budget}"
    )
    for remark in remarks:
        _say(f"remark: {remark}")
    if dry_run:
        _print_table(
            ("status", "task", "algorithm", "settings", "trajectories", "seed", "steps"),
            [
                (state, spec.task, spec.algorithm, spec.settings, spec.trajectories, spec.seed, f"{spec.steps:,}")
                for spec, state in ((job.spec, state) for job, state in states.items())
            ],
        )
        return
    with GridProgress(len(todo), _stderr()) as progress:
        if engine == "ray":
            from gailbench.engines import ray

            outcome = ray.execute(todo, results, address, progress.show, checkpoint_every, deadline)
        else:
            from gailbench.engines import local

            outcome = local.execute(todo, results, workers, progress.show, checkpoint_every, deadline)
    for spec, message in outcome.failed.items():
        _say(f"failed: {spec.label()}: {message}")
    if outcome.interrupted:
        why = "the time limit is reached" if time.monotonic() >= deadline else "interrupted"
        _say(f"{why}; checkpoints are saved and the same command continues")
        sys.exit(EXIT_INTERRUPTED)
    _say(f"next: gailbench report --results {results}")
    if outcome.failed:
        sys.exit(EXIT_SOME_FAILED)


def _cores() -> int:
    """Cores that this process may use, which a batch system may have limited."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cli.command("report")
@click.option("--results", type=FOLDER, default=Path("results"), help="Results folder.")
@click.option("--out", type=FOLDER, help="Folder of the report.  [default: RESULTS/report]", show_default=False)
@click.option(
    "--format",
    "formats",
    type=CommaList(_one_of("format", REPORT_FORMATS), "F,..."),
    default=",".join(REPORT_FORMATS),
    help="What to write; png, svg and pdf are the figures.",
)
@click.option(
    "--add",
    "added",
    type=FILE,
    multiple=True,
    help="CSV of someone else's returns: task, algorithm, trajectories, seed, episode, return. Also several times.",
)
@click.option("--readme", type=FILE, help="Also fill the marked block of this Markdown file with the main numbers.")
def report_command(
    results: Path, out: Path | None, formats: list[str], added: tuple[Path, ...], readme: Path | None
) -> None:
    """Write tables, page and figures beside the paper's numbers, and print the table.

    Every cell gets a verdict: matches, better, worse or open. Without --out, RESULTS/README.md shows the report.

    \b
    Example:
      gailbench report --results results --out report --format md,html --add mine.csv
    """
    from gailbench.report import fill_readme, write_report, write_results_readme

    if not results.is_dir():
        raise GailbenchError(f"no results folder at {results}; 'gailbench run' makes one")
    folder = out or results / "report"
    report = write_report(results, folder, formats=formats, added=added)
    click.echo(report.markdown)
    for remark in report.remarks:
        _say(f"remark: {remark}")
    _say(f"{len(report.files)} files written to {folder}")
    if out is None and "md" in formats:
        shown = write_results_readme(report, results)
        _say(f"{shown} written" if shown else f"{results / 'README.md'} is not the report's and stays as it is")
    if readme is not None:
        fill_readme(readme, report.findings, results)
        _say(f"numbers filled into {readme}")


@cli.command("show")
@click.argument("run", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_command(run: Path, as_json: bool) -> None:
    """Show one run: what determines it, its learning curve, its evaluation, the paper's value.

    \b
    Example:
      gailbench show results/runs/task=hopper/algorithm=gail/settings=paper/trajectories=4/seed=0
    """
    from gailbench.report.show import describe, show_text

    description = describe(run)
    if as_json:
        _print_json(description.content)
        return
    click.echo(show_text(description), nl=False)


@cli.command("bench")
@click.option("--task", "names", type=TASK_LIST, help="Tasks; all nine if not given.")
@click.option("--threads", type=POSITIVE, default=1, help="Threads of each measurement.")
@click.option("--rounds", type=POSITIVE, default=5, help="Interleaved rounds; figures are their medians.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench_command(names: list[str] | None, threads: int, rounds: int, as_json: bool) -> None:
    """Measure sampling and whole GAIL iterations against the physics alone.

    \b
    Example:
      gailbench bench --task hopper
    """
    from dataclasses import asdict

    from gailbench.bench import measure

    speeds = []
    for task in _tasks(names):
        _say(f"measuring {task.name} ...")
        speeds.append(measure(task, threads, rounds))
    if as_json:
        _print_json([asdict(speed) for speed in speeds])
        return
    _print_table(
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


def main() -> None:
    """The console script: every expected error becomes one line on stderr and its exit code."""
    # NumPy's matrix library reads this once; runs are one thread each, and small products gain nothing from more.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        _say(error.format_message())
        sys.exit(error.exit_code)
    except click.UsageError as error:
        where = f" (see '{error.ctx.command_path} --help')" if error.ctx else ""
        _say(f"gailbench: {error.format_message()}{where}".replace("\n", " "))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _say(f"gailbench: {error.format_message()}")
        sys.exit(error.exit_code)
    except GailbenchError as error:
        _say(f"gailbench: {error}")
        sys.exit(EXIT_ERROR)
    except (KeyboardInterrupt, click.Abort):
        _say("gailbench: interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has enough; there is nobody to tell.
        sys.stderr.close()
        sys.exit(EXIT_ERROR)
    sys.exit(code if isinstance(code, int) else 0)
