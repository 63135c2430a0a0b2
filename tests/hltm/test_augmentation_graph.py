"""The law of positive pairs and its spectrum, against sums over all pairs of configurations."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.checks import relative_error
from ssl_theory.hltm import (
    CategoricalTree,
    LatentTree,
    TreeEnsemble,
    additive_functions,
    additive_limits,
    augmentation_graph,
    exact_ceilings,
    reference,
)
from tests.hltm.cases import categorical_trees, latent_trees, laws_of

TOL = 1e-12
inside = st.floats(-0.9, 0.9)


def subsets(tree: CategoricalTree) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, tree.nodes - 1), unique=True, max_size=3)


@given(st.data(), categorical_trees(max_nodes=5))
def test_the_law_of_pairs_is_that_of_all_pairs_of_configurations(
    data: st.DataObject, tree: CategoricalTree
) -> None:
    keep = data.draw(subsets(tree))
    graph = augmentation_graph(tree, keep)
    slow = reference.pair_law(tree.parents, laws_of(tree), keep)
    rows = [tuple(row) for row in graph.patterns.tolist()]
    expected = torch.tensor([[slow.get((x, y), 0.0) for y in rows] for x in rows], dtype=torch.float64)
    assert relative_error(graph.pair_law, expected) < TOL
    assert abs(sum(slow.values()) - 1.0) < TOL
    assert abs(float(graph.pair_law.sum()) - 1.0) < TOL
    law = expected.sum(0)
    assert relative_error(graph.law, law) < TOL
    assert relative_error(graph.ratio * torch.outer(law, law), expected) < TOL
    assert relative_error(graph.adjacency * torch.outer(law, law).sqrt(), expected) < TOL


@given(st.data(), categorical_trees(max_nodes=5))
def test_eigenpairs_rebuild_the_adjacency(data: st.DataObject, tree: CategoricalTree) -> None:
    graph = augmentation_graph(tree, data.draw(subsets(tree)))
    values, functions = graph.eigenpairs()
    assert len(values) == min(graph.joint.shape)
    assert bool((values[:-1] >= values[1:]).all())
    assert abs(float(values[0]) - 1.0) < TOL
    assert (
        relative_error(functions.mT @ (graph.law.unsqueeze(1) * functions), torch.eye(len(values)).double())
        < 1e-10
    )
    assert relative_error(functions @ (values.unsqueeze(1) * functions.mT), graph.ratio) < 1e-9
    means = graph.given_pattern(graph.given_kept(functions))  # E[E[φ | z_C] | x] = λ φ
    assert relative_error(means, values * functions) < 1e-9


@given(latent_trees(max_nodes=6, polarities=inside).filter(lambda tree: tree.nodes > 1))
def test_a_binary_root_has_one_eigenpair_its_belief(tree: LatentTree) -> None:
    graph = augmentation_graph(tree, [0])
    mean = tree.belief_means(graph.patterns)[:, 0] - tree.root_polarity
    expected = 1.0 + torch.outer(mean, mean) / (1.0 - tree.root_polarity**2)
    assert relative_error(graph.ratio, expected) < 1e-10
    assert abs(float(graph.eigenpairs().values[1] - exact_ceilings(tree).value[0] ** 2)) < TOL


@given(latent_trees(max_nodes=6, polarities=inside).filter(lambda tree: tree.nodes > 1))
def test_sums_over_children_reach_the_additive_limit(tree: LatentTree) -> None:
    graph = augmentation_graph(tree, [0])
    values = graph.eigenpairs(additive_functions(tree, graph)).values
    assert abs(float(values[0]) - 1.0) < TOL  # the constant is a sum
    assert abs(float(values[1] - additive_limits(tree)[0] ** 2)) < TOL


def test_a_class_of_all_functions_changes_nothing() -> None:
    tree = LatentTree([-1, 0, 0, 1, 1], [1.0, 0.8, -0.6, 0.7, 0.5], 0.3)
    graph = augmentation_graph(tree, [1, 2])
    everything = graph.eigenpairs(torch.eye(len(graph.patterns), dtype=torch.float64))
    assert relative_error(everything.values, graph.eigenpairs().values) < TOL
    spread = everything.functions @ (everything.values.unsqueeze(1) * everything.functions.mT)
    assert relative_error(spread, graph.ratio) < 1e-10


@pytest.mark.parametrize(("keep", "values"), [([], [1.0]), ([1, 2], [1.0, 1.0, 1.0, 1.0])])
def test_nothing_kept_and_everything_kept(keep: list[int], values: list[float]) -> None:
    graph = augmentation_graph(LatentTree([-1, 0, 0], [1.0, 0.8, 0.6]), keep)
    assert relative_error(graph.eigenpairs().values, torch.tensor(values).double()) < TOL


def test_what_cannot_occur_is_left_out() -> None:
    graph = augmentation_graph(LatentTree([-1, 0, 0], [1.0, 1.0, 1.0]), [0])
    assert graph.patterns.tolist() == [[0, 0], [1, 1]]
    assert augmentation_graph(LatentTree([-1, 0], [1.0, 0.5], 1.0), [0]).joint.shape == (2, 1)


def test_wrong_arguments_are_named() -> None:
    tree = LatentTree([-1, 0, 0], [1.0, 0.8, 0.6])
    with pytest.raises(ValueError, match=r"keep\[1\] must .*got 3"):
        augmentation_graph(tree, [0, 3])
    with pytest.raises(TypeError, match="keep"):
        augmentation_graph(tree, [0.5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"keep must name each node once, got \[1, 1\]"):
        augmentation_graph(tree, [1, 1])
    with pytest.raises(ValueError, match="model must be one tree, got an ensemble of 2"):
        augmentation_graph(TreeEnsemble([tree, tree]), [0])
    graph = augmentation_graph(tree, [0])
    with pytest.raises(ValueError, match=r"one row for each of the 4 patterns, got \(3, 1\)"):
        graph.eigenpairs(torch.ones(3, 1, dtype=torch.float64))
    with pytest.raises(ValueError, match="within must hold a function that is not 0"):
        graph.eigenpairs(torch.zeros(4, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="graph must have patterns of 1 leaves, got 2"):
        additive_functions(LatentTree([-1, 0], [1.0, 0.8]), graph)
    with pytest.raises(ValueError, match="model must have a root with children"):
        additive_functions(LatentTree([-1], [1.0]), graph)
