"""Episodes of a policy as a video, on Gymnasium's own environment and with its rendering.

Our physics of the paper's tasks equals Gymnasium's to the bit, so these are the episodes that a policy has in training.
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

from gailbench.experts.train import steps_of_episode
from gailbench.plumbing.bounds import load_extra
from gailbench.plumbing.files import open_atomic, remove_temporary
from gailbench.plumbing.streams import stream
from gailbench.policy import Policy
from gailbench.simulation.mujoco import log_warnings
from gailbench.simulation.rendering import image, make_rendering
from gailbench.tasks import Task

MOST_FRAMES = 50  # per second; GIF knows no more
Frames = Iterator[NDArray[np.uint8]]


@dataclass
class Recording:
    """What a video shows.

    Attributes:
        returns: Of its episodes.
        lengths: Of its episodes, in steps.
        frames: In all; every `every`-th step is one, from the first of an episode.
        every: So that a second shows `MOST_FRAMES` at most.
        rate: Frames per second; the video runs in the environment's real time.
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
    """Write whole episodes of a policy as a video, in the format of the file's ending.

    Args:
        task: The task.
        policy: Whose episodes.
        out: The file, of a format of `FORMATS`.
        episodes: Their number.
        seed: Of initial states and action noise; the episodes are the first of `experts.train.measure` with that seed.
        deterministic: Whether actions are the most probable ones instead of samples.
        opengl: The user's MUJOCO_GL.
        on_frame: Hears of each frame.

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
            for reward in steps_of_episode(env, task.horizon, policy, generator, deterministic):
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
        env.close()
    return recording


def pace(metadata: dict[str, Any]) -> tuple[int, Fraction]:
    """Return every how many steps there is a frame, and frames per second, for an environment's real time."""
    steps = Fraction(metadata.get("render_fps") or 30).limit_denominator(1000)
    every = math.ceil(steps / MOST_FRAMES)
    return every, steps / every


def check_format(out: Path) -> None:
    """Check that what a format needs is installed.

    Raises:
        GailbenchError: It is not; the message says what to install.
    """
    if out.suffix == ".mp4":
        load_extra("av", "video", "an .mp4 file")


def write_mp4(file: BinaryIO, frames: Frames, rate: Fraction) -> None:
    """Write frames (height, width, 3) as H.264 in MP4, which every browser plays."""
    import av

    first = next(frames)
    height, width = (size - size % 2 for size in first.shape[:2])  # of each two pixels the colour is stored once
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
    # GIF counts in hundredths of a second; rounded ones add up to the true time.
    ends = [round(100 * (k + 1) / rate) for k in range(len(images))]
    durations = [10 * (end - begin) for begin, end in zip([0, *ends], ends, strict=False)]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)


FORMATS: dict[str, Callable[[BinaryIO, Frames, Fraction], None]] = {".mp4": write_mp4, ".gif": write_gif}
