"""What positive pairs know: the joint law of two views that keep some latents, and its spectrum (T14).

An augmentation keeps the latents C of an object and draws everything else anew, so that two views x and x_+
are independent given z_C. Divided by √(p(x) p(x_+)), their joint law is the normalised adjacency of the
augmentation graph, G = B Bᵀ with B = [P(x, z_C) / √(p(x) P(z_C))]: its eigenvalues are squared canonical
correlations of x with z_C.

Sources: HaoChen, Wei, Gaidon and Ma, 2021, for the graph; Lancaster, 1958, for the expansion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_theory.hltm.model import LatentModel

__all__ = ["AugmentationGraph", "Eigenfunctions", "additive_functions", "augmentation_graph"]

_RANK = 1e-12  # a direction shorter than this, relative to the longest, is rounding


class Eigenfunctions(NamedTuple):
    """Eigenvalues, largest first, and eigenfunctions, orthonormal in L²(p)."""

    values: Float[Tensor, " k"]
    """λ_0 ≥ λ_1 ≥ …, between 0 and 1."""
    functions: Float[Tensor, "patterns k"]
    """φ_k(x), E φ_j φ_k = 1{j = k}."""


@dataclass(frozen=True)
class AugmentationGraph:
    """Views x and what they keep, a state of z_C, by their joint law; made by `augmentation_graph`.

    Any joint law of views and kept states will do, of a tree or not, as long as all entries of `joint` are
    non-negative, sum to 1, and no row or column is 0.

    Args:
        patterns: The values of x that occur, one a row.
        joint: P(x, z_C = a), float64.
    """

    patterns: Int[Tensor, "patterns leaves"]
    joint: Float[Tensor, "patterns states"]

    @property
    def law(self) -> Float[Tensor, " patterns"]:
        """p(x)."""
        return self.joint.sum(1)

    @property
    def kept_law(self) -> Float[Tensor, " states"]:
        """P(z_C = a)."""
        return self.joint.sum(0)

    @property
    def pair_law(self) -> Float[Tensor, "patterns patterns"]:
        """p(x, x_+) = Σ_a P(x, a) P(x_+, a) / P(a)."""
        return (self.joint / self.kept_law) @ self.joint.mT

    @property
    def ratio(self) -> Float[Tensor, "patterns patterns"]:
        """p(x, x_+) / (p(x) p(x_+)), the density ratio of positive pairs."""
        return self.pair_law / torch.outer(self.law, self.law)

    @property
    def adjacency(self) -> Float[Tensor, "patterns patterns"]:
        """G = p(x, x_+) / √(p(x) p(x_+)), symmetric, positive semidefinite, of norm 1."""
        return self._factor @ self._factor.mT

    @property
    def _factor(self) -> Tensor:
        return self.joint / torch.outer(self.law, self.kept_law).sqrt()

    def eigenpairs(self, within: Float[Tensor, "patterns k"] | None = None) -> Eigenfunctions:
        """Return what a class of functions can see of the pairs: all eigenpairs of G, or of its compression.

        Args:
            within: Functions of x, one a column, whose span is the class; None for all functions.

        Returns:
            min(dimension of the class, number of kept states) eigenpairs, the largest first, zeros included.
            The constant belongs to the eigenvalue 1 if the class holds it.

        Raises:
            ValueError: If `within` has not one row for each pattern, or no function in it differs from 0.
        """
        root = self.law.sqrt().unsqueeze(1)
        if within is None:
            vectors, singular, _ = torch.linalg.svd(self._factor, full_matrices=False)
            return Eigenfunctions(singular.square(), vectors / root)
        basis = _orthonormal(root, within)
        turned, singular, _ = torch.linalg.svd(basis.mT @ self._factor, full_matrices=False)
        return Eigenfunctions(singular.square(), basis @ turned / root)

    def given_kept(self, functions: Float[Tensor, "patterns k"]) -> Float[Tensor, "states k"]:
        """Return E[g(x) | z_C = a]."""
        return self.joint.mT @ functions / self.kept_law.unsqueeze(1)

    def given_pattern(self, functions: Float[Tensor, "states k"]) -> Float[Tensor, "patterns k"]:
        """Return E[h(z_C) | x], for the indicator of a state its belief."""
        return self.joint @ functions / self.law.unsqueeze(1)


def augmentation_graph(model: LatentModel, keep: Sequence[int]) -> AugmentationGraph:
    """Enumerate the views of a tree under the augmentation that keeps some nodes and redraws all others.

    Args:
        model: One tree, of any numbers of states.
        keep: C, the kept nodes, each once; none makes views of one object independent, all leaves make them
            equal.

    Returns:
        The patterns of the leaves and the states of z_C that have positive probability, with their joint law.

    Raises:
        TypeError: If a node is not an integer.
        ValueError: If there is no such node, one is kept twice, the model is an ensemble, or the tree has
            more than 2^22 configurations.

    Example:
        >>> from ssl_theory.hltm import LatentTree
        >>> graph = augmentation_graph(LatentTree([-1, 0], [1.0, 0.8]), keep=[0])
        >>> graph.eigenpairs().values  # one pixel: 1 and its squared polarity
        tensor([1.0000, 0.6400], dtype=torch.float64)
    """
    nodes = [model.topology.check_node(f"keep[{i}]", node) for i, node in enumerate(keep)]
    if len(set(nodes)) < len(nodes):
        raise ValueError(f"keep must name each node once, got {nodes}")
    if model.root_law.ndim > 1:
        raise ValueError(f"model must be one tree, got an ensemble of {model.root_law.shape[0]}")
    states, probabilities = model.enumerate()
    counts = model.state_counts
    rows, columns = (_codes(states, counts, chosen) for chosen in (model.leaves, nodes))
    shape = [prod(counts[v] for v in chosen) for chosen in (model.leaves, nodes)]
    table = torch.zeros(shape[0] * shape[1], dtype=torch.float64, device=model.device)
    table = table.index_add(0, rows * shape[1] + columns, probabilities).view(*shape)
    occurs, kept = table.sum(1) > 0.0, table.sum(0) > 0.0
    return AugmentationGraph(model.enumerate_leaves()[occurs], table[occurs][:, kept])


def additive_functions(model: LatentModel, graph: AugmentationGraph) -> Float[Tensor, "patterns k"]:
    """Return functions that span all sums, over the root's children, of functions of the leaves below one.

    A network shaped like the tree has only such outputs, for its top is linear.

    Args:
        model: The tree.
        graph: One of its augmentation graphs.

    Returns:
        Indicators, float64: one for each child and each pattern below it.

    Raises:
        ValueError: If the patterns are not of the tree's leaves, or the root is a leaf.
    """
    topology = model.topology
    if len(topology) == 1:
        raise ValueError("model must have a root with children, got a single node")
    if graph.patterns.shape[1] != len(topology.leaves):
        raise ValueError(
            f"graph must have patterns of {len(topology.leaves)} leaves, got {graph.patterns.shape[1]}"
        )
    counts = [model.state_counts[leaf] for leaf in topology.leaves]
    blocks = []
    for child in topology.children[0]:
        places = [topology.leaves.index(leaf) for leaf in topology.leaves_below(child)]
        seen = prod(counts[place] for place in places)
        blocks.append(torch.nn.functional.one_hot(_codes(graph.patterns, counts, places), seen))
    return torch.cat(blocks, 1).double()


def _codes(states: Tensor, counts: Sequence[int], nodes: Sequence[int]) -> Tensor:
    """Return which configuration of `nodes` each row holds, the last node changing fastest."""
    code = torch.zeros(len(states), dtype=torch.int64, device=states.device)
    for node in nodes:
        code = code * counts[node] + states[:, node]
    return code


def _orthonormal(root: Tensor, functions: Tensor) -> Tensor:
    """Return an orthonormal basis of the span of √p g over the columns g."""
    if functions.ndim != 2 or len(functions) != len(root):
        raise ValueError(
            f"within must have one row for each of the {len(root)} patterns, got {tuple(functions.shape)}"
        )
    vectors, sizes, _ = torch.linalg.svd(root * functions, full_matrices=False)
    span: Tensor = vectors[:, sizes > _RANK * sizes.max()] if len(sizes) else vectors
    if span.shape[1] == 0:
        raise ValueError("within must hold a function that is not 0, got none")
    return span
