"""Exact expectations over a small tree: every configuration of the leaves with its law (T8, T9)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.hltm.model import LatentModel
from ssl_theory.losses import ContrastiveLoss, SimpleContrastive

__all__ = [
    "ExactTree",
]


class ExactTree:
    """All configurations of the leaves of binary trees, as the pixels of S networks.

    Args:
        model: A binary tree, shared by all networks, or an ensemble of S of them.
        seeds: S; None for the number of trees.
        dtype: Of pixels and expectations.

    Raises:
        ValueError: If a node has not two states, there are more than 2^22 configurations, or the ensemble
            has not S trees.
    """

    def __init__(
        self, model: LatentModel, seeds: int | None = None, dtype: torch.dtype = torch.float64
    ) -> None:
        lead = model.polarities.shape[:-1]
        seeds = seeds or (lead[0] if lead else 1)
        if lead and lead[0] != seeds:
            raise ValueError(f"seeds must be the number of trees, {lead[0]}, got {seeds}")
        self.model, self.seeds = model, seeds
        states = model.enumerate_leaves()
        self.pixels = states.mT.to(dtype).expand(seeds, -1, -1)
        """The states of the leaves as numbers, shape (S, leaves, configurations)."""
        likelihoods = model.likelihoods(states).expand(seeds, -1, -1, -1)
        self._likelihoods = likelihoods.movedim(1, -1).to(dtype)  # (S, nodes, 2, configurations)
        self.root_law = model.root_law.expand(seeds, -1).to(dtype)
        """P(z_0 = k), shape (S, 2)."""
        self.path_polarities = model.path_polarities().expand(seeds, -1).to(dtype)
        """ρ_{0,ν}, shape (S, nodes)."""
        self.polarities = model.polarities.expand(seeds, -1).to(dtype)
        """ρ of the edge above each node, shape (S, nodes)."""
        self.root_polarity = model.root_polarity.expand(seeds).to(dtype)
        """ρ_0, shape (S,)."""

    @property
    def law(self) -> Float[Tensor, "S states configurations"]:
        """P(leaves | z_0 = k)."""
        return self._likelihoods[:, 0]

    @property
    def contrast(self) -> Float[Tensor, "S configurations"]:
        """P(leaves | z_0=1) − P(leaves | z_0=0), whose sums are differences of conditional means."""
        return self.law[:, 1] - self.law[:, 0]

    def means(self, values: Float[Tensor, "S k configurations"], node: int) -> Float[Tensor, "S states k"]:
        """Return E[g | z_node = i] for g that depends on the leaves below the node only.

        Args:
            values: g for every configuration of the leaves.
            node: Any node.

        Returns:
            Shape (S, 2, k).

        Raises:
            TypeError: If the node is not an integer.
            ValueError: If there is no such node.
        """
        node = self.model.topology.check_node("node", node)
        others = len(self.model.leaves) - len(self.model.topology.leaves_below(node))
        # the leaves elsewhere do not matter to g; a uniform law sums them out
        return torch.einsum("sib,skb->sik", self._likelihoods[:, node], values) / 2.0**others

    def gap(self, values: Float[Tensor, "S k configurations"], node: int) -> Float[Tensor, "S k"]:
        """Return E[g | z_node=1] − E[g | z_node=0]; arguments and errors as in `means`."""
        means = self.means(values, node)
        return means[:, 1] - means[:, 0]

    def between_covariance(self, values: Float[Tensor, "S k configurations"]) -> Float[Tensor, "S k k"]:
        """Return V_{z_0}[E[g | z_0]] for any function g of the leaves."""
        means = torch.einsum("sib,skb->sik", self.law, values)
        centred = means - torch.einsum("si,sik->sk", self.root_law, means).unsqueeze(1)
        return torch.einsum("si,sik,sil->skl", self.root_law, centred, centred)

    def expected_loss(
        self, outputs: Float[Tensor, "S n_L configurations"], loss: ContrastiveLoss
    ) -> Float[Tensor, " S"]:
        """Return E[L(r(x1, x+), r(x1, x-))] over roots and leaves, differentiable in the outputs.

        The simple loss needs all pairs of configurations, any other all triples.

        Args:
            outputs: f_L for every configuration of the leaves.
            loss: The loss, with one negative.

        Returns:
            One expectation per seed.
        """
        marginal = torch.einsum("si,sib->sb", self.root_law, self.law)
        joint = torch.einsum("si,sib,sic->sbc", self.root_law, self.law, self.law)
        seeds = zip(outputs, marginal, joint, strict=True)
        return torch.stack([torch.stack(list(_shares(f, p, q, loss))).sum() for f, p, q in seeds])


def _shares(outputs: Tensor, marginal: Tensor, joint: Tensor, loss: ContrastiveLoss) -> Iterator[Tensor]:
    """Yield each anchor's share: joint[b, c] is the law of (x1, x+), marginal that of x- by itself."""
    points = outputs.mT
    for anchor, positives in zip(points, joint, strict=True):
        distances = 0.5 * (points - anchor).square().sum(-1)
        if isinstance(loss, SimpleContrastive):
            yield positives @ distances - positives.sum() * (marginal @ distances)
            continue
        count = len(points)
        r_pos, r_neg = distances.repeat_interleave(count), distances.repeat(count)
        yield positives @ loss(r_pos, r_neg.unsqueeze(1)).view(count, count) @ marginal
