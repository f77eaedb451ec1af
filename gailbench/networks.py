"""The multilayer perceptron, its derivatives, Adam, and the running standardizer of inputs.

Legend: B rows, I inputs, O outputs, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gailbench.plumbing.state import State

Activation = Literal["tanh", "leaky_relu"]
Array = NDArray[Any]  # floats: float32, except in tests
LEAKY_SLOPE = 0.01


class MLP(nn.Module):
    """A multilayer perceptron in float32. Initially hidden weights are Glorot-uniform; biases and the output layer are
    0.

    Args:
        sizes: Numbers of inputs, hidden units per layer, and outputs, such as (11, 100, 100, 3).
        activation: Activation of the hidden layers.
        generator: Draws the hidden weights. With None they are zero, to be loaded later.
    """

    def __init__(self, sizes: Sequence[int], activation: Activation, generator: np.random.Generator | None) -> None:
        super().__init__()
        self.activation = activation
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            bound = np.sqrt(6.0 / (inputs + outputs))
            weight = np.zeros((inputs, outputs), dtype=np.float32)
            if generator is not None and layer < len(sizes) - 2:
                weight[:] = generator.uniform(-bound, bound, (inputs, outputs))
            self.weights.append(nn.Parameter(torch.from_numpy(weight)))
            self.biases.append(nn.Parameter(torch.zeros(outputs)))
        # A list, since iterating over a ParameterList takes longer than a small matrix product.
        self._layers = list(zip(self.weights, self.biases, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (B, O) of inputs (B, I), differentiable by PyTorch. Tests compare the other passes with it."""
        for weight, bias in self._layers[:-1]:
            x = torch.addmm(bias, x, weight)
            x = torch.tanh(x) if self.activation == "tanh" else nn.functional.leaky_relu(x, LEAKY_SLOPE)
        weight, bias = self._layers[-1]
        return torch.addmm(bias, x, weight)

    def numpy_forward(self) -> Callable[[Array], Array]:
        """Return a function (B, I) -> (B, O) in NumPy, with the current parameters.

        PyTorch's fixed cost per call is several times higher, and so is the cost of its tanh.
        """
        layers = self._numpy_layers()
        return lambda x: _forward(layers, self.activation, x)[-1]

    def evaluate(self, x: Tensor) -> Tensor:
        """Return outputs (B, O) of many inputs (B, I), without PyTorch's graph."""
        forward, rows = self.numpy_forward(), x.numpy()
        return torch.from_numpy(np.concatenate([forward(rows[block]) for block in row_blocks(len(rows))]))

    def linearize(self, x: Tensor) -> Linearization:
        """Return the network's Jacobian at inputs x (B, I)."""
        layers = self._numpy_layers()
        *inputs, output = _forward(layers, self.activation, x.numpy())
        return Linearization([weight for weight, _ in layers], inputs, self.activation, output)

    def _numpy_layers(self) -> list[tuple[Array, Array]]:
        """Return weights and biases as NumPy views."""
        return [(weight.detach().numpy(), bias.detach().numpy()) for weight, bias in self._layers]


def _forward(layers: list[tuple[Array, Array]], activation: Activation, x: Array) -> list[Array]:
    """Return the inputs of every layer, and the output."""
    through = [x]
    for weight, bias in layers:
        if len(through) > 1:
            z = through[-1]
            if activation == "tanh":
                np.tanh(z, out=z)
            else:
                np.maximum(z, LEAKY_SLOPE * z, out=z)
        through.append(through[-1] @ weight)
        through[-1] += bias
    return through


class Linearization:
    """The Jacobian J (B x O, P) of an MLP at fixed inputs and parameters. It gives the products J v and J^T u.

    Vectors of parameters have the order of `flatten(network.parameters())`: all weights, then all biases.

    Attributes:
        output: The network's output (B, O).
    """

    def __init__(self, weights: list[Array], inputs: list[Array], activation: Activation, output: Array) -> None:
        self._weights, self._inputs = weights, inputs
        self.output = torch.from_numpy(output)
        # Derivatives of the activations. A leaky ReLU keeps the sign, so its slope follows from its result.
        if activation == "tanh":
            self._slopes = [1 - activated * activated for activated in inputs[1:]]
        else:
            self._slopes = [np.where(z > 0, z.dtype.type(1), z.dtype.type(LEAKY_SLOPE)) for z in inputs[1:]]
        self._ones = np.ones(len(output), dtype=output.dtype)  # a product with ones is faster than sum()

    def jvp(self, v: Tensor) -> Tensor:
        """Return J v: the change (B, O) of the output along v (P,)."""
        sizes = [w.size for w in self._weights] + [w.shape[1] for w in self._weights]
        parts = np.split(v.numpy(), np.cumsum(sizes)[:-1])
        weights, biases = parts[: len(self._weights)], parts[len(self._weights) :]

        def own(layer: int) -> Array:
            """Return the change of the layer's result by the change of its own parameters."""
            change: Array = self._inputs[layer] @ weights[layer].reshape(self._weights[layer].shape)
            change += biases[layer]
            return change

        tangent = own(0)
        for layer in range(1, len(self._weights)):
            tangent *= self._slopes[layer - 1]
            tangent = tangent @ self._weights[layer]
            tangent += own(layer)
        return torch.from_numpy(tangent)

    def vjp(self, u: Tensor) -> Tensor:
        """Return J^T u: the gradient (P,) of sum(u * output), for u (B, O)."""
        back = u.numpy()
        weights: list[Array] = []
        biases: list[Array] = []
        for layer in reversed(range(len(self._weights))):
            weights.append((self._inputs[layer].T @ back).reshape(-1))
            biases.append(self._ones @ back)
            if layer:
                back = np.dot(back, self._weights[layer].T)  # with one output seven times as fast as `@`
                back *= self._slopes[layer - 1]
        return torch.from_numpy(np.concatenate(weights[::-1] + biases[::-1]))


def row_blocks(count: int, size: int = 4096) -> list[slice]:
    """Divide `count` rows into equal blocks of at most `size` rows. The activations of a block stay in a core's cache,
    and its memory is reused for the next block instead of being allocated anew by the system."""
    edges = np.linspace(0, count, -(-count // size) + 1).astype(int).tolist()
    return [slice(start, end) for start, end in pairwise(edges)]


def objective_gradient(
    network: MLP,
    x: Tensor,
    objective: Callable[[Tensor, slice], Tensor],
    free: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """Compute the gradient of an objective that is a sum over rows.

    Args:
        network: The network.
        x: Inputs (B, I).
        objective: Function of the outputs of a block of rows and of the slice of these rows; returns the block's part
            of the objective.
        free: Parameters besides the network's on which the objective depends.

    Returns:
        The gradient (P,) with respect to the network's parameters and then the free ones; and the outputs (B, O).
    """
    gradient: Tensor | None = None
    outputs = []
    for rows in row_blocks(len(x)):
        linearization = network.linearize(x[rows])
        output = linearization.output.requires_grad_()
        by_output, *by_free = torch.autograd.grad(objective(output, rows), (output, *free), materialize_grads=True)
        part = torch.cat([linearization.vjp(by_output), *(entry.reshape(-1) for entry in by_free)])
        gradient = part if gradient is None else gradient.add_(part)
        outputs.append(output.detach())
    assert gradient is not None
    return gradient, torch.cat(outputs)


def flatten(tensors: Iterable[Tensor]) -> Tensor:
    """Return all entries of tensors in one vector (P,), detached."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


@torch.no_grad()
def assign(parameters: Iterable[Tensor], values: Tensor) -> None:
    """Write the vector `values` (P,) into the parameters, in place."""
    offset = 0
    for parameter in parameters:
        parameter.copy_(values[offset : offset + parameter.numel()].view_as(parameter))
        offset += parameter.numel()
    assert offset == values.numel()


class Adam:
    """Adam (Kingma & Ba 2015, Algorithm 1), with all parameters in one vector (P,).

    It takes the same steps as `torch.optim.Adam`. The first step of that class imports a compiler, which takes 1.4
    seconds.

    Args:
        parameters: The parameters, changed in place.
        learning_rate: Learning rate.
    """

    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        self._parameters, self._learning_rate = list(parameters), learning_rate
        self._steps = 0
        self._first = np.zeros(sum(p.numel() for p in self._parameters), dtype=np.float32)
        self._second = np.zeros_like(self._first)

    def step(self, gradient: Tensor) -> None:
        """Take a step against the gradient (P,), which has the order of the parameters."""
        g = gradient.numpy()
        self._steps += 1
        self._first += (1 - self.BETA1) * (g - self._first)
        self._second += (1 - self.BETA2) * (g * g - self._second)
        scale = np.sqrt(self._second) / sqrt(1 - self.BETA2**self._steps) + self.EPSILON
        step = self._learning_rate / (1 - self.BETA1**self._steps) * self._first / scale
        assign(self._parameters, flatten(self._parameters) - torch.from_numpy(step))

    def state(self) -> State:
        """Return everything that the next step depends on."""
        return {"steps": np.array([self._steps]), "first": self._first.copy(), "second": self._second.copy()}

    def load_state(self, state: State) -> None:
        """Continue from a value of `state`."""
        self._steps = int(state["steps"][0])
        self._first, self._second = state["first"].copy(), state["second"].copy()


class Standardizer:
    """Running standardization (x - mean) / (std + 1e-6) by the statistics of all rows so far. Results are not clipped.

    Sums are kept in float64 and relative to the first row, so an input that never changes has a standard deviation of
    exactly 0. Before the first row it is the identity.

    Attributes:
        count: Number of rows so far, or the sum of their weights.
    """

    EPSILON = 1e-6

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.count = 0.0
        self._shift = np.zeros(dim)
        self._sum = np.zeros(dim)
        self._sum_squares = np.zeros(dim)
        self._refresh()

    @property
    def mean(self) -> NDArray[np.float64]:
        """The mean, (dim,)."""
        return self._shift + self._sum / max(self.count, 1.0)

    @property
    def std(self) -> NDArray[np.float64]:
        """The population standard deviation, (dim,)."""
        if not self.count:
            return np.ones(self.dim)
        mean = self._sum / self.count
        return np.sqrt(np.maximum(self._sum_squares / self.count - mean**2, 0.0))

    def update(self, rows: NDArray[np.floating], weights: NDArray[Any] | None = None) -> None:
        """Add rows (B, dim), each counted once or `weights` (B,) times."""
        if not self.count and len(rows):
            self._shift = rows[0].astype(np.float64)
        # Blocks limit the memory of the float64 copy of a large batch.
        for start in range(0, len(rows), 8192):
            x = rows[start : start + 8192] - self._shift
            if weights is None:
                self._sum += x.sum(0)
                self._sum_squares += np.einsum("ij,ij->j", x, x)
            else:
                w = weights[start : start + 8192].astype(np.float64)
                self._sum += w @ x
                self._sum_squares += np.einsum("i,ij,ij->j", w, x, x)
        self.count += float(len(rows) if weights is None else weights.sum())
        self._refresh()

    def _refresh(self) -> None:
        self._mean32 = self.mean.astype(np.float32)
        self._scale32 = (1.0 / (self.std + (self.EPSILON if self.count else 0.0))).astype(np.float32)

    def __call__(self, rows: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return rows (..., dim) standardized, in float32."""
        x = np.subtract(rows, self._mean32, dtype=np.float32)
        x *= self._scale32
        return x

    def invert(self, standardized: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the values (..., dim) of standardized values (..., dim)."""
        return standardized * (self.std + (self.EPSILON if self.count else 0.0)) + self.mean

    def state(self) -> State:
        """Return the count and the sums, by name."""
        return {
            "count": np.array([self.count]),
            "shift": self._shift.copy(),
            "sum": self._sum.copy(),
            "sum_squares": self._sum_squares.copy(),
        }

    def load_state(self, state: State) -> None:
        """Continue from a value of `state`."""
        self.count = float(state["count"][0])
        self._shift = np.array(state["shift"], dtype=np.float64)
        self._sum = np.array(state["sum"], dtype=np.float64)
        self._sum_squares = np.array(state["sum_squares"], dtype=np.float64)
        self._refresh()
