"""Distributions of actions against sampling and against torch.distributions; policies and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from gailbench.plumbing import checkpoints
from gailbench.plumbing.errors import GailbenchError
from gailbench.policy import Distribution, Gaussian, Policy, Softmax, policy_bytes, read_policy

NONE = torch.zeros(0)
SAMPLES = 200_000

# Old and new outputs and free parameters of one row: far enough apart that both directions of KL differ.
GAUSSIAN = (
    Gaussian(),
    (torch.tensor([[0.3, -1.0, 2.0]]), torch.tensor([0.1, -0.7, 0.4])),
    (torch.tensor([[0.0, -0.6, 1.5]]), torch.tensor([-0.2, -0.3, 0.6])),
)
SOFTMAX = (
    Softmax(),
    (torch.tensor([[1.0, -0.5, 0.2, -3.0]]), NONE),
    (torch.tensor([[0.2, 0.5, -0.4, -1.0]]), NONE),
)
FAMILIES = pytest.mark.parametrize(("family", "old", "new"), [GAUSSIAN, SOFTMAX], ids=["gaussian", "softmax"])
Row = tuple[torch.Tensor, torch.Tensor]


def drawn(family: Distribution, row: Row, seed: int = 0) -> np.ndarray:
    """SAMPLES actions of one row."""
    output, free = row
    outputs = np.repeat(output.numpy(), SAMPLES, axis=0)
    noise = family.noise(np.random.default_rng(seed), (SAMPLES,), output.shape[1])
    return family.sample(outputs, free.numpy(), noise)


def log_probabilities(family: Distribution, row: Row, actions: np.ndarray) -> np.ndarray:
    output, free = row
    return family.log_probability(output.expand(len(actions), -1), free, torch.from_numpy(actions)).numpy()


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64) / np.sqrt(len(values)))


def reference(family: Distribution, output: torch.Tensor, free: torch.Tensor) -> torch.distributions.Distribution:
    if isinstance(family, Softmax):
        return Categorical(logits=output)
    return Independent(Normal(output, torch.exp(free).expand_as(output)), 1)


# ---- Distributions


@FAMILIES
def test_kl_is_the_expected_log_ratio_under_the_old_policy(family: Distribution, old: Row, new: Row) -> None:
    actions = drawn(family, old)
    ratio = log_probabilities(family, old, actions) - log_probabilities(family, new, actions)
    mean, error = mean_and_error(ratio)
    assert abs(float(family.kl(*old, *new)) - mean) < 4 * error
    # The test can tell the directions apart.
    assert abs(float(family.kl(*new, *old)) - mean) > 20 * error


@FAMILIES
def test_kl_is_from_old_to_new(family: Distribution, old: Row, new: Row) -> None:
    expected = kl_divergence(reference(family, *old), reference(family, *new))
    assert_allclose(family.kl(*old, *new).numpy(), expected.numpy(), rtol=1e-5)


def test_gaussian_kl_by_hand() -> None:
    # KL(N(1, 1) || N(0, e)) = log(e / 1) + (1 + 1) / (2 e^2) - 1/2
    kl = Gaussian().kl(torch.ones(1, 1), torch.zeros(1), torch.zeros(1, 1), torch.ones(1))
    assert_allclose(float(kl), 0.5 + np.exp(-2), rtol=1e-6)


def test_softmax_kl_by_hand() -> None:
    old, new = torch.log(torch.tensor([[0.5, 0.5]])), torch.log(torch.tensor([[0.25, 0.75]]))
    expected = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    assert_allclose(float(Softmax().kl(old, NONE, new, NONE)), expected, rtol=1e-6)


@FAMILIES
def test_kl_is_zero_at_equality_only(family: Distribution, old: Row, new: Row) -> None:
    assert_allclose(float(family.kl(*old, *old)), 0.0, atol=1e-7)
    assert float(family.kl(*old, *new)) > 0.05


@FAMILIES
def test_kl_of_each_row_is_its_own(family: Distribution, old: Row, new: Row) -> None:
    outputs = torch.cat((old[0], new[0]))
    rows = family.kl(outputs, old[1], old[0].expand_as(outputs), old[1])
    assert rows.shape == (2,)
    assert float(rows[0]) == pytest.approx(0.0, abs=1e-7)
    assert float(rows[1]) > 0.05


@FAMILIES
def test_entropy_is_the_expected_surprise(family: Distribution, old: Row, new: Row) -> None:
    for row in (old, new):
        mean, error = mean_and_error(-log_probabilities(family, row, drawn(family, row)))
        entropy = family.entropy(*row)
        assert entropy.shape == (1,)
        assert abs(float(entropy) - mean) < 4 * error
        assert_allclose(entropy.numpy(), reference(family, *row).entropy().numpy(), rtol=1e-5)


@FAMILIES
def test_log_probability_equals_torch_distributions(family: Distribution, old: Row, new: Row) -> None:
    for row in (old, new):
        actions = drawn(family, row)[:1_000]
        outputs = row[0].expand(1_000, -1)
        expected = reference(family, outputs, row[1]).log_prob(torch.from_numpy(actions))
        assert_allclose(log_probabilities(family, row, actions), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_gaussian_samples_have_the_mean_and_deviation_asked_for() -> None:
    family, (output, log_std), _ = GAUSSIAN
    actions = drawn(family, (output, log_std)).astype(np.float64)
    std = np.exp(log_std.numpy())
    error = std / np.sqrt(SAMPLES)
    assert (np.abs(actions.mean(0) - output.numpy()[0]) < 4 * error).all()
    assert (np.abs(actions.std(0) - std) < 4 * error / np.sqrt(2)).all()
    assert (np.abs(np.corrcoef(actions.T) - np.eye(3)) < 4 / np.sqrt(SAMPLES)).all()


def test_gaussian_samples_are_not_clipped() -> None:
    actions = Gaussian().sample(
        np.array([[100.0, -100.0]], np.float32), np.full(2, 2.0, np.float32), np.array([[3.0, -3.0]], np.float32)
    )
    assert_allclose(actions, [[100 + 3 * np.exp(2), -100 - 3 * np.exp(2)]], rtol=1e-6)


@pytest.mark.parametrize("row", [SOFTMAX[1], SOFTMAX[2]], ids=["old", "new"])
def test_softmax_samples_have_the_frequencies_asked_for(row: Row) -> None:
    actions = drawn(Softmax(), row)
    p = torch.softmax(row[0], -1).numpy()[0]
    frequencies = np.bincount(actions, minlength=4) / SAMPLES
    assert (np.abs(frequencies - p) < 4 * np.sqrt(p * (1 - p) / SAMPLES)).all()


def test_softmax_sample_is_the_inverse_of_the_distribution_function() -> None:
    outputs = np.log(np.array([[0.25, 0.5, 0.25]], np.float32)).repeat(6, 0) + 7.0  # a shift changes nothing
    noise = np.array([0.0, 0.24, 0.26, 0.74, 0.76, 1 - 2**-24], np.float32)
    assert_array_equal(Softmax().sample(outputs, np.zeros(0, np.float32), noise), [0, 0, 1, 1, 2, 2])


def test_softmax_never_samples_what_has_no_probability() -> None:
    outputs = np.array([[-200.0, 0.0, -200.0]], np.float32).repeat(2, 0)
    actions = Softmax().sample(outputs, np.zeros(0, np.float32), np.array([0.0, 1 - 2**-24], np.float32))
    assert_array_equal(actions, [1, 1])


@FAMILIES
def test_mode_is_the_most_probable_action(family: Distribution, old: Row, new: Row) -> None:
    for row in (old, new):
        mode = log_probabilities(family, row, family.mode(row[0].numpy()))
        assert (mode >= log_probabilities(family, row, drawn(family, row)[:5_000]) - 1e-6).all()


@FAMILIES
def test_fisher_of_the_output_is_the_expected_outer_product_of_scores(family: Distribution, old: Row, new: Row) -> None:
    output, free = old
    actions = torch.from_numpy(drawn(family, old))
    outputs = output.repeat(SAMPLES, 1).requires_grad_()
    (scores,) = torch.autograd.grad(family.log_probability(outputs, free, actions).sum(), outputs)
    for direction in torch.eye(output.shape[1]):
        information = (direction @ family.fisher(output, free, direction[None])[0]).item()
        mean, error = mean_and_error(((scores @ direction) ** 2).numpy())
        assert abs(information - mean) < 4 * error


def test_fisher_of_the_log_deviations_is_2() -> None:
    family, (output, log_std), _ = GAUSSIAN
    actions = drawn(family, (output, log_std))
    scores = ((actions - output.numpy()) / np.exp(log_std.numpy())) ** 2 - 1  # d log pi / d log_std
    information = family.fisher_free(log_std, torch.eye(3)).diagonal()
    for dimension in range(3):
        mean, error = mean_and_error(scores[:, dimension] ** 2)
        assert abs(float(information[dimension]) - mean) < 4 * error
        assert float(information[dimension]) == 2.0


# ---- Policies


def random_policy(discrete: bool, seed: int = 0, activation: str = "tanh") -> Policy:
    generator = np.random.default_rng(seed)
    policy = Policy(4, 3, discrete, (6, 5), activation, generator)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.from_numpy(generator.normal(0.0, 0.3, parameter.shape)))
    policy.standardizer.update(generator.normal(2.0, 3.0, (50, 4)))
    return policy


def state_bytes(policy: Policy) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in policy.state().items()}


@pytest.mark.parametrize("discrete", [False, True])
def test_a_new_policy_is_standard_normal_or_uniform_everywhere(discrete: bool) -> None:
    policy = Policy(4, 3, discrete, generator=np.random.default_rng(0))
    observations = np.random.default_rng(1).normal(size=(5, 4))
    assert_array_equal(policy.output(observations), np.zeros((5, 3)))
    assert_array_equal(policy.log_std.detach().numpy(), np.zeros(0 if discrete else 3))
    assert policy.hidden == (100, 100)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "leaky_relu"])
def test_act_samples_from_the_network_on_standardized_observations(discrete: bool, activation: str) -> None:
    policy = random_policy(discrete, activation=activation)
    observations = np.random.default_rng(2).normal(2.0, 3.0, (20, 4)).astype(np.float32)
    x = (observations - policy.standardizer.mean) / (policy.standardizer.std + 1e-6)
    expected = policy.network(torch.from_numpy(x.astype(np.float32))).detach().numpy()
    noise = policy.distribution.noise(np.random.default_rng(3), (20,), 3)
    actions, outputs = policy.actor()(observations, noise)
    assert_allclose(outputs, expected, atol=1e-5)
    if discrete:
        cumulative = np.cumsum(torch.softmax(torch.from_numpy(outputs), -1).numpy(), axis=-1)
        assert_array_equal(actions, (noise[:, None] > cumulative[:, :2]).sum(1))
    else:
        assert_allclose(actions, outputs + np.exp(policy.log_std.detach().numpy()) * noise, rtol=1e-6)


@pytest.mark.parametrize("discrete", [False, True])
def test_without_noise_the_policy_is_deterministic(discrete: bool) -> None:
    policy = random_policy(discrete)
    observations = np.random.default_rng(4).normal(2.0, 3.0, (20, 4))
    actions, outputs = policy.actor()(observations, None)
    assert_array_equal(actions, outputs.argmax(1) if discrete else outputs)


def test_vector_orders_the_network_first_and_the_deviations_last() -> None:
    policy = random_policy(discrete=False)
    assert torch.equal(policy.vector()[-3:], policy.log_std.detach())
    assert torch.equal(policy.vector()[: 4 * 6], policy.network.weights[0].detach().reshape(-1))


@pytest.mark.parametrize("discrete", [False, True])
def test_a_policy_file_gives_the_same_policy(discrete: bool, tmp_path: Path) -> None:
    policy = random_policy(discrete, activation="leaky_relu")
    (tmp_path / "policy").write_bytes(policy_bytes(policy))
    again = read_policy(tmp_path / "policy")
    observations = np.random.default_rng(5).normal(size=(10, 4))
    assert_array_equal(again.output(observations), policy.output(observations))  # the standardizer included
    assert torch.equal(again.vector(), policy.vector())
    assert state_bytes(again) == state_bytes(policy)
    assert again.configuration() == policy.configuration()


def test_equal_policies_give_equal_files() -> None:
    policy = random_policy(discrete=False)
    assert len({policy_bytes(policy) for _ in range(30)}) == 1


def test_a_state_does_not_change_with_the_policy() -> None:
    policy = random_policy(discrete=False)
    state = policy.state()
    vector, mean = policy.vector(), policy.standardizer.mean
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(1.0)
    policy.standardizer.update(np.ones((10, 4)))
    policy.load_state(state)
    assert torch.equal(policy.vector(), vector)
    assert_array_equal(policy.standardizer.mean, mean)


def test_a_policy_file_of_another_shape_is_an_error(tmp_path: Path) -> None:
    policy = random_policy(discrete=False)
    path = tmp_path / "policy"
    checkpoints.write(path, "policy", policy.state(), {**policy.configuration(), "hidden": [6, 7]})
    with pytest.raises(GailbenchError, match=r"damaged.*shape"):
        read_policy(path)
    checkpoints.write(path, "policy", policy.state(), {**policy.configuration(), "hidden": [10**400]})
    with pytest.raises(GailbenchError, match="damaged"):
        read_policy(path)
    checkpoints.write(path, "policy", policy.state(), {**policy.configuration(), "hiden": [6, 5]})
    with pytest.raises(GailbenchError, match="damaged"):
        read_policy(path)
    incomplete = {name: array for name, array in policy.state().items() if name != "log_std"}
    checkpoints.write(path, "policy", incomplete, policy.configuration())
    with pytest.raises(GailbenchError, match="log_std"):
        read_policy(path)


def test_a_truncated_missing_or_foreign_policy_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    with pytest.raises(GailbenchError, match="no policy file"):
        read_policy(path)
    path.write_bytes(policy_bytes(random_policy(discrete=True))[:-5])
    with pytest.raises(GailbenchError, match="not a readable policy file"):
        read_policy(path)
    path.write_bytes(checkpoints.to_bytes("checkpoint", {"x": np.zeros(3)}, {}))
    with pytest.raises(GailbenchError, match="not a policy of gailbench"):
        read_policy(path)
