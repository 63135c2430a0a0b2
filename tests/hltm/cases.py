"""Random latent trees of any shape for property tests, and their form for the slow reference."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.hltm import CategoricalTree, LatentTree, TreeNetwork, reference

polarity_values = st.one_of(
    st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1.0, 1.0, allow_nan=False, allow_subnormal=False)
)
seeds = st.integers(0, 2**31)


@st.composite
def parent_lists(draw: Any, max_nodes: int = 7) -> list[int]:
    nodes = draw(st.integers(1, max_nodes))
    return [-1, *(draw(st.integers(0, v - 1)) for v in range(1, nodes))]


@st.composite
def latent_trees(draw: Any, max_nodes: int = 7, polarities: Any = polarity_values) -> LatentTree:
    parents = draw(parent_lists(max_nodes))
    return LatentTree(parents, [draw(polarities) for _ in parents], draw(polarities))


@st.composite
def categorical_trees(draw: Any, max_nodes: int = 6) -> CategoricalTree:
    """Return a tree whose nodes have one to three states, some transitions impossible."""
    parents = draw(parent_lists(max_nodes))
    counts = [draw(st.integers(1, 3)) for _ in parents]
    g = torch.Generator().manual_seed(draw(seeds))
    shapes = [(1, counts[0]), *((counts[parents[v]], counts[v]) for v in range(1, len(parents)))]
    laws = [random_law(rows, columns, g) for rows, columns in shapes]
    return CategoricalTree(parents, [None, *laws[1:]], laws[0][0])


def random_law(rows: int, columns: int, g: torch.Generator) -> Tensor:
    law = torch.rand(rows, columns, generator=g, dtype=torch.float64)
    keep = torch.rand(rows, columns, generator=g) < 0.8
    keep[torch.arange(rows), torch.randint(columns, (rows,), generator=g)] = True
    law = law * keep + 1e-3 * keep
    return law / law.sum(-1, keepdim=True)


def laws_of(tree: CategoricalTree) -> list[reference.Law]:
    """Return the laws of a tree as lists, read off its definition."""
    if isinstance(tree, LatentTree):
        return reference.symmetric_laws(tree.polarities.tolist(), float(tree.root_polarity))
    counts = tree.state_counts
    laws = [[tree.root_law[: counts[0]].tolist()]]
    for node, parent in enumerate(tree.parents[1:], start=1):
        laws.append(tree.transitions[node, : counts[parent], : counts[node]].tolist())
    return laws


def table_of(tree: CategoricalTree) -> dict[reference.Configuration, float]:
    return reference.configurations(tree.parents, laws_of(tree))


@st.composite
def networks(draw: Any, max_nodes: int = 7, seeds_max: int = 2) -> tuple[LatentTree, TreeNetwork]:
    """Return a tree with at least two nodes and networks of its shape, node sets of any sizes."""
    tree = draw(latent_trees(max_nodes).filter(lambda tree: tree.nodes > 1))
    g = torch.Generator().manual_seed(draw(seeds))
    widths = {node: draw(st.integers(1, 3)) for node in tree.topology.inner}
    net = TreeNetwork.random(
        tree,
        widths,
        seeds=draw(st.integers(1, seeds_max)),
        init=draw(st.sampled_from(["uniform", "standard"])),
        bias=draw(st.booleans()),
        normalise=draw(st.booleans()),
        generator=g,
    )
    return tree, net


def random_pixels(net: TreeNetwork, batch: int, seed: int = 0) -> Tensor:
    """Return Gaussian pixels, so that no pre-activation is exactly 0."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(net.seeds, len(net.topology.leaves), batch, generator=g, dtype=torch.float64)
