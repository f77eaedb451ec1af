"""Any other Gymnasium environment runs through Gymnasium's vector API, or is refused in one line."""

from __future__ import annotations

import signal

import gymnasium
import numpy as np
import pytest
import scipy.stats
from cli_helpers import call
from simulators import make

from gailbench.formats import facts_of
from gailbench.plumbing.errors import GailbenchError
from gailbench.plumbing.interrupts import Interrupted, StopSignals, interruptible
from gailbench.policy import Policy
from gailbench.runs.folder import folder_of
from gailbench.runs.grid import Request, attempt, plan
from gailbench.sampling import evaluate, gymnasium_episodes
from gailbench.simulation import dimensions
from gailbench.simulation.gymnasium import make_single
from gailbench.tasks import own_task

N = 2


class Recorder(gymnasium.Env):
    """Observes the action that it was given; its three actions are called 5, 6 and 7."""

    observation_space = gymnasium.spaces.Box(0, 10, (1,), np.float64)
    action_space = gymnasium.spaces.Discrete(3, start=5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1), {}

    def step(self, action):
        return np.array([float(action)]), float(action), False, False, {}


class Images(Recorder):
    observation_space = gymnasium.spaces.Box(0, 1, (2, 2), np.float64)


class Switches(Recorder):
    action_space = gymnasium.spaces.MultiBinary(3)


class Blind(Recorder):
    observation_space = gymnasium.spaces.Box(0, 1, (0,), np.float64)


class Paralysed(Recorder):
    action_space = gymnasium.spaces.Box(0, 1, (0,), np.float64)


class Stuck(Recorder):
    def close(self):
        raise RuntimeError("the window does not close")


class Unbounded(Recorder):
    """Rewards the action."""

    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)

    def step(self, action):
        return np.zeros(1), float(action[0]), False, False, {}


class Raises(Recorder):
    def step(self, action):
        raise ValueError("the wheel came off\nat once")


class Told(Recorder):
    """Its process is told to end while it is made."""

    def __init__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


class Old(Recorder):
    """Steps with four values, as before Gymnasium."""

    def step(self, action):
        return np.zeros(1), 1.0, False, {}


class Wide(Recorder):
    def step(self, action):
        return np.zeros(2), 1.0, False, False, {}


class Seedless(Recorder):
    def reset(self):
        return np.zeros(1), {}


class Unrewarded(Recorder):
    def step(self, action):
        return np.zeros(1), None, False, False, {}


class Undefined(Recorder):
    def step(self, action):
        return np.full(1, np.nan), 1.0, False, False, {}


class Worthless(Recorder):
    """Its rewards are no numbers from the seventh step on."""

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(1), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1), np.nan if self.steps >= 7 else 1.0, False, False, {}


def wrapped():
    """Return an environment whose entry point adds wrappers: flattened observations, rewards times 10."""
    inner = Images()
    inner.reset = lambda *, seed=None, options=None: (np.zeros((2, 2)), {})
    inner.step = lambda action: (np.zeros((2, 2)), 1.0, False, False, {})
    return gymnasium.wrappers.TransformReward(gymnasium.wrappers.FlattenObservation(inner), lambda reward: 10 * reward)


FAULTY = (Raises, Old, Wide, Seedless, Unrewarded, Undefined)
KINDS = {
    "Recorder": Recorder,
    "Images": Images,
    "Switches": Switches,
    "Blind": Blind,
    "Paralysed": Paralysed,
    "Stuck": Stuck,
    "Unbounded": Unbounded,
    "Wrapped": wrapped,
    "Told": Told,
    "Worthless": Worthless,
    **{kind.__name__: kind for kind in FAULTY},
}


@pytest.fixture(autouse=True)
def registered():
    for name, entry_point in KINDS.items():
        gymnasium.register(f"Gailbench{name}-v0", entry_point=entry_point, disable_env_checker=True)
    yield
    for name in KINDS:
        del gymnasium.registry[f"Gailbench{name}-v0"]


@pytest.mark.filterwarnings("ignore:.*out of date")  # CartPole-v0: discrete, and not one of our own
@pytest.mark.parametrize(
    ("environment", "horizon"),
    [("Pendulum-v1", 40), ("MountainCarContinuous-v0", 300), ("CartPole-v0", 15)],
)
def test_steps_equal_gymnasium(environment, horizon):
    rng = np.random.default_rng(0)
    simulator = make(environment, horizon, N, np.random.default_rng(1))
    references = []

    def start(row):
        """Put Gymnasium's environment into the state that the simulator's has drawn."""
        env = references[row]
        env.reset()
        env.unwrapped.state = np.array(simulator.physics._envs.envs[row].unwrapped.state)
        if environment == "Pendulum-v1":
            env.unwrapped.last_u = None

    for row in range(N):
        references.append(gymnasium.make(environment, max_episode_steps=horizon))
        references[row].reset(seed=0)
        start(row)
    terminations = truncations = 0
    for _ in range(1_000):
        if simulator.discrete:
            actions = rng.integers(simulator.action_dim, size=N)
        elif environment == "MountainCarContinuous-v0":  # along the velocity, to reach the flag
            actions = np.sign(simulator.observations[:, 1:]).astype(np.float64) * 1.5
        else:
            actions = 2 * references[0].action_space.high * rng.standard_normal((N, simulator.action_dim))
        step = simulator.step(actions)
        for row, env in enumerate(references):
            action = int(actions[row]) if simulator.discrete else actions[row]
            observation, reward, terminated, truncated, _ = env.step(action)
            assert np.array_equal(step.observations[row], observation)
            assert step.rewards[row] == reward
            assert (step.terminated[row], step.truncated[row]) == (terminated, truncated)
            if terminated or truncated:
                start(row)
        terminations += int(step.terminated.sum())
        truncations += int(step.truncated.sum())
    assert (terminations > N) == (environment != "Pendulum-v1")
    assert (truncations > N) == (environment != "MountainCarContinuous-v0")


def test_initial_states_are_drawn_by_the_generator():
    def starts(seed):
        simulator = make("Pendulum-v1", 3, 5, np.random.default_rng(seed))
        first = simulator.observations.copy()
        for _ in range(3):
            simulator.step(np.zeros((5, 1)))
        return np.concatenate((first, simulator.observations))

    assert np.array_equal(starts(0), starts(0))
    assert len(np.unique(np.concatenate((starts(0), starts(1))), axis=0)) == 20


def test_discrete_actions_count_from_zero_whatever_the_space_calls_them():
    simulator = make("GailbenchRecorder-v0", 9, 3, np.random.default_rng(0))
    assert (simulator.discrete, simulator.action_dim) == (True, 3)
    step = simulator.step(np.array([0, 1, 2]))
    assert step.observations[:, 0].tolist() == [5, 6, 7]
    assert step.rewards.tolist() == [5, 6, 7]


def test_raw_actions_reach_the_environment_unclipped():
    """The car's cost is 0.1 times the raw action's square."""
    simulator = make("MountainCarContinuous-v0", 9, 2, np.random.default_rng(0))
    step = simulator.step(np.array([[10.0], [-20.0]]))
    assert step.rewards == pytest.approx([-10.0, -40.0])


@pytest.mark.parametrize("maker", [dimensions, make_single])
def test_a_signal_while_an_environment_is_made_is_no_fault_of_it(maker):
    with StopSignals(), interruptible(), pytest.raises(Interrupted):
        maker(own_task("GailbenchTold-v0", {"horizon": 5}))


def test_an_environment_with_wrappers_is_measured_as_it_is_sampled():
    task = own_task("GailbenchWrapped-v0", {"horizon": 5})
    policy = Policy(*dimensions(task))
    expected = ([50.0, 50.0], [5, 5])
    sampled = evaluate(task, policy, 2, np.random.default_rng(0))
    measured = [gymnasium_episodes(task, actor, 2, np.random.default_rng(0), True) for actor in (policy, None)]
    for returns, lengths in (sampled, *measured):
        assert (returns.tolist(), lengths.tolist()) == expected


def test_an_environment_that_fails_to_close_costs_no_result():
    task = own_task("GailbenchStuck-v0", {"horizon": 5})
    assert gymnasium_episodes(task, None, 1, np.random.default_rng(0), False)[1].tolist() == [5]
    assert facts_of(task).first_action == 5


def test_random_actions_without_bounds_are_normal():
    task = own_task("GailbenchUnbounded-v0", {"horizon": 1})
    returns, _ = gymnasium_episodes(task, None, 400, np.random.default_rng(0), False)
    assert len(set(returns)) == 400
    assert scipy.stats.kstest(returns, "norm").pvalue > 0.001


@pytest.mark.filterwarnings("ignore")  # Gymnasium's own remarks about such environments
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Raises", "fails in step (ValueError: the wheel came off)"),
        ("Old", "fails in step (ValueError: not enough values to unpack"),
        ("Wide", "fails in step (ValueError: "),
        ("Seedless", "fails in reset (TypeError: "),
        ("Unrewarded", "gives the reward nan; rewards must be finite numbers"),
        ("Undefined", "gives the observation nan; observations must be finite numbers"),
    ],
)
def test_a_check_names_what_is_wrong_with_an_environment_in_one_line(kind, said):
    checked = call("tasks", "check", f"Gailbench{kind}-v0")
    assert (checked.code, checked.out, checked.err.count("\n")) == (1, "", 1)
    assert f"'Gailbench{kind}-v0' {said}" in checked.err


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "said"),
    [("Raises", "step"), ("Old", "step"), ("Wide", "its observations"), ("Seedless", "reset"), ("Unrewarded", "step")],
)
def test_a_single_environment_that_fails_is_one_line(kind, said):
    task = own_task(f"Gailbench{kind}-v0", {"horizon": 5})
    with pytest.raises(GailbenchError, match=rf"^'Gailbench{kind}-v0' fails in {said} \(\w+: .*\)") as caught:
        gymnasium_episodes(task, Policy(*dimensions(task)), 1, np.random.default_rng(0), True)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_return_that_is_no_number_is_an_error():
    task = own_task("GailbenchWorthless-v0", {"horizon": 9})
    policy = Policy(*dimensions(task))
    said = "an episode of 'GailbenchWorthless-v0' has the return nan; its rewards must be finite numbers"
    with pytest.raises(GailbenchError, match=said):
        gymnasium_episodes(task, policy, 2, np.random.default_rng(0), True)
    with pytest.raises(GailbenchError, match=said):
        evaluate(task, policy, 2, np.random.default_rng(0))
    short = own_task("GailbenchWorthless-v0", {"horizon": 6})
    assert evaluate(short, policy, 2, np.random.default_rng(0))[0].tolist() == [6.0, 6.0]


def test_the_details_of_a_failed_run_tell_where_its_environment_failed(tmp_path):
    task = own_task("GailbenchRaises-v0", {"horizon": 5})
    (job,) = plan(task, Request(tmp_path, algorithms=["constant"]))
    ended = attempt(job, lambda: None, tmp_path, lambda event: None, lambda: False, 300)
    assert ended.message.startswith("'GailbenchRaises-v0' fails in step (ValueError: the wheel came off)")
    assert 'raise ValueError("the wheel came off' in folder_of(job.spec, tmp_path).error.read_text()


@pytest.mark.parametrize(
    ("environment", "hint"),
    [
        ("Pendulun-v1", "did you mean 'Pendulum-v1'?"),
        ("Hoper-v5", "did you mean 'Hopper-v5'?"),
        ("CartPole-v7", "did you mean 'CartPole-v1'?"),
    ],
)
def test_unknown_environments_name_the_nearest(environment, hint):
    with pytest.raises(GailbenchError) as caught:
        make(environment, 10, 1, np.random.default_rng(0))
    message = str(caught.value)
    assert environment in message
    assert hint in message
    assert "\n" not in message


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize(
    "environment",
    [
        "Nothing like it-v0",
        "not an id",
        "",
        "Hopper-v2",  # registered, but moved out of Gymnasium
        "no_such_module:Task-v0",
    ],
)
def test_environments_that_cannot_be_made_are_named_in_one_line(environment):
    with pytest.raises(GailbenchError) as caught:
        make(environment, 10, 1, np.random.default_rng(0))
    assert f"'{environment}'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "space"),
    [
        ("FrozenLake-v1", "Discrete(16)"),
        ("GailbenchImages-v0", "(2, 2)"),
        ("GailbenchSwitches-v0", "MultiBinary(3)"),
        ("GailbenchBlind-v0", "(0,)"),
        ("GailbenchParalysed-v0", "(0,)"),
    ],
)
def test_unsupported_spaces_are_named(environment, space):
    with pytest.raises(GailbenchError) as caught:
        make(environment, 10, 1, np.random.default_rng(0))
    message = str(caught.value)
    assert f"'{environment}'" in message
    assert space in message
    assert "\n" not in message


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_environments_that_go_on_no_more_never_disturb_the_others():
    """Gymnasium's vector API steps all environments and forbids steps after an end: idle ones must start over."""

    class Seeds:
        """Draws the same seed whenever asked."""

        def integers(self, *_):
            return 3

    apart = make("CartPole-v0", 100, 3, Seeds())
    beside = make("CartPole-v0", 100, 3, Seeds())
    assert np.array_equal(apart.observations, beside.observations)
    active = np.array([True, False, True])
    beside.physics.keep(active)
    beside.times, beside.observations = beside.times[active], beside.observations[active]
    ends = 0
    for _ in range(150):
        everything, some = apart.step(np.array([1, 1, 0])), beside.step(np.array([1, 0]))
        for name in ("observations", "rewards", "terminated", "truncated"):
            assert np.array_equal(getattr(everything, name)[active], getattr(some, name)), name
        assert np.array_equal(apart.observations[active], beside.observations)
        assert np.array_equal(apart.times[active], beside.times)
        ends += int(some.terminated.sum())
    assert ends > 10


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_idle_environments_may_reach_the_time_limit():
    simulator = make("Pendulum-v1", 5, 2, np.random.default_rng(0))
    simulator.physics.keep(np.array([True, False]))
    simulator.times, simulator.observations = simulator.times[:1], simulator.observations[:1]
    for _ in range(17):
        simulator.step(np.zeros((1, 1)))
    assert simulator.times.tolist() == [17 % 5]
    simulator.restart()
    assert simulator.times.tolist() == [0, 0]
