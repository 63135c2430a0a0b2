"""Do hidden neurons learn the latents? (T11)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ssl_theory.hltm.network import Trace, TreeNetwork

__all__ = ["best_correlations"]


@torch.no_grad()
def best_correlations(
    net: TreeNetwork,
    trace: Trace,
    targets: Shaped[Tensor, "*kinds S nodes batch"],
    *,
    pre_activations: bool = False,
) -> Float[Tensor, "*kinds S inner"]:
    """Return, for every inner node, the largest |Pearson correlation| of its neurons with its target.

    Args:
        net: The networks.
        trace: Their pass over a sample.
        targets: One number per node and draw: the latent's state, or the belief in it. Several kinds of
            targets may be stacked in front.
        pre_activations: Take f̃_μ in the place of f_μ, at the root before it is normalised.

    Returns:
        In the order of `topology.inner`; a neuron or target that does not vary counts as 0.
    """
    kinds, columns = targets.shape[:-3], {}
    targets = targets.reshape(-1, *targets.shape[-3:])
    for index, level in enumerate(net.levels):
        values = trace.pre_activations[index]
        if not pre_activations:
            values = torch.relu(values) if index else trace.output
        neurons, sizes = _centred(values.view(net.seeds, len(level.nodes), level.width, -1))
        wanted, spreads = _centred(targets[:, :, list(level.nodes)].to(values.dtype))
        products = neurons @ (wanted * spreads).permute(1, 2, 3, 0) * sizes  # (S, nodes, width, kinds)
        best = products.abs().amax(2).movedim(-1, 0)
        columns.update({node: best[..., place] for place, node in enumerate(level.nodes)})
    return torch.stack([columns[node] for node in net.topology.inner], -1).reshape(*kinds, net.seeds, -1)


def _centred(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return values of mean 0 along the last dimension, and 1 over their norm; 0 where they do not vary."""
    mean = values.mean(-1, keepdim=True)
    centred = values - mean
    norm = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    varies = norm > torch.finfo(values.dtype).eps * values.shape[-1] ** 0.5 * mean.abs()
    return centred, torch.where(varies, 1.0 / torch.where(varies, norm, 1.0), 0.0)
