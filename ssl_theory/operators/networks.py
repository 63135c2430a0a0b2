"""Products with the connections of a ReLU network that never form a connection (T3–T5).

K_uᵀ vec(V) is the change of the output f_L(u) when W_l moves along V, and Σ_u K_u t_u is what a change t of
the outputs asks of W_l. Both are products with the activations below the layer and a walk through the gates
above it, so that K Λ Kᵀ vec(V) costs about as much as a forward and a backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_theory.networks import ReLUNetwork

__all__: list[str] = []


@dataclass(frozen=True, eq=False)
class _NetworkDerivative:
    """The `Derivative` of a ReLU network at all m views, some views at a time where memory is short.

    Attributes:
        net: The network.
        flat: The views, (m, n_0).
        layer: l.
        step: Views at a time.
        kept: Activations and gates of all views, if there is room for them.
        width: How many matrices go through at a time.
        outputs: f_L, (m, n_L).
    """

    net: ReLUNetwork
    flat: Tensor
    layer: int
    step: int
    kept: _Linearised | None
    width: int
    outputs: Tensor

    @classmethod
    def at(cls, net: ReLUNetwork, flat: Tensor, layer: int, memory_limit: int) -> _NetworkDerivative:
        """Return the derivative; activations and gates are kept if they and the work space fit."""
        net = ReLUNetwork([w.detach() for w in net.weights], net.biases)
        step = _views_at_a_time(net, flat, memory_limit)
        outputs = torch.cat([net(chunk) for chunk in torch.split(flat, step)])
        room = memory_limit // (len(flat) * _per_view(net, flat))
        kept = _linearise(net, flat, layer, step) if room else None
        return cls(net, flat, layer, step, kept, max(1, room // 2), outputs)

    @property
    def matrix(self) -> Tensor:
        return self.net.weights[self.layer - 1]

    def jvp(self, matrices: Tensor) -> Tensor:
        return torch.cat([linearised.jvp(matrices) for _, linearised in self._chunks()])

    def vjp(self, changes: Tensor) -> Tensor:
        rows, columns = self.matrix.shape
        total = changes.new_zeros(columns, changes.shape[1], rows)
        for chunk, linearised in self._chunks():
            total += linearised.vjp(changes[chunk])
        return total

    def _chunks(self) -> Iterator[tuple[slice, _Linearised]]:
        if self.kept is not None:
            yield slice(None), self.kept
            return
        for start in range(0, len(self.flat), self.step):
            chunk = slice(start, start + self.step)
            yield chunk, _Linearised.at(self.net, self.flat[chunk], self.layer)


@dataclass(frozen=True)
class _Linearised:
    """The derivative of a ReLU network at a set of m inputs.

    Attributes:
        below: f_{l-1}, shape (m, n_{l-1}).
        gates: Gates of the layers l … L-1, shapes (m, 1, n).
        upper: The weights W_{l+1} … W_L.
    """

    below: Tensor
    gates: tuple[Tensor, ...]
    upper: tuple[Tensor, ...]

    @classmethod
    def at(cls, net: ReLUNetwork, x: Tensor, layer: int) -> _Linearised:
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


def _linearise(net: ReLUNetwork, flat: Tensor, layer: int, step: int) -> _Linearised:
    """Return activations and gates of all views."""
    parts = [_Linearised.at(net, chunk, layer) for chunk in torch.split(flat, step)]
    gates = tuple(torch.cat(g) for g in zip(*(p.gates for p in parts), strict=True))
    return _Linearised(torch.cat([p.below for p in parts]), gates, parts[0].upper)


def _views_at_a_time(net: ReLUNetwork, flat: Tensor, limit: int) -> int:
    per_view = _per_view(net, flat)
    if per_view > limit:
        raise ValueError(f"memory_limit must hold one view, at least {per_view} bytes, got {limit}")
    return min(len(flat), limit // per_view)


def _per_view(net: ReLUNetwork, flat: Tensor) -> int:
    """Return the bytes of a view's activations and gates, and of one change of a layer, twice."""
    return 2 * (sum(net.widths) + max(net.widths)) * flat.element_size()
