"""How well could any neuron know its latent? The limits κ, α and ℓ (T7, T11)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.hltm.model import LatentModel
from ssl_theory.validation import require_generator, require_integer

__all__ = [
    "Ceilings",
    "additive_limits",
    "belief_ceilings",
    "best_sums",
    "exact_ceilings",
    "linear_limits",
    "state_ceilings",
]

_SPREAD = 1e-12  # a smaller variance of a sign is rounding


class Ceilings(NamedTuple):
    """The largest correlation that any function of the leaves below a latent can have with it."""

    value: Float[Tensor, "*seeds nodes"]
    """√(Var E[z_μ | leaves below] / Var z_μ); 0 where z_μ does not vary."""
    error: Float[Tensor, "*seeds nodes"]
    """Standard error; 0 where the ceiling is exact."""


def belief_ceilings(model: LatentModel, draws: int, *, generator: torch.Generator) -> Ceilings:
    """Estimate how well any function of the leaves below each node can follow its latent.

    The posterior mean m = E[2z−1 | leaves below] is exact, by messages, and so is its mean; E[m²] is
    estimated from draws of the leaves.

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
    model._require_two_states()
    value, error = state_ceilings(model, draws, generator=generator)
    return Ceilings(value[..., 1], error[..., 1])


def exact_ceilings(model: LatentModel) -> Ceilings:
    """Return the ceilings κ of a small tree by enumerating its leaves, with error 0.

    Raises:
        ValueError: If a node has not two states or the leaves have more than 2^22 configurations.

    Example:
        >>> from ssl_theory.hltm import LatentTree
        >>> exact_ceilings(LatentTree([-1, 0], [1.0, 0.8])).value  # one pixel: its polarity
        tensor([0.8000, 1.0000], dtype=torch.float64)
    """
    model._require_two_states()
    value, error = state_ceilings(model)
    return Ceilings(value[..., 1], error[..., 1])


def state_ceilings(
    model: LatentModel, draws: int | None = None, *, generator: torch.Generator | None = None
) -> Ceilings:
    """Return, for every state of every latent, how well its indicator can be followed.

    No function of the leaves below μ correlates with 1{z_μ = k} more than the belief P(z_μ = k | leaves
    below) does, and it does by κ, the sd of the belief over the sd of the indicator. Two states share one κ.

    Args:
        model: A tree of any numbers of states, or an ensemble.
        draws: Number of configurations of the leaves, at least 2, from which the standard deviation of the
            belief is estimated; None to enumerate all.
        generator: Source of the draws.

    Returns:
        The ceilings and their standard errors, shape (*seeds, nodes, m), on the generator's device if there
        is one; 0 for states that a node has not, or that are certain or impossible.

    Raises:
        TypeError: If `draws` is not an integer, or there is no generator to draw with.
        ValueError: If `draws` is below 2, or there are more than 2^22 configurations to enumerate.
    """
    if draws is None:
        variance = _exact_variance(model)
        return _ceilings(model.marginals(), variance, torch.zeros_like(variance))
    draws = require_integer("draws", draws, 2)
    generator = require_generator("generator", generator)
    model = model.to(generator.device)
    leaves = model.sample(draws, generator=generator)[..., list(model.leaves)]
    law, beliefs = model.marginals(), model.beliefs(leaves)
    doubt = beliefs * (1.0 - beliefs)  # Var b = P(1 − P) − E[b(1 − b)], and where b is sure nothing is left
    return _ceilings(law, law * (1.0 - law) - doubt.mean(-3), doubt.std(-3) / draws**0.5)


def linear_limits(model: LatentModel) -> Float[Tensor, "*seeds nodes"]:
    """Return ℓ, the best correlation of each latent with a linear function of the leaves below it.

    ℓ² / (1 − ℓ²) = Σ_ν r_ν² ℓ_ν² / (1 − r_ν² ℓ_ν²) over the children, with r_ν = corr(z_μ, z_ν); 1 at leaves.

    Args:
        model: A binary tree or an ensemble.

    Returns:
        float64; 0 for a latent that does not vary.

    Raises:
        ValueError: If a node has not two states.

    Example:
        >>> from ssl_theory.hltm import LatentTree
        >>> linear_limits(LatentTree([-1, 0, 0], [1.0, 0.6, 0.6]))
        tensor([0.7276, 1.0000, 1.0000], dtype=torch.float64)
    """
    values = _sums(model, torch.ones_like(model.polarities))
    for level in reversed(model.topology.inner_levels):  # the deepest are right, and then level by level
        values[..., list(level)] = _sums(model, values)[..., list(level)]
    return values


def additive_limits(
    model: LatentModel, ceilings: Float[Tensor, "*seeds nodes"] | None = None
) -> Float[Tensor, "*seeds nodes"]:
    """Return α, the best correlation of each latent with a sum of functions of its children's leaves.

    α² / (1 − α²) = Σ_ν r_ν² κ_ν² / (1 − r_ν² κ_ν²) over the children, with r_ν = corr(z_μ, z_ν); 1 at leaves.

    Args:
        model: A binary tree or an ensemble.
        ceilings: κ of every node, as `belief_ceilings` estimates it; None for the exact one, by enumeration.

    Returns:
        float64; 0 for a latent that does not vary.

    Raises:
        ValueError: If a node has not two states, the ceilings have not one entry a node, or there are more
            than 2^22 configurations to enumerate.
    """
    return _sums(model, _ceilings_of(model, ceilings))


def best_sums(
    model: LatentModel,
    beliefs: Float[Tensor, "*seeds draws nodes"],
    ceilings: Float[Tensor, "*seeds nodes"] | None = None,
) -> Float[Tensor, "*seeds draws nodes"]:
    """Return s_μ, the sum of functions of the children's leaves that follows z_μ best, up to a constant.

    s_μ = Σ_ν w_ν m_ν over the children, w_ν = ρ_μν (q_μ/q_ν) / (1 − r_ν² κ_ν²) with q = Var(2z − 1). It is
    the projection of z_μ on all such sums, times 1/(1 − α²); any other one correlates with z_μ by α_μ times
    its correlation with s_μ.

    Args:
        model: A binary tree or an ensemble.
        beliefs: m of every node, as `belief_means` gives it.
        ceilings: As for `additive_limits`.

    Returns:
        Of the beliefs' dtype; 0 at leaves. A child that is known for sure, |r_ν| κ_ν = 1, has a weight of
        10^12.

    Raises:
        ValueError: As for `additive_limits`, or if the beliefs have not one entry a node.
    """
    kappa = _ceilings_of(model, ceilings)
    if beliefs.shape[-1] != model.nodes or beliefs.shape[:-2] != kappa.shape[:-1]:
        raise ValueError(
            f"beliefs must have shape (…, draws, {model.nodes}) with the seeds in front, "
            f"got {tuple(beliefs.shape)}"
        )
    parents, ratio, signal = _edges(model, kappa)
    weights = model.polarities[..., 1:] * ratio / (1.0 - signal).clamp_min(_SPREAD)
    parts = weights.unsqueeze(-2).to(beliefs) * beliefs[..., 1:]
    return torch.zeros_like(beliefs).index_add(-1, parents, parts)


def _ceilings_of(model: LatentModel, ceilings: Tensor | None) -> Tensor:
    model._require_two_states()
    kappa = exact_ceilings(model).value if ceilings is None else ceilings
    if kappa.shape != model.polarities.shape:
        raise ValueError(
            f"ceilings must have shape {tuple(model.polarities.shape)}, got {tuple(kappa.shape)}"
        )
    return kappa


def _edges(model: LatentModel, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the upper ends of all edges, q_μ/q_ν and r_ν² c_ν² with c from `known`."""
    parents = torch.tensor(model.parents[1:], dtype=torch.int64, device=model.device)
    spread = model.marginals()[..., :2].prod(-1)
    ratio = torch.where(spread[..., 1:] > _SPREAD / 4, spread[..., parents] / spread[..., 1:], 0.0)
    signal = (model.polarities[..., 1:].square() * ratio * known[..., 1:].square()).clamp(0.0, 1.0)
    return parents, ratio, signal


def _sums(model: LatentModel, known: Tensor) -> Tensor:
    """Return √(S/(1+S)) of inner nodes, S = Σ_ν r_ν²c_ν²/(1 − r_ν²c_ν²) with c from `known`; 1 at leaves."""
    parents, _, signal = _edges(model, known)
    total = torch.zeros_like(known).index_add(-1, parents, signal / (1.0 - signal))
    result = (1.0 / (1.0 + 1.0 / total)).sqrt()  # 1 where the sum is infinite
    result[..., list(model.leaves)] = 1.0
    return result


def _exact_variance(model: LatentModel) -> Tensor:
    """Return Var P(z = k | leaves below), (*seeds, nodes, m)."""
    law = model.marginals().unsqueeze(-3)
    joint = model.likelihoods(model.enumerate_leaves()) * law
    total = joint.sum(-1)
    beliefs = joint / torch.where(total > 0.0, total, 1.0).unsqueeze(-1)
    # the root's total is the law of all leaves; impossible ones have weight 0
    return torch.einsum("...n,...nvk->...vk", total[..., 0], (beliefs - law).square())


def _ceilings(law: Tensor, variance: Tensor, error: Tensor) -> Ceilings:
    """Return ceilings from the variance of the belief and its error, with Var 1{z = k} = P(1 − P)."""
    spread = law * (1.0 - law)
    varies = spread > _SPREAD / 4
    share = variance / torch.where(varies, spread, 1.0)
    value = torch.where(varies, share.clamp(0.0, 1.0).sqrt(), 0.0)
    slope = 2.0 * value * spread
    return Ceilings(value, torch.where(slope > 0.0, error / torch.where(slope > 0.0, slope, 1.0), 0.0))
