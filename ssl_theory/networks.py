"""Deep ReLU networks, their top-down Jacobians and their connections (T1).

Layers are counted from 1 to L. With f_0 = x,

    f̃_l = W_l f_{l-1} (+ b_l),    f_l = ReLU(f̃_l) for l < L,    f_L = f̃_L.

Source: Tian, Yu, Chen and Ganguli, arXiv:2010.00578; the notation is that of the book.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.validation import (
    require_device,
    require_dtype,
    require_finite,
    require_float_tensor,
    require_generator,
    require_integer,
    require_rank,
    require_real,
    require_same_kind,
    require_widths,
)

__all__ = [
    "ReLUNetwork",
    "unvec",
    "vec",
]


class ReLUNetwork:
    """A deep ReLU network with a linear top layer, given by its weights.

    The weights are kept as they are, uncopied, so that autograd can differentiate through them.

    Args:
        weights: Matrices W_1 … W_L, W_l of shape (n_l, n_{l-1}), all of one dtype (float32 or
            float64) and device.
        biases: None, the setting of the theory, or one vector of shape (n_l,) per layer, to step
            outside it.

    Raises:
        TypeError: If a weight or bias is no float tensor, or dtypes are mixed.
        ValueError: If there is no weight, one is empty or not finite, shapes do not chain, or devices
            are mixed.

    Example:
        >>> net = ReLUNetwork([torch.tensor([[1.0], [-1.0]]), torch.tensor([[2.0, 3.0]])])
        >>> x = torch.tensor([[5.0], [-1.0]])  # two inputs
        >>> net(x)
        tensor([[10.],
                [ 3.]])
        >>> net.connection(x, 1).squeeze(-1) @ vec(net.weights[0])  # without biases K_1ᵀ vec(W_1) = f_L
        tensor([10.,  3.])
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...] | None

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor] | None = None) -> None:
        self.weights = tuple(weights)
        self.biases = None if biases is None else tuple(biases)
        _check_weights(self.weights)
        if self.biases is not None:
            _check_biases(self.biases, self.weights)

    @classmethod
    def random(
        cls,
        widths: Sequence[int],
        *,
        generator: torch.Generator,
        scale: float = 1.0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> ReLUNetwork:
        """Draw a bias-free network with independent Gaussian weights.

        Args:
            widths: n_0, n_1, …, n_L, each at least 1.
            generator: Source of randomness; numbers are drawn on its device.
            scale: The entries of W_l have standard deviation scale·√(2/n_{l-1}), or
                scale·√(1/n_{l-1}) in the linear top layer, which keeps the size of activations.
            dtype: float32 or float64.
            device: Where the weights end up; None for the generator's device.

        Returns:
            The network.

        Raises:
            TypeError: If an argument is of the wrong type, or the dtype another.
            ValueError: If a width is not positive, the scale is not a positive finite number, or the device
                is not there.
        """
        widths = require_widths(widths)
        scale = require_real("scale", scale, above=0.0)
        source, dtype = require_generator("generator", generator), require_dtype("dtype", dtype)
        place = source.device if device is None else require_device("device", device)
        weights = []
        for layer, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
            gain = 1.0 if layer == len(widths) - 1 else 2.0
            draw = torch.randn(fan_out, fan_in, generator=source, dtype=dtype, device=source.device)
            weights.append((draw * (scale * (gain / fan_in) ** 0.5)).to(place))
        return cls(weights)

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return len(self.weights)

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths n_0, …, n_L."""
        return (self.weights[0].shape[1], *(w.shape[0] for w in self.weights))

    def __call__(self, x: Float[Tensor, "*batch n_0"]) -> Float[Tensor, "*batch n_L"]:
        """Return the output f_L(x).

        Args:
            x: Inputs, shape (..., n_0), with the weights' dtype and device.

        Returns:
            Outputs, shape (..., n_L).
        """
        return self.pre_activations(x)[-1]

    def pre_activations(self, x: Float[Tensor, "*batch n_0"]) -> list[Tensor]:
        """Return [f̃_1, …, f̃_L], f̃_l of shape (..., n_l), for inputs x of shape (..., n_0).

        Raises:
            TypeError: If x is no float tensor of the weights' dtype.
            ValueError: If its last dimension is not n_0, or it is on another device.
        """
        self._check_input(x)
        stack: list[Tensor] = []
        for index, weight in enumerate(self.weights):
            below = torch.relu(stack[-1]) if stack else x
            bias = 0.0 if self.biases is None else self.biases[index]
            stack.append(below @ weight.mT + bias)
        return stack

    def activation(self, x: Float[Tensor, "*batch n_0"], layer: int) -> Tensor:
        """Return f_layer(x), shape (..., n_layer), for layer = 0 (the input) … L (the output).

        Raises:
            TypeError: If `layer` is not an integer, or x is no float tensor of the weights' dtype.
            ValueError: If `layer` is not in 0 … L, or x has another width or device.
        """
        layer = require_integer("layer", layer, 0, self.depth)
        stack = self.pre_activations(x)
        return _activation(x, stack, layer)

    def gates(self, x: Float[Tensor, "*batch n_0"], layer: int) -> Tensor:
        """Return the diagonal of D_l, shape (..., n_l): 1 where f̃_l > 0 and 0 elsewhere, all 1 at the top."""
        layer = self._check_layer(layer)
        return self._gate(self.pre_activations(x)[layer - 1], layer)

    def first_flip(
        self, x: Float[Tensor, "*batch n_0"], direction: Float[Tensor, "*batch n_0"]
    ) -> Float[Tensor, "*batch"]:
        """Return the smallest t > 0 at which a hidden gate of x + t·direction flips.

        Up to there the network is affine along the line, so its first crossing is that of its tangent at x.

        Args:
            x: Inputs, shape (..., n_0).
            direction: Where each moves, of the same shape.

        Returns:
            Shape (...), in the inputs' dtype; infinite where no gate flips.

        Raises:
            TypeError: If x or `direction` is no float tensor of the weights' dtype.
            ValueError: If one has another width or device than the first layer.
        """
        self._check_input(direction, "direction")
        levels = self.pre_activations(x)
        moves, first = direction, torch.full(x.shape[:-1], torch.inf, dtype=x.dtype, device=x.device)
        for layer, (weight, level) in enumerate(zip(self.weights[:-1], levels[:-1], strict=True), 1):
            moves = moves @ weight.mT
            times = -level / moves
            first = torch.minimum(first, times.where(times > 0, torch.inf).amin(-1))
            moves = self._gate(level, layer) * moves
        return first

    def jacobian(self, x: Float[Tensor, "*batch n_0"], layer: int) -> Float[Tensor, "*batch n_L n_l"]:
        """Return J_l = ∂f_L/∂f̃_l = W_L D_{L-1} W_{L-1} … W_{l+1} D_l, the gate of layer l included.

        Args:
            x: Inputs, shape (..., n_0).
            layer: l, from 1 to L; J_L is the identity.

        Returns:
            Shape (..., n_L, n_l), in the inputs' dtype. A pre-activation that is exactly 0 counts as off.

        Raises:
            TypeError: If `layer` is not an integer, or x is no float tensor of the weights' dtype.
            ValueError: If `layer` is not in 1 … L, or x has another width or device.
        """
        layer = self._check_layer(layer)
        return self._jacobian(self.pre_activations(x), layer)

    def connection(self, x: Float[Tensor, "*batch n_0"], layer: int) -> Float[Tensor, "*batch D n_L"]:
        """Return the connection K_l = f_{l-1} ⊗ J_lᵀ, rows ordered like the column-major vec(W_l).

        Without biases K_lᵀ vec(W_l) = f_L, in every layer.

        Args:
            x: Inputs, shape (..., n_0).
            layer: l, from 1 to L.

        Returns:
            Shape (..., n_l·n_{l-1}, n_L); row i + n_l·j belongs to the entry (i, j) of W_l.

        Raises:
            TypeError: If `layer` is not an integer, or x is no float tensor of the weights' dtype.
            ValueError: If `layer` is not in 1 … L, or x has another width or device.
        """
        below, jacobian = self.factors(x, layer)
        return torch.einsum("...j,...oi->...jio", below, jacobian).flatten(-3, -2)

    def factors(self, x: Float[Tensor, "*batch n_0"], layer: int) -> tuple[Tensor, Tensor]:
        """Return the two factors of K_l from one pass: f_{l-1}, (..., n_{l-1}), and J_l, (..., n_L, n_l).

        Raises:
            TypeError: If `layer` is not an integer, or x is no float tensor of the weights' dtype.
            ValueError: If `layer` is not in 1 … L, or x has another width or device.
        """
        layer = self._check_layer(layer)
        stack = self.pre_activations(x)
        return _activation(x, stack, layer - 1), self._jacobian(stack, layer)

    def _jacobian(self, stack: list[Tensor], layer: int) -> Tensor:
        top = stack[-1]
        jacobian = torch.eye(top.shape[-1], dtype=top.dtype, device=top.device)
        jacobian = jacobian.expand(*top.shape, top.shape[-1])
        for m in range(self.depth - 1, layer - 1, -1):
            jacobian = (jacobian @ self.weights[m]) * self._gate(stack[m - 1], m).unsqueeze(-2)
        return jacobian

    def _gate(self, pre_activation: Tensor, layer: int) -> Tensor:
        if layer == self.depth:
            return torch.ones_like(pre_activation)
        return (pre_activation > 0).to(pre_activation.dtype)

    def _check_layer(self, layer: int) -> int:
        return require_integer("layer", layer, 1, self.depth)

    def _check_input(self, x: Tensor, name: str = "x") -> None:
        require_float_tensor(name, x)
        require_same_kind(name, x, "the weights", self.weights[0])
        if x.ndim == 0 or x.shape[-1] != self.widths[0]:
            raise ValueError(f"{name} must have shape (..., n_0 = {self.widths[0]}), got {tuple(x.shape)}")


def vec(matrix: Float[Tensor, "*batch rows columns"]) -> Float[Tensor, "*batch D"]:
    """Return the columns of a matrix stacked into one vector, so that vec AXB = Bᵀ ⊗ A vec X.

    Args:
        matrix: Shape (..., rows, columns).

    Returns:
        Shape (..., rows·columns).

    Raises:
        TypeError: If it is no tensor.
        ValueError: If it has fewer than two dimensions.
    """
    if not isinstance(matrix, Tensor):
        raise TypeError(f"matrix must be a torch tensor, got {type(matrix).__name__}")
    if matrix.ndim < 2:
        raise ValueError(f"matrix must have shape (..., rows, columns), got {tuple(matrix.shape)}")
    return matrix.mT.flatten(-2)


def unvec(vector: Float[Tensor, "*batch D"], rows: int) -> Float[Tensor, "*batch rows columns"]:
    """Return the matrix, (..., rows, columns), whose `vec` is given, (..., rows·columns).

    Raises:
        TypeError: If the vector is no tensor or `rows` no integer.
        ValueError: If `rows` does not divide the length of the vector.
    """
    rows = require_integer("rows", rows, 1)
    if not isinstance(vector, Tensor):
        raise TypeError(f"vector must be a torch tensor, got {type(vector).__name__}")
    if vector.ndim < 1:
        raise ValueError(f"vector must have shape (..., length), got {tuple(vector.shape)}")
    if vector.shape[-1] % rows:
        raise ValueError(f"rows must divide the length {vector.shape[-1]} of the vector, got {rows}")
    return vector.reshape(*vector.shape[:-1], vector.shape[-1] // rows, rows).mT


def _activation(x: Tensor, stack: list[Tensor], layer: int) -> Tensor:
    if layer == 0:
        return x
    return stack[-1] if layer == len(stack) else torch.relu(stack[layer - 1])


def _check_weights(weights: tuple[Tensor, ...]) -> None:
    if not weights:
        raise ValueError("weights must hold at least one matrix, got none")
    for index, weight in enumerate(weights):
        name = f"weights[{index}]"
        require_float_tensor(name, weight)
        require_rank(name, weight, 2, "(n_l, n_{l-1})")
        require_same_kind(name, weight, "weights[0]", weights[0])
        if weight.numel() == 0:
            raise ValueError(f"{name} must not be empty, got shape {tuple(weight.shape)}")
        if index and weight.shape[1] != weights[index - 1].shape[0]:
            raise ValueError(
                f"{name} must have n_{index} = {weights[index - 1].shape[0]} columns, the rows of the layer "
                f"below, got shape {tuple(weight.shape)}"
            )
        require_finite(name, weight)


def _check_biases(biases: tuple[Tensor, ...], weights: tuple[Tensor, ...]) -> None:
    if len(biases) != len(weights):
        raise ValueError(f"biases must hold one vector per layer, {len(weights)}, got {len(biases)}")
    for index, (bias, weight) in enumerate(zip(biases, weights, strict=True)):
        name = f"biases[{index}]"
        require_float_tensor(name, bias)
        require_same_kind(name, bias, "the weights", weight)
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"{name} must have shape ({weight.shape[0]},), got {tuple(bias.shape)}")
        require_finite(name, bias)
