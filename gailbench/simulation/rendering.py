"""Environments that render images, and finding an OpenGL library for MuJoCo's environments."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from ctypes.util import find_library
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.extras import how_to_install
from gailbench.simulation.gymnasium import make_single
from gailbench.tasks import Task

# Values of MUJOCO_GL that Gymnasium knows, with the library of each and its packages on Debian and Ubuntu.
LIBRARIES = {
    "egl": ("EGL", "libegl1 libopengl0 libgl1-mesa-dri"),
    "osmesa": ("OSMesa", "libosmesa6"),
    "glfw": ("GL", "libgl1 libgl1-mesa-dri"),
}
_OFF = ("", "disable", "disabled", "off", "false", "0")
# Run in a separate process, because a library that does not work may end the process and cannot be loaded again.
_PROBE = """
import os, mujoco
context = mujoco.GLContext(8, 8)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)
os._exit(0)
"""


def make_rendering(task: Task, wanted: str | None) -> Any:
    """Return a single environment of a task that renders images (see `image`).

    Args:
        task: The task.
        wanted: The user's value of MUJOCO_GL. If it is not set, a library that works on this machine is found.

    Raises:
        GailbenchError: Gymnasium cannot make the environment, it renders no images, or a library is missing.
    """
    # Classic tasks must not open a window or print a greeting on standard output.
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with warnings.catch_warnings(action="ignore"):  # warnings about unsupported render modes
        env = make_single(task, "rgb_array")
    modes = env.metadata.get("render_modes") or ()
    if "rgb_array" not in modes:
        raise GailbenchError(
            f"'{task.environment}' renders no images: its render modes are {', '.join(modes) or 'none'}, "
            "rgb_array is needed"
        )
    if hasattr(env.unwrapped, "mujoco_renderer"):
        os.environ["MUJOCO_GL"] = find_opengl(task.environment, wanted)
        if not any(name.startswith(("camera", "default_camera")) for name, _ in task.kwargs):
            _follow(env.unwrapped)
    return env


def _follow(env: Any) -> None:
    """Use the model's camera that follows the robot, if it has one.

    Gymnasium used it until version 1.3. The default camera of version 1.4 does not move, so robots leave the image.
    """
    import mujoco

    env.mujoco_renderer.camera_id = mujoco.mj_name2id(env.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")


def image(env: Any, environment: str) -> NDArray[np.uint8]:
    """Return an image (height, width, 3) uint8 of an environment's state.

    Raises:
        GailbenchError: The environment cannot be rendered.
    """
    import gymnasium

    try:
        frame = np.asarray(env.render())
    except gymnasium.error.DependencyNotInstalled as error:
        if "pygame" in str(error):
            raise GailbenchError(
                f"rendering '{environment}' needs the package pygame; {how_to_install('video')}"
            ) from None
        raise GailbenchError(f"'{environment}' cannot be rendered: {first_line(error)}") from None
    except Exception as error:  # rendering can raise anything
        raise GailbenchError(f"'{environment}' cannot be rendered: {first_line(error)}") from None
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise GailbenchError(
            f"'{environment}' renders an array of {frame.dtype} with shape {frame.shape}; (height, width, 3) of uint8 "
            "is needed"
        )
    return frame


def find_opengl(environment: str, wanted: str | None) -> str:
    """Return a value of MUJOCO_GL with which this machine can render: the user's, or the first that works.

    Raises:
        GailbenchError: None works. The message says which library is missing, and what to do.
    """
    wanted = (wanted or "").strip().lower()
    if wanted not in (*LIBRARIES, *_OFF):
        raise GailbenchError(f"MUJOCO_GL is '{wanted}'; it must be one of {', '.join(LIBRARIES)}")
    reasons = {}
    for name in _candidates() if wanted in _OFF else (wanted,):
        if (reason := why_not(name)) is None:
            return name
        reasons[name] = reason
    found = ", ".join(f"MUJOCO_GL={name}: {reason}" for name, reason in reasons.items())
    _, packages = LIBRARIES[next(iter(reasons))]
    install = f"install the library ('apt-get install {packages}' on Debian and Ubuntu)"
    unset = "" if wanted in _OFF else ", or leave MUJOCO_GL unset to try the others"
    raise GailbenchError(f"'{environment}' cannot be rendered ({found}); {install}{unset}")


def _candidates() -> tuple[str, ...]:
    return ("glfw",) if sys.platform == "darwin" else tuple(LIBRARIES)


def why_not(name: str) -> str | None:
    """Return why MuJoCo cannot render with a value of MUJOCO_GL; None if it can."""
    library, _ = LIBRARIES[name]
    if sys.platform != "darwin":
        if find_library(library) is None:
            return f"lib{library} is not installed"
        if name == "glfw" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            return "there is no display"
    command, environment = [sys.executable, "-P", "-c", _PROBE], {**os.environ, "MUJOCO_GL": name}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "it does not respond"
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"]
    # The first sentence of the exception's message, without its type.
    return said[-1].partition(": ")[2].partition(". ")[0] or said[-1]
