"""The covariance operators without their matrices: products that never form a connection (T3–T5).

K_uᵀ vec(V) is the change of the output f_L(u) when W_l moves along V, and Σ_u K_u t_u is what a change t of
the outputs asks of W_l. Both are products with the activations below the layer and a walk through the gates
above it, so that K Λ Kᵀ vec(V) costs about as much as a forward and a backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from ssl_theory.losses import ContrastiveLoss, SimpleContrastive
from ssl_theory.networks import ReLUNetwork
from ssl_theory.operators.pairs import PairForm, Part, form_of
from ssl_theory.validation import require_finite, require_float_tensor, require_integer
from ssl_theory.views import as_views

MEMORY_LIMIT = 2**30

_SIMPLE = SimpleContrastive()


@dataclass(frozen=True)
class WeightOperator:
    """A symmetric operator on the column-major vec(W) of one layer, known by its products alone.

    Attributes:
        rows: n_l, the rows of W.
        columns: n_{l-1}, the columns of W.
        dtype: dtype of vectors and products.
        device: Device of vectors and products.
        product: (D, k) -> (D, k), D = rows·columns.
    """

    rows: int
    columns: int
    dtype: torch.dtype
    device: torch.device
    product: Callable[[Tensor], Tensor]

    @property
    def shape(self) -> tuple[int, int]:
        """(D, D)."""
        return (self.rows * self.columns, self.rows * self.columns)

    def __call__(self, vectors: Float[Tensor, "D *k"]) -> Float[Tensor, "D *k"]:
        """Return the product with one vector, (D,), or with several at once, (D, k).

        Args:
            vectors: Shape (D,) or (D, k), with the operator's dtype and device.

        Returns:
            The same shape.

        Raises:
            TypeError: If they are no tensor of the operator's dtype.
            ValueError: If the shape or device does not fit.
        """
        require_float_tensor("vectors", vectors)
        if vectors.dtype != self.dtype:
            raise TypeError(f"vectors must have the operator's dtype, {self.dtype}, got {vectors.dtype}")
        if vectors.device != self.device:
            raise ValueError(f"vectors must be on the operator's device, {self.device}, got {vectors.device}")
        if vectors.ndim not in (1, 2) or vectors.shape[0] != self.shape[0]:
            raise ValueError(
                f"vectors must have shape ({self.shape[0]},) or ({self.shape[0]}, k), "
                f"got {tuple(vectors.shape)}"
            )
        return self.product(vectors.reshape(self.shape[0], -1)).reshape(vectors.shape)

    def scipy(self) -> LinearOperator:
        """Return the operator for scipy: numpy in and out, products on the operator's device."""

        def product(vectors: np.ndarray) -> np.ndarray:
            tensor = torch.as_tensor(np.ascontiguousarray(vectors), dtype=self.dtype, device=self.device)
            return self(tensor).cpu().numpy()

        kind = np.dtype(str(self.dtype).removeprefix("torch."))
        return LinearOperator(self.shape, matvec=product, matmat=product, rmatvec=product, dtype=kind)


def linear_operator(
    net: ReLUNetwork,
    views: Float[Tensor, "N A n_0"],
    layer: int,
    part: Part = "exact",
    loss: ContrastiveLoss = _SIMPLE,
    negatives: int = 1,
    *,
    memory_limit: int = MEMORY_LIMIT,
) -> WeightOperator:
    """Return an operator of layer l in matrix-free form; it never forms K.

    Args:
        net: The network.
        views: Finite view set, shape (N, A, n_0).
        layer: l, from 1 to L.
        part: "exact", "leading", "between" or "within".
        loss: The loss of the exact and the leading part.
        negatives: H, how many negatives an anchor has.
        memory_limit: Bytes that activations, gates, pair weights and work space may take. Activations
            and gates are kept between products if the limit holds them, else computed anew.

    Returns:
        The operator, on the device and in the dtype of the network.

    Raises:
        ValueError: If the limit does not hold the pair weights or one view, an activation is not finite,
            or as in `covariance_operator`.
    """
    views = as_views(views)
    layer = require_integer("layer", layer, 1, net.depth)
    memory_limit = require_integer("memory_limit", memory_limit, 1)
    net = ReLUNetwork([w.detach() for w in net.weights], net.biases)
    flat = views.flatten(0, 1)
    _require_room_for_pairs(part, views, memory_limit)
    step = _views_at_a_time(net, flat, memory_limit)
    outputs = torch.cat([net(chunk) for chunk in torch.split(flat, step)])
    require_finite("the activations", outputs)
    form = form_of(part, outputs.reshape(*views.shape[:2], -1), loss, negatives)
    below, above = net.widths[layer - 1], net.widths[layer]
    kept = _keep_if_room(net, flat, layer, memory_limit)
    columns = 1 if kept is None else max(1, memory_limit // (2 * len(flat) * _per_view(net, flat)))

    def linearised() -> Iterator[tuple[slice, Linearised]]:
        if kept is not None:
            yield slice(None), kept
            return
        for start in range(0, len(flat), step):
            chunk = slice(start, start + step)
            yield chunk, Linearised.at(net, flat[chunk], layer)

    return assemble(linearised, form, views, above, below, columns)


def assemble(
    linearised: Callable[[], Iterable[tuple[slice, Derivative]]],
    form: PairForm,
    views: Tensor,
    rows: int,
    columns: int,
    width: int = 1,
) -> WeightOperator:
    """Return K Λ Kᵀ from the derivatives of chunks of views and Λ.

    Args:
        linearised: Yields the chunks, slices of the N·A views, each with its derivative.
        form: Λ.
        views: The view set, whose first two dimensions are N and A.
        rows: n_l.
        columns: n_{l-1}.
        width: How many vectors go through a derivative at a time.

    Returns:
        The operator.
    """
    grid = tuple(views.shape[:2])

    def block(matrices: Tensor) -> Tensor:
        changes = torch.cat([derivative.jvp(matrices) for _, derivative in linearised()])
        image = form(changes.reshape(*grid, -1)).reshape(changes.shape)
        total = torch.zeros_like(matrices)
        for chunk, derivative in linearised():
            total += derivative.vjp(image[chunk])
        return total

    def product(vectors: Tensor) -> Tensor:
        matrices = vectors.reshape(columns, rows, vectors.shape[1]).transpose(1, 2)
        images = [block(some) for some in torch.split(matrices, width, dim=1)]
        return torch.cat(images, 1).transpose(1, 2).reshape(vectors.shape)

    return WeightOperator(rows, columns, views.dtype, views.device, product)


class Derivative(Protocol):
    """The derivative of m outputs in the weights of one layer."""

    def jvp(self, matrices: Float[Tensor, "n_k k n_l"]) -> Float[Tensor, "m k n_L"]:
        """Return K_uᵀ vec(V) for each input u and each of k matrices Vᵀ."""

    def vjp(self, changes: Float[Tensor, "m k n_L"]) -> Float[Tensor, "n_k k n_l"]:
        """Return Σ_u K_u t_u as k matrices Vᵀ."""


@dataclass(frozen=True)
class Linearised:
    """The `Derivative` of a ReLU network at a set of m inputs.

    Attributes:
        below: f_{l-1}, shape (m, n_{l-1}).
        gates: Gates of the layers l … L-1, shapes (m, 1, n).
        upper: The weights W_{l+1} … W_L.
    """

    below: Tensor
    gates: tuple[Tensor, ...]
    upper: tuple[Tensor, ...]

    @classmethod
    def at(cls, net: ReLUNetwork, x: Tensor, layer: int) -> Linearised:
        """Return the derivative at the inputs x, (m, n_0), from one forward pass."""
        stack = net.pre_activations(x)
        gates = tuple((pre > 0).to(x.dtype).unsqueeze(1) for pre in stack[layer - 1 : -1])
        below = x if layer == 1 else torch.relu(stack[layer - 2])
        return cls(below, gates, net.weights[layer:])

    def jvp(self, matrices: Tensor) -> Tensor:
        """Return K_uᵀ vec(V) for each input and each of k matrices Vᵀ, (n_{l-1}, k, n_l) -> (m, k, n_L)."""
        inner, k, outer = matrices.shape
        change = (self.below @ matrices.reshape(inner, k * outer)).reshape(len(self.below), k, outer)
        for gate, weight in zip(self.gates, self.upper, strict=True):
            change = change.mul_(gate) @ weight.mT  # in place: the product is as fast as its memory
        return change

    def vjp(self, changes: Tensor) -> Tensor:
        """Return Σ_u K_u t_u as k matrices Vᵀ, (m, k, n_L) -> (n_{l-1}, k, n_l)."""
        for gate, weight in zip(reversed(self.gates), reversed(self.upper), strict=True):
            changes = (changes @ weight).mul_(gate)
        m, k, outer = changes.shape
        return (self.below.mT @ changes.reshape(m, k * outer)).reshape(self.below.shape[1], k, outer)


def _keep_if_room(net: ReLUNetwork, flat: Tensor, layer: int, limit: int) -> Linearised | None:
    """Return activations and gates of all views if they and the work space of one product fit."""
    if len(flat) * _per_view(net, flat) > limit:
        return None
    step = _views_at_a_time(net, flat, limit)
    parts = [Linearised.at(net, chunk, layer) for chunk in torch.split(flat, step)]
    gates = tuple(torch.cat(g) for g in zip(*(p.gates for p in parts), strict=True))
    return Linearised(torch.cat([p.below for p in parts]), gates, parts[0].upper)


def _views_at_a_time(net: ReLUNetwork, flat: Tensor, limit: int) -> int:
    per_view = _per_view(net, flat)
    if per_view > limit:
        raise ValueError(f"memory_limit must hold one view, at least {per_view} bytes, got {limit}")
    return min(len(flat), limit // per_view)


def _per_view(net: ReLUNetwork, flat: Tensor) -> int:
    """Return the bytes of a view's activations and gates, and of one change of a layer, twice."""
    return 2 * (sum(net.widths) + max(net.widths)) * flat.element_size()


def _require_room_for_pairs(part: Part, views: Tensor, limit: int) -> None:
    n, a, _ = views.shape
    pairs = {"exact": (n * a) ** 2, "leading": n**2}.get(part, 0)
    needed = 3 * pairs * views.element_size()
    if needed > limit:
        raise ValueError(
            f"memory_limit must hold the pair weights of the {part} part, at least {needed} bytes, "
            f"got {limit}"
        )
