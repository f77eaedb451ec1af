"""Episodes as videos, read back with PyAV and Pillow, and what is said where a library is missing."""

from __future__ import annotations

import io
import re
import shutil
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from cli_helpers import call, files_under
from PIL import Image

from gailbench import demonstrations, experts
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.files import write_atomic
from gailbench.plumbing.streams import stream
from gailbench.runs.execute import execute
from gailbench.runs.folder import RunFolder
from gailbench.runs.spec import make_spec
from gailbench.sampling import gymnasium_episodes
from gailbench.simulation import rendering
from gailbench.tasks import Task, get_task, own_task, task_from_file
from gailbench.video import pace, record, write_gif, write_mp4

EXTRA = "pip install -e '.[video]'"
av = pytest.importorskip("av", reason=f"PyAV is not installed: {EXTRA}")
pytest.importorskip("pygame", reason=f"pygame is not installed: {EXTRA}")
pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No choice of the user's, and none that is left to later tests."""
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM", "SDL_VIDEODRIVER", "PYGAME_HIDE_SUPPORT_PROMPT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def opengl() -> None:
    """Skips where MuJoCo cannot render."""
    try:
        rendering.find_opengl("Hopper-v5", None)
    except GailbenchError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def hopper(tmp_path: Path) -> tuple[Path, Path]:
    """A TOML file of nine steps of hopper, and a policy file of its expert."""
    (tmp_path / "short.toml").write_text('environment = "Hopper-v5"\nhorizon = 9\n')
    shutil.copy(experts.default_path(get_task("hopper")), tmp_path / "policy.safetensors")
    return tmp_path / "short.toml", tmp_path / "policy.safetensors"


def frames_of(path: Path) -> list[Any]:
    """The frames of a video (height, width, 3)."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with Image.open(path) as image:
        return [np.asarray(_at(image, number).convert("RGB")) for number in range(image.n_frames)]


def _at(image: Any, number: int) -> Any:
    image.seek(number)
    return image


def seconds_of(path: Path) -> float:
    with Image.open(path) as image:
        return sum(_at(image, number).info["duration"] for number in range(image.n_frames)) / 1000


# What is shown


def test_a_shipped_experts_episode_has_a_frame_per_step(tmp_path: Path) -> None:
    out = tmp_path / "new" / "cartpole.mp4"
    finished = call("video", "--task", "cartpole", "--expert", "--out", out)
    assert (finished.code, finished.err) == (0, "")
    assert finished.out == (
        f"episode 0: return 200.00, 200 steps\n200 frames, 4.0 s, written to {out}\n"  # 50 steps are a second
    )
    frames = frames_of(out)
    assert (len(frames), frames[0].shape) == (200, (400, 600, 3))
    assert len({frame.tobytes() for frame in frames}) > 50
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_mujocos_frames_show_the_robot_wherever_it_goes(
    opengl: None, hopper: tuple[Path, Path], tmp_path: Path
) -> None:
    import mujoco

    task_file, policy = hopper
    out = tmp_path / "hopper.mp4"
    finished = call("video", "--task", task_file, "--expert", policy, "--out", out)
    assert (finished.code, finished.err) == (0, "")
    assert finished.out.splitlines()[1] == f"3 frames, 0.1 s, written to {out}"  # every third of 125 steps a second
    frames = frames_of(out)
    assert (len(frames), frames[0].shape) == (3, (480, 480, 3))
    assert not (frames[0] == frames[2]).all()

    env = rendering.make_rendering(task_from_file(task_file), None)
    env.reset(seed=0)
    for place in (0.0, 30.0):
        env.unwrapped.data.qpos[0] = place
        mujoco.mj_forward(env.unwrapped.model, env.unwrapped.data)
        red, green, _ = np.moveaxis(rendering.image(env, "Hopper-v5").astype(int), 2, 0)
        assert (red > green + 30).sum() > 1_000  # the robot is the only thing that is brown
    env.close()


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_episodes_are_those_that_an_evaluation_with_the_seed_begins_with(
    deterministic: bool, tmp_path: Path
) -> None:
    task = own_task("Acrobot-v1", {"horizon": 30})
    policy, _ = experts.load(get_task("acrobot"))
    recording = record(task, policy, tmp_path / "acrobot.gif", 2, 5, deterministic)
    kind = "deterministic" if deterministic else "stochastic"
    returns, lengths = gymnasium_episodes(task, policy, 2, stream(5, f"evaluation/{kind}"), deterministic)
    assert (recording.returns, recording.lengths) == (returns.tolist(), lengths.tolist())
    assert recording.frames == lengths.sum()
    assert (recording.every, recording.rate) == (1, 15)
    assert seconds_of(tmp_path / "acrobot.gif") == pytest.approx(lengths.sum() / 15, abs=0.01)


def test_a_runs_policy_is_shown_on_the_runs_own_task(tmp_path: Path) -> None:
    task = own_task("MountainCar-v0", {"name": "short-car", "horizon": 20, "keep_every": 1, "sizes": (1,)})
    policy, digest = experts.load(get_task("mountaincar"))
    demos = demonstrations.sample(task, policy, digest, 1, 0)
    spec = make_spec(task, "bc", 1, 0, demos, iterations=2)
    execute(spec, demos, tmp_path)
    run, out = spec.folder(tmp_path), tmp_path / "car.gif"
    finished = call("video", run, "--episodes", 2, "--out", out, "--deterministic")
    assert finished.out == (
        f"episode 0: return -20.00, 20 steps\nepisode 1: return -20.00, 20 steps\n40 frames, 1.3 s, written to {out}\n"
    )
    assert seconds_of(out) == pytest.approx(40 / 30, abs=0.01)
    refused = call("video", run, "--task", "cartpole", "--out", tmp_path / "x.gif")
    assert (refused.code, "is a run of 'short-car', not of 'cartpole'" in refused.err) == (2, True)


@pytest.mark.parametrize(
    "task",
    [get_task("walker"), own_task("Pendulum-v1", {"kwargs": (("g", 9.8),), "settings": (("loop.gamma", 0.9),)})],
    ids=lambda task: task.name,
)
def test_a_run_says_which_task_it_is_of(task: Task, tmp_path: Path) -> None:
    import json

    spec = make_spec(task, "constant", 0, 0, None)
    (tmp_path / "spec.json").write_text(json.dumps(spec.as_json()))
    assert RunFolder(tmp_path).task() == task


@pytest.mark.parametrize(
    ("per_second", "every", "rate"),
    [(50, 1, Fraction(50)), (125, 3, Fraction(125, 3)), (67, 2, Fraction(67, 2)), (None, 1, Fraction(30))],
)
def test_a_second_shows_fifty_frames_at_most(per_second: int | None, every: int, rate: Fraction) -> None:
    assert pace({} if per_second is None else {"render_fps": per_second}) == (every, rate)


@pytest.mark.parametrize("per_second", [float("inf"), float("nan"), 1e-9, -30, "fast", [30]])
def test_a_speed_that_no_video_has_is_refused(per_second: object) -> None:
    with pytest.raises(GailbenchError, match=f"render_fps {re.escape(repr(per_second))}; it must be a number"):
        pace({"render_fps": per_second})


@pytest.mark.parametrize(("write", "size"), [(write_mp4, (30, 40)), (write_gif, (31, 41))])
def test_frames_of_odd_sizes_can_be_written(write: Any, size: tuple[int, int], tmp_path: Path) -> None:
    frames = [np.full((31, 41, 3), 80 * number, dtype=np.uint8) for number in range(3)]
    path = tmp_path / ("video.mp4" if write is write_mp4 else "video.gif")
    buffer = io.BytesIO()
    write(buffer, iter(frames), Fraction(125, 3))
    path.write_bytes(buffer.getvalue())
    found = frames_of(path)
    assert [frame.shape[:2] for frame in found] == [size] * 3
    assert [abs(int(frame.mean()) - 80 * number) < 6 for number, frame in enumerate(found)] == [True] * 3


# What is refused


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--task", "cartpole", "--out", "x.avi"), 2, "--out x.avi must end in .mp4 or .gif"),
        (("--task", "cartpole", "--out", "there.gif"), 1, "there.gif exists already"),
        (("--out", "x.gif"), 2, "give --task, or the folder of a run"),
        (("--task", "cartpole,acrobot", "--out", "x.gif"), 2, "--task names 2 tasks"),
        (("run", "--expert", "f", "--out", "x.gif"), 2, "RUN and --expert both name a policy"),
        (("nothing", "--out", "x.gif"), 1, "nothing is not a run: spec.json cannot be read"),
        (("run", "--out", "x.gif"), 1, "run has no policy yet"),
        (("damaged", "--out", "x.gif"), 1, "spec.json is damaged"),
        (("--task", "Pendulum-v1", "--out", "x.gif"), 1, "no expert of 'Pendulum-v1'"),
        (("--task", "cartpole", "--expert", "none.safetensors", "--out", "x.gif"), 1, "none.safetensors"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    arguments: tuple[str, ...], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.gif").write_bytes(b"mine")
    for folder, content in (("run", '{"task": "cartpole"}'), ("damaged", '{"definition": {"name": 1}}')):
        Path(folder).mkdir()
        write_atomic(Path(folder) / "spec.json", content)
    before = files_under(tmp_path)
    finished = call("video", *arguments)
    assert (finished.code, finished.err.count("\n"), finished.out) == (code, 1, "")
    assert words in finished.err
    assert files_under(tmp_path) == before


def test_a_file_is_overwritten_when_asked(tmp_path: Path) -> None:
    (tmp_path / "car.toml").write_text('environment = "MountainCar-v0"\nhorizon = 20\n')
    (tmp_path / "car.gif").write_bytes(b"mine")
    shutil.copy(experts.default_path(get_task("mountaincar")), tmp_path / "policy.safetensors")
    command = ("video", "--task", tmp_path / "car.toml", "--expert", tmp_path / "policy.safetensors")
    assert call(*command, "--out", tmp_path / "car.gif", "--overwrite").code == 0
    assert seconds_of(tmp_path / "car.gif") == pytest.approx(20 / 30, abs=0.01)


@pytest.mark.parametrize(("package", "ending"), [("av", ".mp4"), ("pygame", ".gif")])
def test_a_missing_package_names_the_extra(
    package: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # import raises ImportError
    finished = call("video", "--task", "cartpole", "--out", tmp_path / f"x{ending}")
    assert (finished.code, finished.err.count("\n"), files_under(tmp_path)) == (1, 1, {})
    assert f"needs the package {package}; install it with pip install -e '.[video]' in a checkout" in finished.err


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("osmesa", ("libOSMesa is not installed", "apt-get install libosmesa6", "leave MUJOCO_GL unset")),
        ("egl", ("libEGL is not installed", "apt-get install libegl1")),
        (None, ("libEGL is not installed", "libOSMesa is not installed", "apt-get install libegl1")),
        ("vulkan", ("MUJOCO_GL is 'vulkan'", "egl, osmesa, glfw")),
    ],
)
def test_a_missing_opengl_library_is_one_line(
    wanted: str | None,
    words: tuple[str, ...],
    hopper: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rendering, "find_library", lambda name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    if wanted is not None:
        monkeypatch.setenv("MUJOCO_GL", wanted)
    before = files_under(tmp_path)
    finished = call("video", "--task", hopper[0], "--expert", hopper[1], "--out", tmp_path / "x.gif")
    assert (finished.code, finished.err.count("\n"), finished.out) == (1, 1, "")
    assert all(word in finished.err for word in words)
    assert files_under(tmp_path) == before


def test_a_library_that_does_not_work_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "find_library", lambda name: name)
    monkeypatch.setattr(rendering, "_PROBE", "raise ImportError('no device. See the manual')")
    with pytest.raises(GailbenchError, match=r"MUJOCO_GL=egl: no device, MUJOCO_GL=osmesa: no device"):
        rendering.find_opengl("Hopper-v5", None)
    works = "import os, sys; sys.exit(os.environ['MUJOCO_GL'] != 'osmesa')"
    monkeypatch.setattr(rendering, "_PROBE", works)
    assert rendering.find_opengl("Hopper-v5", "disabled") == "osmesa"


class Blind(gymnasium.Env[Any, Any]):
    """An environment that renders what it is told to."""

    observation_space = gymnasium.spaces.Box(-1, 1, (4,))
    action_space = gymnasium.spaces.Discrete(2, start=1)

    def __init__(self, modes: tuple[str, ...] = (), picture: Any = None, render_mode: str | None = None) -> None:
        self.metadata = {"render_modes": modes}
        self.render_mode, self._picture = render_mode, picture

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(4, dtype=np.float32), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        return np.zeros(4, dtype=np.float32), 1.0, False, False, {}

    def render(self) -> Any:
        if isinstance(self._picture, str):
            raise RuntimeError(self._picture)
        return self._picture


@pytest.fixture
def blind() -> Iterator[str]:
    gymnasium.register("Blind-v0", Blind)
    yield "Blind-v0"
    gymnasium.registry.pop("Blind-v0")


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ((("modes", ("human",)),), "'Blind-v0' renders no images: its render modes are human"),
        ((("modes", ("rgb_array",)),), "'Blind-v0' renders an array of object with shape ()"),
        ((("modes", ("rgb_array",)), ("picture", "no lamp")), "'Blind-v0' cannot be rendered: no lamp"),
    ],
)
def test_environments_that_render_nothing_are_refused(kwargs: Any, words: str, blind: str, tmp_path: Path) -> None:
    task = own_task(blind, {"horizon": 3, "kwargs": kwargs})
    policy, _ = experts.load(get_task("cartpole"))
    with pytest.raises(GailbenchError) as refused:
        record(task, policy, tmp_path / "x.gif", 1, 0, True)
    assert words in str(refused.value)
    assert files_under(tmp_path) == {}


def test_actions_that_do_not_begin_at_zero_are_the_environments(blind: str) -> None:
    returns, lengths = gymnasium_episodes(own_task(blind, {"horizon": 30}), None, 2, np.random.default_rng(0), False)
    assert (returns.tolist(), lengths.tolist()) == ([30.0, 30.0], [30, 30])
