"""Do hidden neurons learn the latents, and how well could they? (T11)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ssl_theory.hltm.model import LatentModel
from ssl_theory.hltm.network import Trace, TreeNetwork
from ssl_theory.validation import require_integer


class Ceilings(NamedTuple):
    """The largest correlation that any function of the leaves below a latent can have with it."""

    value: Float[Tensor, "*seeds nodes"]
    """√(Var E[z_μ | leaves below] / Var z_μ); 0 where z_μ does not vary."""
    error: Float[Tensor, "*seeds nodes"]
    """Standard error; 0 where the ceiling is exact."""


@torch.no_grad()
def best_correlations(
    net: TreeNetwork, trace: Trace, targets: Shaped[Tensor, "*kinds S nodes batch"]
) -> Float[Tensor, "*kinds S inner"]:
    """Return, for every inner node, the largest |Pearson correlation| of its neurons with its target.

    Args:
        net: The networks.
        trace: Their pass over a sample.
        targets: One number per node and draw: the latent's state, or the belief in it. Several kinds of
            targets may be stacked in front.

    Returns:
        In the order of `topology.inner`; a neuron or target that does not vary counts as 0.
    """
    kinds, columns = targets.shape[:-3], {}
    targets = targets.reshape(-1, *targets.shape[-3:])
    for index, level in enumerate(net.levels):
        values = torch.relu(trace.pre_activations[index]) if index else trace.output
        neurons, sizes = _centred(values.view(net.seeds, len(level.nodes), level.width, -1))
        wanted, spreads = _centred(targets[:, :, list(level.nodes)].to(values.dtype))
        products = neurons @ (wanted * spreads).permute(1, 2, 3, 0) * sizes  # (S, nodes, width, kinds)
        best = products.abs().amax(2).movedim(-1, 0)
        columns.update({node: best[..., place] for place, node in enumerate(level.nodes)})
    return torch.stack([columns[node] for node in net.topology.inner], -1).reshape(*kinds, net.seeds, -1)


def belief_ceilings(model: LatentModel, draws: int, *, generator: torch.Generator) -> Ceilings:
    """Estimate how well any function of the leaves below each node can follow its latent.

    The posterior mean m = E[2z−1 | leaves below] is exact, by messages; Var m is estimated from draws of the
    leaves about its exact mean.

    Args:
        model: A binary tree or an ensemble.
        draws: Number of configurations, at least 2.
        generator: Source of randomness.

    Returns:
        The ceilings and their standard errors, on the generator's device.

    Raises:
        TypeError: If `draws` is not an integer.
        ValueError: If it is below 2, or a node has not two states.
    """
    draws = require_integer("draws", draws, 2)
    model = model.to(generator.device)
    leaves = model.sample(draws, generator=generator)[..., list(model.leaves)]
    squares = model.belief_means(leaves).square()
    return _ceilings(model, squares.mean(-2), squares.std(-2) / draws**0.5)


def exact_ceilings(model: LatentModel) -> Ceilings:
    """Return the ceilings of a small tree by enumerating its leaves, with error 0.

    Raises:
        ValueError: If a node has not two states or the leaves have more than 2^22 configurations.
    """
    joint = model.likelihoods(model.enumerate_leaves()) * model.marginals().unsqueeze(-3)
    total = joint.sum(-1)
    mean = (joint[..., 1] - joint[..., 0]) / torch.where(total > 0.0, total, 1.0)
    # the root's total is the law of all leaves; impossible ones have weight 0
    square = torch.einsum("...n,...nv->...v", total[..., 0], mean.square())
    return _ceilings(model, square, torch.zeros_like(square))


def _ceilings(model: LatentModel, square: Tensor, error: Tensor) -> Ceilings:
    """Return ceilings from E[m²] and its error, with E[m] = ρ_0 ρ_{0μ} and Var z = (1 − E[m]²)/4."""
    mean = model.root_polarity.unsqueeze(-1) * model.path_polarities()
    spread = 1.0 - mean.square()
    varies = spread > 1e-12  # less is rounding
    share = (square - mean.square()) / torch.where(varies, spread, 1.0)
    value = torch.where(varies, share.clamp(0.0, 1.0).sqrt(), 0.0)
    slope = 2.0 * value * spread
    return Ceilings(value, torch.where(slope > 0.0, error / torch.where(slope > 0.0, slope, 1.0), 0.0))


def _centred(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return values of mean 0 along the last dimension, and 1 over their norm; 0 where they do not vary."""
    mean = values.mean(-1, keepdim=True)
    centred = values - mean
    norm = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    varies = norm > torch.finfo(values.dtype).eps * values.shape[-1] ** 0.5 * mean.abs()
    return centred, torch.where(varies, 1.0 / torch.where(varies, norm, 1.0), 0.0)
