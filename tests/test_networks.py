"""MLP, its linearization, and the running standardizer."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from gailbench.networks import MLP, Adam, Standardizer, assign, flatten

ACTIVATIONS = ("tanh", "leaky_relu")


def random_network(sizes: tuple[int, ...], activation: str) -> MLP:
    """All parameters away from 0."""
    network = MLP(sizes, activation, None)
    randomize(network)
    return network


def randomize(network: MLP, seed: int = 0) -> None:
    size = flatten(network.parameters()).numel()
    values = np.random.default_rng(seed).normal(0.0, 0.7, size)
    assign(network.parameters(), torch.from_numpy(values.astype(np.float32)))


# ---- Initialization


def test_hidden_weights_fill_the_glorot_bound() -> None:
    network = MLP((30, 100, 80, 5), "tanh", np.random.default_rng(0))
    for layer, (inputs, outputs) in enumerate(((30, 100), (100, 80))):
        weight = network.weights[layer].detach().numpy()
        bound = np.sqrt(6 / (inputs + outputs))
        assert weight.shape == (inputs, outputs)
        assert np.abs(weight).max() <= bound * (1 + 1e-6)
        assert np.abs(weight).max() > 0.99 * bound
        # Variance of a uniform: bound^2 / 3 = 2 / (inputs + outputs); its estimate has relative error sqrt(0.8 / n).
        assert_allclose(weight.var(), 2 / (inputs + outputs), rtol=4 * np.sqrt(0.8 / weight.size))
        assert abs(weight.mean()) < 4 * weight.std() / np.sqrt(weight.size)


def test_biases_and_output_layer_start_at_exactly_zero() -> None:
    network = MLP((30, 100, 80, 5), "leaky_relu", np.random.default_rng(0))
    for parameter in (*network.biases, network.weights[-1]):
        assert torch.count_nonzero(parameter) == 0
    x = torch.randn(7, 30, generator=torch.Generator().manual_seed(0))
    assert torch.count_nonzero(network(x)) == 0


def test_initial_weights_follow_the_generator() -> None:
    first, again, other = (
        flatten(MLP((3, 10, 2), "tanh", np.random.default_rng(seed)).parameters()) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_a_generator_all_weights_are_zero() -> None:
    assert torch.count_nonzero(flatten(MLP((3, 10, 2), "tanh", None).parameters())) == 0


# ---- Forward and linearization


def test_forward_by_hand() -> None:
    network = MLP((2, 2, 1), "leaky_relu", None)
    # Weights (2, 2) and (2, 1), then biases.
    assign(network.parameters(), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5, -20.0, 0.25]))
    # Hidden: 1*1 + 2*3 + 0.5 = 7.5 and 1*2 + 2*4 - 20 = -10 -> -0.1; output: 5*7.5 - 0.6 + 0.25.
    assert_allclose(network(torch.tensor([[1.0, 2.0]])).detach().numpy(), [[37.15]], rtol=1e-6)
    network.activation = "tanh"
    expected = 5 * np.tanh(7.5) + 6 * np.tanh(-10) + 0.25
    assert_allclose(network(torch.tensor([[1.0, 2.0]])).detach().numpy(), [[expected]], rtol=1e-6)


def test_hidden_layers_are_tanh_to_two_float32_steps_with_and_without_a_graph() -> None:
    network = MLP((1, 1, 1), "tanh", None)
    assign(network.parameters(), torch.tensor([1.0, 1.0, 0.0, 0.0]))
    x = torch.linspace(-20, 20, 100_001).unsqueeze(1)
    expected = np.tanh(x.double().numpy())
    outputs = (network(x).detach().numpy(), network.evaluate(x).numpy(), network.numpy_forward()(x.numpy()))
    for output in outputs:
        assert_allclose(output, expected, rtol=4 * 2.0**-23)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(4, 3), (4, 9, 3), (4, 9, 8, 3)])
def test_numpy_forward_equals_torch_forward(sizes: tuple[int, ...], activation: str) -> None:
    network = random_network(sizes, activation)
    x = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    kept = x.copy()
    output = network.numpy_forward()(x)
    assert output.dtype == np.float32
    assert_allclose(output, network(torch.from_numpy(x)).detach().numpy(), atol=1e-5)
    assert_array_equal(x, kept)


def test_numpy_forward_follows_the_parameters() -> None:
    network = random_network((4, 9, 3), "tanh")
    x = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    before = network.numpy_forward()(x)
    randomize(network, seed=1)
    after = network.numpy_forward()(x)
    assert np.abs(after - before).max() > 0.1
    assert_allclose(after, network(torch.from_numpy(x)).detach().numpy(), atol=1e-5)
    network.load_state_dict({name: torch.zeros_like(p) for name, p in network.state_dict().items()})
    assert_array_equal(network.numpy_forward()(x), np.zeros((50, 3)))


def test_a_copy_follows_its_own_parameters() -> None:
    network = random_network((4, 9, 3), "tanh")
    x = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    before = network.numpy_forward()(x)
    twin = copy.deepcopy(network)
    randomize(twin, seed=1)
    assert_allclose(twin.numpy_forward()(x), twin(torch.from_numpy(x)).detach().numpy(), atol=1e-5)
    assert_array_equal(network.numpy_forward()(x), before)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(4, 3), (4, 9, 3), (4, 9, 8, 3)])
def test_linearization_equals_automatic_differentiation(sizes: tuple[int, ...], activation: str) -> None:
    network = random_network(sizes, activation).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    parameters = list(network.parameters())
    v = torch.randn(flatten(parameters).numel(), generator=generator, dtype=torch.float64)
    u = torch.randn(20, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    output = network(x)
    gradients = torch.autograd.grad((u * output).sum(), parameters, create_graph=True)
    along_v = torch.cat([gradient.reshape(-1) for gradient in gradients]) @ v
    (forward,) = torch.autograd.grad(along_v, u)  # J v, as d(v . J^T u) / du
    linearization = network.linearize(x)

    # The slope of the leaky units is kept in float32.
    assert_allclose(linearization.output.numpy(), output.detach().numpy(), rtol=1e-12)
    assert_allclose(linearization.jvp(v).numpy(), forward.numpy(), rtol=1e-6, atol=1e-6)
    assert_allclose(linearization.vjp(u.detach()).numpy(), flatten(gradients).numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_jvp_and_vjp_are_transposes(activation: str) -> None:
    network = random_network((4, 9, 8, 3), activation).double()
    generator = torch.Generator().manual_seed(1)
    linearization = network.linearize(torch.randn(20, 4, generator=generator, dtype=torch.float64))
    v = torch.randn(flatten(network.parameters()).numel(), generator=generator, dtype=torch.float64)
    u = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    assert_allclose(float((u * linearization.jvp(v)).sum()), float(v @ linearization.vjp(u)), rtol=1e-10)


def test_linearization_predicts_a_small_change() -> None:
    network = random_network((4, 9, 8, 3), "tanh").double()
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    theta = flatten(network.parameters())
    v = torch.randn(theta.numel(), generator=generator, dtype=torch.float64)
    linearization = network.linearize(x)
    assign(network.parameters(), theta + 1e-6 * v)
    change = (network(x).detach() - linearization.output) / 1e-6
    assert_allclose(linearization.jvp(v).numpy(), change.numpy(), rtol=1e-3, atol=1e-3)


def test_adam_steps_as_pytorchs_does() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = ([torch.nn.Parameter(torch.full(shape, 0.5)) for shape in ((3, 4), (4,), (0,))] for _ in range(2))
    adam, reference = Adam(ours, 0.01), torch.optim.Adam(theirs, lr=0.01)
    for scale in (1.0, 1e-6, 1e4, 0.0, 1.0, 1.0):
        gradient = torch.from_numpy(scale * generator.standard_normal(16)).float()
        adam.step(gradient)
        for parameter in theirs:
            parameter.grad = torch.zeros_like(parameter)
        assign([parameter.grad for parameter in theirs], gradient)
        reference.step()
        assert_allclose(flatten(ours).numpy(), flatten(theirs).numpy(), rtol=1e-6, atol=1e-7)


def test_adam_goes_on_from_its_state() -> None:
    gradients = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    whole, parts = ([torch.nn.Parameter(torch.ones(8))] for _ in range(2))
    adam, first, second = Adam(whole, 0.1), Adam(parts, 0.1), Adam(parts, 0.1)
    for gradient in gradients[:3]:
        adam.step(gradient)
        first.step(gradient)
    state = first.state()
    first.step(gradients[0])  # must not reach the state that was taken before
    assign(parts, flatten(whole))
    second.load_state(state)
    for gradient in gradients[3:]:
        adam.step(gradient)
        second.step(gradient)
    assert torch.equal(flatten(parts), flatten(whole))


def test_assign_inverts_flatten() -> None:
    network = MLP((3, 4, 2), "tanh", np.random.default_rng(0))
    vector = torch.arange(26.0)
    assign(network.parameters(), vector)
    assert torch.equal(flatten(network.parameters()), vector)
    assert torch.equal(network.weights[0].detach(), torch.arange(12.0).view(3, 4))  # weights first,
    assert torch.equal(network.biases[1].detach(), torch.tensor([24.0, 25.0]))  # biases last


def test_flatten_is_a_copy() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    vector = flatten([parameter])
    assign([parameter], torch.ones(3))
    assert torch.count_nonzero(vector) == 0


# ---- Standardizer


def fed(*parts: np.ndarray, weights: tuple[np.ndarray, ...] | None = None) -> Standardizer:
    standardizer = Standardizer(parts[0].shape[1])
    for index, part in enumerate(parts):
        standardizer.update(part, None if weights is None else weights[index])
    return standardizer


def test_statistics_are_those_of_all_rows_ever_fed() -> None:
    generator = np.random.default_rng(0)
    # The last part is larger than a block of the implementation.
    parts = [generator.normal(3.0, 2.0, (rows, 4)).astype(np.float32) for rows in (7, 1, 500, 9_000)]
    rows = np.concatenate(parts).astype(np.float64)
    standardizer = fed(*parts)
    assert standardizer.count == len(rows)
    assert_allclose(standardizer.mean, rows.mean(0), rtol=1e-12)
    assert_allclose(standardizer.std, rows.std(0), rtol=1e-12)


def test_standardized_rows_are_rows_less_mean_over_deviation_plus_1e_6() -> None:
    rows = np.array([[0.0, 1e-6], [2.0, 3e-6]])  # means 1 and 2e-6, deviations 1 and 1e-6
    new = np.array([[4.0, 6e-6]])
    assert_allclose(fed(rows)(new), [[3 / (1 + 1e-6), 4e-6 / 2e-6]], rtol=1e-6)


def test_weights_count_as_repeated_rows() -> None:
    generator = np.random.default_rng(1)
    first, rows = generator.normal(1.0, 2.0, (50, 3)), generator.normal(-1.0, 0.5, (9_000, 3))
    counts = generator.integers(0, 5, len(rows))
    weighted = fed(first, rows, weights=(np.ones(50), counts))
    repeated = np.concatenate((first, np.repeat(rows, counts, axis=0)))
    assert weighted.count == len(repeated)
    assert_allclose(weighted.mean, repeated.mean(0), rtol=1e-10)
    assert_allclose(weighted.std, repeated.std(0), rtol=1e-10)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1234.567])
def test_an_input_that_never_changed_is_standardized_to_exactly_0(constant: float) -> None:
    generator = np.random.default_rng(2)
    standardizer = Standardizer(2)
    for rows in (1, 9_000, 33):
        part = np.column_stack((generator.normal(size=rows), np.full(rows, constant)))
        standardizer.update(part)
    assert standardizer.std[1] == 0.0
    assert_array_equal(standardizer(part)[:, 1], np.zeros(33))


def test_a_new_value_of_a_constant_input_is_divided_by_1e_6_and_not_clipped() -> None:
    standardizer = fed(np.full((100, 3), [0.0, 3.0, 5.0], dtype=np.float32))
    new = standardizer(np.array([[0.25, 3.5, 4.0]], dtype=np.float32))
    assert_allclose(new, [[0.25e6, 0.5e6, -1e6]], rtol=1e-6)


def test_statistics_keep_their_digits_beside_a_large_offset() -> None:
    generator = np.random.default_rng(3)
    parts = [generator.normal(1e4, 1e-2, (rows, 2)) for rows in (10, 20_000, 300)]
    rows = np.concatenate(parts)
    standardizer = fed(*parts)
    assert_allclose(standardizer.mean, rows.mean(0), rtol=1e-14)
    # From sums of squares in float32, or not relative to a shift, the deviation would be lost (1e8 against 1e-4).
    assert_allclose(standardizer.std, rows.std(0), rtol=1e-9)


def test_before_any_row_it_is_the_identity() -> None:
    rows = np.random.default_rng(4).normal(5.0, 3.0, (10, 3)).astype(np.float32)
    standardizer = Standardizer(3)
    assert_array_equal(standardizer(rows), rows)
    assert_array_equal(standardizer.invert(rows), rows)


def test_an_empty_update_changes_nothing() -> None:
    rows = np.random.default_rng(5).normal(size=(10, 3))
    standardizer = fed(np.empty((0, 3)), rows, np.empty((0, 3)))
    assert_allclose(standardizer.mean, rows.mean(0), rtol=1e-12)
    assert standardizer.count == 10


def test_invert_undoes_standardization() -> None:
    rows = np.random.default_rng(6).normal(50.0, 20.0, (1_000, 2))
    standardizer = fed(rows)
    assert_allclose(standardizer.invert(standardizer(rows)), rows, rtol=1e-5, atol=1e-5)


def test_any_leading_shape_is_standardized_alike() -> None:
    rows = np.random.default_rng(7).normal(size=(12, 3)).astype(np.float32)
    standardizer = fed(rows)
    assert_array_equal(standardizer(rows.reshape(4, 3, 3)), standardizer(rows).reshape(4, 3, 3))
    assert_array_equal(standardizer(rows[5]), standardizer(rows)[5])


def test_state_round_trip_continues_with_the_same_bytes() -> None:
    generator = np.random.default_rng(8)
    first, second = generator.normal(9.0, 2.0, (2, 100, 3))
    standardizer = fed(first)
    state = standardizer.state()
    standardizer.update(second)  # must not reach into the state
    other = Standardizer(3)
    other.load_state(state)
    assert_array_equal(other(second), fed(first)(second))
    other.update(second)
    assert_array_equal(other(first), standardizer(first))
    assert {k: v.tobytes() for k, v in other.state().items()} == {
        k: v.tobytes() for k, v in standardizer.state().items()
    }
