"""The shipped experts and the random policy: both ends of the normalized score."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from gailbench import experts
from gailbench.experts.recipes import RECIPES
from gailbench.paper.tables import published_baselines
from gailbench.simulation import make_physics
from gailbench.tasks import TASKS, get_task

SHIPPED = experts.shipped()
CLASSIC = ("cartpole", "acrobot", "mountaincar")
# As good as the paper's, but for a little: what was asked of each that is shipped.
LEAST_STOCHASTIC_MEAN = {
    "cartpole": 200,
    "acrobot": -80,
    "mountaincar": -105,
    "reacher": -4.3,
    "halfcheetah": 4300,
    "hopper": 3400,
    "walker": 6000,
    "ant": 4228,
    "humanoid": 8500,
}

shipped = pytest.mark.parametrize("task_name", SHIPPED)


def _card(task_name: str) -> dict[str, Any]:
    card = experts.card(task_name)
    assert card is not None, f"{task_name} ships weights without a card"
    return card


def test_it_is_known_what_each_shipped_expert_must_reach() -> None:
    assert set(SHIPPED) == set(LEAST_STOCHASTIC_MEAN)


@shipped
def test_a_shipped_expert_loads_with_the_shape_of_its_task(task_name: str) -> None:
    task = get_task(task_name)
    policy, digest = experts.load(task)
    physics = make_physics(task.environment, task.horizon, 1)
    assert (policy.observation_dim, policy.action_dim) == (physics.observation_dim, physics.action_dim)
    assert policy.discrete is physics.discrete
    assert all(np.isfinite(value).all() for value in policy.state().values())
    assert digest == hashlib.sha256((experts.FOLDER / f"{task_name}.safetensors").read_bytes()).hexdigest()


@shipped
def test_a_card_belongs_to_the_weights_beside_it(task_name: str) -> None:
    card = _card(task_name)
    assert (card["task"], card["environment"]) == (task_name, get_task(task_name).environment)
    assert card["sha256"] == experts.load(get_task(task_name))[1]
    assert card["episodes"] >= 50
    assert {"gailbench", "torch", "mujoco", "gymnasium", "numpy"} <= set(card["versions"])


@shipped
def test_a_card_quotes_the_papers_expert(task_name: str) -> None:
    card, paper = _card(task_name), published_baselines().loc[task_name]
    assert card["paper_mean"] == paper["expert_mean"]
    assert card["paper_std"] == paper["expert_std"]


@shipped
def test_a_card_has_the_settings_of_its_tasks_recipe(task_name: str) -> None:
    settings, recipe = _card(task_name)["settings"], RECIPES[task_name]
    # A recipe names the training before by its settings, a card by its policy.
    assert ("start" in settings) == (recipe.before is not None)
    if recipe.before is not None:
        before = Path(__file__).parents[2] / "results" / "experts" / "before" / f"{task_name}.before.safetensors"
        assert settings["start"] == hashlib.sha256(before.read_bytes()).hexdigest()
    assert {**settings, "start": None} == {**recipe.settings(), "start": None}


@shipped
def test_a_shipped_expert_is_far_better_than_random(task_name: str) -> None:
    card, random = _card(task_name), experts.random_returns()[task_name]
    assert random["mean"] < card["stochastic_mean"]
    # The distance, which scores are divided by, is no accident of a few episodes.
    error = np.hypot(card["stochastic_std"] / card["episodes"] ** 0.5, random["std"] / random["episodes"] ** 0.5)
    assert card["stochastic_mean"] - random["mean"] > 10 * error


@pytest.mark.parametrize(("task_name", "least"), LEAST_STOCHASTIC_MEAN.items())
def test_experts_reach_what_was_asked_of_them(task_name: str, least: float) -> None:
    assert _card(task_name)["stochastic_mean"] >= least


@pytest.mark.parametrize("task_name", CLASSIC)
def test_the_shipped_weights_score_what_their_card_says(task_name: str) -> None:
    """On Gymnasium's own environment with its own time limit, by a loop that shares nothing with the package's."""
    task, card, episodes = get_task(task_name), _card(task_name), 20
    policy, _ = experts.load(task)
    generator = np.random.default_rng(20160610)
    env: Any = gymnasium.make(task.environment, max_episode_steps=task.horizon)
    returns = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=1000 + episode)
        total, over = 0.0, False
        while not over:
            noise = policy.distribution.noise(generator, (1,), policy.action_dim)
            (action,), _ = policy.actor()(observation[None].astype(np.float32), noise)
            observation, reward, terminated, truncated, _ = env.step(int(action))
            total += float(reward)
            over = terminated or truncated
        returns.append(total)
    env.close()
    error = card["stochastic_std"] * (1 / episodes + 1 / card["episodes"]) ** 0.5
    # The card's deviation is itself an estimate, and 0 for a perfect cart-pole: hence the percent.
    assert np.mean(returns) == pytest.approx(card["stochastic_mean"], abs=4 * error + 0.01 * abs(np.mean(returns)))


def test_the_random_policy_is_measured_on_all_nine_tasks() -> None:
    figures = experts.random_returns()
    assert set(figures) == set(TASKS)
    for name, values in figures.items():
        task = TASKS[name]
        assert values["episodes"] >= 100
        assert (values["environment"], values["horizon"]) == (task.environment, task.horizon)
        assert np.isfinite([values["mean"], values["std"]]).all()
        assert {"gymnasium", "mujoco", "numpy"} <= set(values["versions"])


def test_every_task_has_a_recipe_that_fits_it() -> None:
    assert list(RECIPES) == list(TASKS)
    for name, recipe in RECIPES.items():
        task = TASKS[name]
        # Longer training episodes need a reason, shorter ones would train for another problem.
        assert recipe.horizon >= task.horizon
        # Whole episodes of the horizon make a batch: at most a twentieth more than asked for.
        assert -recipe.batch % recipe.horizon <= recipe.batch / 20
        assert recipe.training_task(task).environment == task.environment
        assert recipe.loop_settings().batch == recipe.batch


def test_the_authors_best_recipe_is_kept_on_the_locomotion_tasks() -> None:
    # 45 to 48 million pairs in the paper's runs, with episodes of up to 2,000 steps.
    for name in ("halfcheetah", "walker"):
        recipe = RECIPES[name]
        assert (recipe.hidden, recipe.activation, recipe.gae_lambda) == ((50,), "leaky_relu", 0.98)
        assert recipe.horizon == 2000
    assert 45e6 <= RECIPES["halfcheetah"].iterations * RECIPES["halfcheetah"].batch <= 55e6
    # Walker's smaller batches overshoot: what it took counts.
    assert 45e6 <= _card("walker")["steps_trained"] <= 55e6


def test_all_shipped_experts_together_stay_under_a_megabyte() -> None:
    assert sum(path.stat().st_size for path in experts.FOLDER.glob("*.safetensors")) < 1_000_000
