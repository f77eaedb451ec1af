"""The one kind of network, and the running standardizer of its inputs.

Legend: B rows, I inputs, O outputs, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gailbench.state import State

Activation = Literal["tanh", "leaky_relu"]
LEAKY_SLOPE = 0.01
_ADAM_MOMENTS = ("exp_avg", "exp_avg_sq")


class MLP(nn.Module):
    """A multilayer perceptron, float32: hidden weights Glorot-uniform, biases and the whole output layer zero.

    Args:
        sizes: Inputs, hidden widths and outputs, say (11, 100, 100, 3).
        activation: Of the hidden layers.
        generator: Draws the hidden weights; None leaves them zero, to be loaded.
    """

    def __init__(self, sizes: Sequence[int], activation: Activation, generator: np.random.Generator | None) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
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
        # Walking a ParameterList takes longer than a small matrix product.
        self._layers = list(zip(self.weights, self.biases, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """(B, I) -> (B, O)."""
        for weight, bias in self._layers[:-1]:
            x = self._activate(_affine(x, weight, bias))
        return _affine(x, *self._layers[-1])

    @torch.no_grad()
    def evaluate(self, x: Tensor) -> Tensor:
        """(B, I) -> (B, O) for many rows, without a graph."""
        return torch.cat([self(x[rows]) for rows in row_blocks(len(x))])

    def numpy_forward(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """Return (B, I) -> (B, O) in NumPy, for a few rows at the present parameters.

        PyTorch's cost per call is several times higher.
        """
        layers = [(weight.detach().numpy(), bias.detach().numpy()) for weight, bias in self._layers]
        tanh = self.activation == "tanh"

        def forward(x: NDArray[np.float32]) -> NDArray[np.float32]:
            for weight, bias in layers[:-1]:
                x = x @ weight
                x += bias
                if tanh:
                    np.tanh(x, out=x)
                else:
                    np.maximum(x, LEAKY_SLOPE * x, out=x)
            weight, bias = layers[-1]
            x = x @ weight
            x += bias
            return x

        return forward

    @torch.no_grad()
    def linearize(self, x: Tensor) -> Linearization:
        """Return the network's Jacobian at rows x (B, I), as a pair of products."""
        inputs = [x]
        for weight, bias in self._layers[:-1]:
            inputs.append(self._activate(_affine(inputs[-1], weight, bias)))
        output = _affine(inputs[-1], *self._layers[-1])
        return Linearization([weight.detach() for weight, _ in self._layers], inputs, self.activation, output)

    def _activate(self, z: Tensor) -> Tensor:
        if self.activation == "leaky_relu":
            return nn.functional.leaky_relu(z, LEAKY_SLOPE)
        if torch.is_grad_enabled():
            return torch.tanh(z)
        np.tanh(z.numpy(), out=z.numpy())  # PyTorch's takes six times as long
        return z


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W + b, (B, I) -> (B, O). With few outputs this is three times as fast as torch.addmm."""
    return nn.functional.linear(x, weight.T.contiguous(), bias)


class Linearization:
    """An MLP's Jacobian J (B x O, P) at fixed rows and parameters: the products J v and J^T u.

    Vectors over parameters are ordered as `flatten(network.parameters())`: all weights, then all biases.

    Attributes:
        output: The network's output at the rows, (B, O).
    """

    def __init__(self, weights: list[Tensor], inputs: list[Tensor], activation: Activation, output: Tensor) -> None:
        self._weights, self._inputs, self._activation, self.output = weights, inputs, activation, output

    def _through(self, change: Tensor, layer: int) -> Tensor:
        """Multiply by the derivative of the activation that gave this layer's inputs."""
        activated = self._inputs[layer]
        if self._activation == "tanh":
            return torch.ops.aten.tanh_backward(change, activated)
        # A leaky ReLU keeps the sign, so its result tells its slope.
        return torch.ops.aten.leaky_relu_backward(change, activated, LEAKY_SLOPE, True)

    def jvp(self, v: Tensor) -> Tensor:
        """J v: the change (B, O) of the output along parameters v (P,)."""
        sizes = [w.numel() for w in self._weights] + [w.shape[1] for w in self._weights]
        parts = torch.split(v, sizes)
        layers = len(self._weights)
        tangent: Tensor | None = None
        for layer, (weight, x) in enumerate(zip(self._weights, self._inputs, strict=True)):
            change = _affine(x, parts[layer].view_as(weight), parts[layers + layer])
            if tangent is not None:
                change += _affine(tangent, weight)
            tangent = self._through(change, layer + 1) if layer < layers - 1 else change
        assert tangent is not None
        return tangent

    def vjp(self, u: Tensor) -> Tensor:
        """J^T u: the gradient (P,) of sum(u * output) for u (B, O)."""
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        for layer in reversed(range(len(self._weights))):
            x = self._inputs[layer]
            # The narrow factor first: the other way round takes four times as long.
            weights.append(((u.T @ x).T if u.shape[1] < x.shape[1] else x.T @ u).reshape(-1))
            biases.append(u.sum(0))
            if layer:
                u = self._through(u @ self._weights[layer].T, layer)
        return torch.cat(weights[::-1] + biases[::-1])


def row_blocks(count: int, size: int = 4096) -> list[slice]:
    """Cut `count` rows into equal blocks of at most `size`: a block's activations stay in a core's cache, and its
    buffers are used again where those of a whole batch would be fetched anew from the system each time."""
    edges = np.linspace(0, count, -(-count // size) + 1).astype(int).tolist()
    return [slice(start, end) for start, end in pairwise(edges)]


def objective_gradient(
    network: MLP,
    x: Tensor,
    objective: Callable[[Tensor, slice], Tensor],
    free: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """Differentiate an objective that is a sum over rows.

    Args:
        network: The network.
        x: Its inputs, (B, I).
        objective: (outputs of a block of rows, which rows) -> that block's part of the objective.
        free: Parameters besides the network's that the objective depends on.

    Returns:
        The gradient by the network's parameters, then by the free ones, (P,); and the outputs, (B, O).
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
    """Return all entries in one vector (P,), detached."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


@torch.no_grad()
def assign(parameters: Iterable[Tensor], values: Tensor) -> None:
    """Write the vector `values` (P,) into the parameters, in place."""
    offset = 0
    for parameter in parameters:
        parameter.copy_(values[offset : offset + parameter.numel()].view_as(parameter))
        offset += parameter.numel()
    assert offset == values.numel()


def adam_state(adam: torch.optim.Adam) -> State:
    """Return the moments of an Adam that has stepped, as arrays; empty before its first step."""
    (group,) = adam.param_groups
    moments = [(adam.state.get(parameter, {}), parameter) for parameter in group["params"]]
    if not moments[0][0]:
        return {}
    return {
        "step": np.array([float(moments[0][0]["step"])]),
        # A parameter that the loss does not depend on has none.
        **{key: flatten(m.get(key, torch.zeros_like(p)) for m, p in moments).numpy() for key in _ADAM_MOMENTS},
    }


def load_adam_state(adam: torch.optim.Adam, state: State) -> None:
    """Continue from what `adam_state` returned."""
    (group,) = adam.param_groups
    parameters = group["params"]
    adam.state.clear()
    if not state:
        return
    for parameter in parameters:
        adam.state[parameter] = {
            "step": torch.tensor(float(state["step"][0])),
            **{key: torch.zeros_like(parameter) for key in _ADAM_MOMENTS},
        }
    for key in _ADAM_MOMENTS:
        assign([adam.state[p][key] for p in parameters], torch.from_numpy(state[key]))


class Standardizer:
    """Running standardization (x - mean) / (std + 1e-6) over all rows ever fed, never clipped.

    Sums are kept in float64 and relative to the first row seen, so an input that never changes has a deviation
    of exactly 0. Before any row it is the identity.

    Attributes:
        count: Rows seen (weights summed).
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
        """(dim,)"""
        return self._shift + self._sum / max(self.count, 1.0)

    @property
    def std(self) -> NDArray[np.float64]:
        """(dim,), the population standard deviation."""
        if not self.count:
            return np.ones(self.dim)
        mean = self._sum / self.count
        return np.sqrt(np.maximum(self._sum_squares / self.count - mean**2, 0.0))

    def update(self, rows: NDArray[np.floating], weights: NDArray[Any] | None = None) -> None:
        """Add rows (B, dim), each counted once or `weights` (B,) times."""
        if not self.count and len(rows):
            self._shift = rows[0].astype(np.float64)
        # Blocks bound the memory that the float64 copy of a large batch takes.
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
        """(..., dim) -> standardized float32 rows of the same shape."""
        x = np.subtract(rows, self._mean32, dtype=np.float32)
        x *= self._scale32
        return x

    def invert(self, standardized: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., dim) standardized values -> values."""
        return standardized * (self.std + (self.EPSILON if self.count else 0.0)) + self.mean

    def state(self) -> State:
        """Return all it is made of."""
        return {
            "count": np.array([self.count]),
            "shift": self._shift.copy(),
            "sum": self._sum.copy(),
            "sum_squares": self._sum_squares.copy(),
        }

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned."""
        self.count = float(state["count"][0])
        self._shift = np.array(state["shift"], dtype=np.float64)
        self._sum = np.array(state["sum"], dtype=np.float64)
        self._sum_squares = np.array(state["sum_squares"], dtype=np.float64)
        self._refresh()
