"""Episodes of a policy as a video, in Gymnasium's own environment and with its rendering.

For the paper's MuJoCo tasks the physics of training equals Gymnasium's to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.extras import load_extra
from gailbench.plumbing.files import open_atomic, remove_temporary
from gailbench.plumbing.streams import stream
from gailbench.policy import Policy
from gailbench.sampling import steps_of_episode
from gailbench.simulation.gymnasium import close
from gailbench.simulation.mujoco import log_warnings
from gailbench.simulation.rendering import image, make_rendering
from gailbench.tasks import Task

MOST_FRAMES = 50  # per second, the most that GIF supports
SLOWEST = Fraction(1, 100)  # frames per second; GIF can show a frame for 655 seconds
Frames = Iterator[NDArray[np.uint8]]


@dataclass
class Recording:
    """Facts about a video.

    Attributes:
        returns: Returns of the episodes.
        lengths: Lengths of the episodes, in steps.
        frames: Total number of frames.
        every: Every `every`-th step of an episode is a frame, starting with the first, so that there are at most
            `MOST_FRAMES` frames per second.
        rate: Frames per second. The video plays in the environment's real time.
    """

    every: int
    rate: Fraction
    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    frames: int = 0


def record(
    task: Task,
    policy: Policy,
    out: Path,
    episodes: int,
    seed: int,
    deterministic: bool,
    opengl: str | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> Recording:
    """Write whole episodes of a policy as a video. The file's suffix gives the format.

    Args:
        task: The task.
        policy: The policy.
        out: The file, with a suffix in `FORMATS`.
        episodes: Number of episodes.
        seed: Seed of initial states and action noise. The episodes are the first ones of `experts.train.measure` with
            the same seed.
        deterministic: Whether actions are the most probable ones instead of samples.
        opengl: The user's value of MUJOCO_GL.
        on_frame: Called after each frame.

    Raises:
        GailbenchError: The environment cannot be rendered, or a package is missing.
        OSError: The file cannot be written.
    """
    write = FORMATS[out.suffix]
    remove_temporary(out)
    log_warnings()
    env = make_rendering(task, opengl)
    recording = Recording(*pace(env.metadata))
    generator = stream(seed, f"evaluation/{'deterministic' if deterministic else 'stochastic'}")

    def frames() -> Frames:
        for _ in range(episodes):
            recording.returns.append(0.0)
            recording.lengths.append(0)
            for reward in steps_of_episode(env, task, policy, generator, deterministic):
                if recording.lengths[-1] % recording.every == 0:
                    yield image(env, task.environment)
                    recording.frames += 1
                    on_frame()
                recording.returns[-1] += reward
                recording.lengths[-1] += 1

    try:
        with open_atomic(out) as file:
            write(file, frames(), recording.rate)
    finally:
        close(env)
    return recording


def pace(metadata: dict[str, Any]) -> tuple[int, Fraction]:
    """Return the number of steps per frame and the frames per second, for the environment's real time.

    Raises:
        GailbenchError: The environment's metadata have a number of frames per second that no video can have.
    """
    found = metadata.get("render_fps") or 30
    try:
        steps = Fraction(float(found)).limit_denominator(1000)
    except (TypeError, ValueError, OverflowError):
        steps = Fraction(0)
    if steps < SLOWEST:
        raise GailbenchError(
            f"the environment's metadata have render_fps {found!r}; it must be a number of at least {float(SLOWEST):g}"
        )
    every = math.ceil(steps / MOST_FRAMES)
    return every, steps / every


def check_format(out: Path) -> None:
    """Check that the packages for a format are installed.

    Raises:
        GailbenchError: A package is missing. The message says what to install.
    """
    if out.suffix == ".mp4":
        load_extra("av", "video", "an .mp4 file")


def write_mp4(file: BinaryIO, frames: Frames, rate: Fraction) -> None:
    """Write frames (height, width, 3) as H.264 in MP4, which all browsers play."""
    import av

    first = next(frames)
    height, width = (
        size - size % 2 for size in first.shape[:2]
    )  # sizes must be even: colours are stored once per two pixels
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "20"})
        video.pix_fmt, video.height, video.width = "yuv420p", height, width
        for frame in chain([first], frames):
            even = np.ascontiguousarray(frame[:height, :width])
            container.mux(video.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(video.encode())


def write_gif(file: BinaryIO, frames: Frames, rate: Fraction) -> None:
    """Write frames (height, width, 3) as an animated GIF that starts over at its end."""
    from PIL import Image

    images = [Image.fromarray(frame).quantize() for frame in frames]
    # GIF counts in hundredths of a second. End times are rounded, so that rounding errors do not add up.
    ends = [round(100 * (k + 1) / rate) for k in range(len(images))]
    durations = [10 * (end - begin) for begin, end in zip([0, *ends], ends, strict=False)]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)


FORMATS: dict[str, Callable[[BinaryIO, Frames, Fraction], None]] = {".mp4": write_mp4, ".gif": write_gif}
