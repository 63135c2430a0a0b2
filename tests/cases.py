"""Random networks and view sets for property tests, and their form for the slow reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.losses import ContrastiveLoss, InfoNCE, SimpleContrastive, SoftTriplet
from ssl_theory.networks import ReLUNetwork
from ssl_theory.reference import PairWeights, infonce_weights, simple_weights, triplet_weights
from ssl_theory.views import gaussian_views

LOSSES: list[tuple[ContrastiveLoss, PairWeights]] = [
    (SimpleContrastive(), simple_weights),
    (SoftTriplet(0.5, 0.3), triplet_weights(0.5, 0.3)),
    (InfoNCE(0.4), infonce_weights(0.4)),
]
IDS = ["simple", "triplet", "infonce"]

widths = st.lists(st.integers(1, 4), min_size=2, max_size=5)
seeds = st.integers(0, 2**31)


@dataclass(frozen=True)
class World:
    """A network, a view set and one of the network's layers."""

    net: ReLUNetwork
    views: Tensor
    layer: int

    @property
    def weight(self) -> Tensor:
        return self.net.weights[self.layer - 1]


def make_world(
    sizes: list[int], objects: int, augmentations: int, seed: int, layer: int = 1, noise: float = 0.5
) -> World:
    g = torch.Generator().manual_seed(seed)
    net = ReLUNetwork.random(sizes, generator=g)
    centres = torch.randn(objects, sizes[0], generator=g, dtype=torch.float64)
    return World(net, gaussian_views(centres, augmentations, noise, generator=g), layer)


@st.composite
def worlds(draw: Any, max_objects: int = 4, max_views: int = 3) -> World:
    sizes = draw(widths)
    return make_world(
        sizes,
        draw(st.integers(1, max_objects)),
        draw(st.integers(1, max_views)),
        draw(seeds),
        draw(st.integers(1, len(sizes) - 1)),
    )


def trainable(net: ReLUNetwork) -> ReLUNetwork:
    """Return the same network with weights that autograd can differentiate."""
    return ReLUNetwork([w.clone().requires_grad_() for w in net.weights])


def lists(value: Tensor) -> Any:
    return value.tolist()
