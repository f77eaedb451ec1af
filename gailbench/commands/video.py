"""Rendering episodes as a video."""

from __future__ import annotations

from pathlib import Path

import click

from gailbench.commands.options import FILE, FOLDER, POSITIVE, SEED, TASK_LIST, check_free, one_task, overwrite_option
from gailbench.commands.printing import stderr
from gailbench.plumbing.errors import GailbenchError
from gailbench.tasks import Task

# The value of --expert without a file. No file can have this name.
SHIPPED = Path("")


@click.command("video", short_help="Render episodes as a video.")
@click.argument("run", type=FOLDER, required=False)
@click.option("--task", "tasks", type=TASK_LIST, help="One task.  [default: the run's]", show_default=False)
@click.option(
    "--expert",
    "file",
    type=FILE,
    is_flag=False,
    flag_value="",
    help="The task's expert, or a policy file.  [default: the task's expert if RUN is not given]",
    show_default=False,
)
@click.option("--out", type=FILE, required=True, help="Video file, .mp4 or .gif.")
@click.option("--episodes", type=POSITIVE, default=1, help="Number of episodes.")
@click.option("--seed", type=SEED, default=0, help="Seed of initial states and actions.")
@click.option("--deterministic", is_flag=True, help="Take the most probable actions instead of samples.")
@overwrite_option
@click.pass_obj
def video(
    opengl: str | None,
    run: Path | None,
    tasks: list[Task] | None,
    file: Path | None,
    out: Path,
    episodes: int,
    seed: int,
    deterministic: bool,
    overwrite: bool,
) -> None:
    """Render episodes of an expert, a policy file or a run's policy, in Gymnasium's own environment.

    The video plays in real time, at 50 frames per second at most. Without a display MuJoCo's tasks need EGL or OSMesa;
    the environment variable MUJOCO_GL chooses egl, osmesa or glfw.

    \b
    Example:
      gailbench video --task hopper --out hopper.mp4
    """
    from gailbench import experts
    from gailbench.commands.progress import FrameProgress
    from gailbench.plumbing.files import check_writable
    from gailbench.policy import read_policy
    from gailbench.runs.folder import RunFolder
    from gailbench.video import FORMATS, check_format, record

    asked = None if tasks is None else one_task(tasks)
    if run is not None and file is not None:
        raise click.UsageError("RUN and --expert both name a policy; give one of them")
    if out.suffix not in FORMATS:
        raise click.UsageError(f"--out {out} must end in {' or '.join(FORMATS)}")
    check_free(out, overwrite)
    check_format(out)
    if run is None:
        if asked is None:
            raise click.UsageError("give --task, or the folder of a run")
        task = asked
        policy, _ = experts.load(task, None if file == SHIPPED else file)
    else:
        folder = RunFolder(run)
        task = folder.task()
        if asked is not None and asked.name != task.name:
            raise click.UsageError(f"{run} is a run of '{task.name}', not of '{asked.name}'; leave out --task")
        path = folder.policy
        if not path.exists():
            raise GailbenchError(
                f"{run} has no policy yet; complete the run first, by 'gailbench run' with its settings"
            )
        policy = read_policy(path)
        experts.check_dimensions(task, path, policy.observation_dim, policy.action_dim, policy.discrete)
    check_writable(out.parent)
    with FrameProgress(task.name, stderr()) as progress:
        recording = record(task, policy, out, episodes, seed, deterministic, opengl, progress.advance)
    for number, (value, length) in enumerate(zip(recording.returns, recording.lengths, strict=True)):
        click.echo(f"episode {number}: return {value:.2f}, {length} steps")
    click.echo(f"{recording.frames} frames, {float(recording.frames / recording.rate):.1f} s, written to {out}")
