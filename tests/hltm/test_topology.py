from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from ssl_theory.hltm import Topology, reference
from ssl_theory.hltm.topology import regular_size, span
from tests.hltm.cases import parent_lists


@given(parent_lists(12))
def test_relations_equal_the_loops(parents: list[int]) -> None:
    tree = Topology(parents)
    nodes = range(len(parents))
    assert list(tree.leaves) == reference.leaves(parents)
    assert sorted(tree.leaves + tree.inner) == list(nodes)
    for v in nodes:
        assert list(tree.leaves_below(v)) == reference.leaves_below(parents, v)
        assert tree.children[v] == tuple(c for c in nodes if parents[c] == v)
        assert v in tree.levels[tree.depths[v]]
        assert (v in tree.inner) == any(v in level for level in tree.inner_levels)
        assert tree.path(0, v) == tuple(u for u in nodes if u and reference.descends(parents, v, u))
        for u in nodes:
            top = tree.common_ancestor(u, v)
            both = [w for w in nodes if all(reference.descends(parents, x, w) for x in (u, v))]
            assert top == max(both)


@given(st.integers(0, 4), st.integers(1, 3))
def test_regular_trees(depth: int, branching: int) -> None:
    tree = Topology.regular(depth, branching)
    assert len(tree.leaves) == branching**depth
    assert [len(level) for level in tree.levels] == [branching**k for k in range(depth + 1)]
    assert all(tree.depths[v] == depth for v in tree.leaves)
    assert all(isinstance(span(level), slice) for level in tree.levels)
    assert regular_size(depth, branching) == (len(tree), len(tree.inner) if depth else 0)
    assert all(each == branching for _, _, each in tree.generations)


@given(parent_lists())
@example([-1, 0, 0, 1, 2, 2])
@example([-1, 0, 0, 2, 1])
def test_generations_pair_children_with_parents(parents: list[int]) -> None:
    tree, nodes = Topology(parents), torch.arange(len(parents))
    seen = [0]
    for children, above, each in tree.generations:
        paired = nodes[above].repeat_interleave(each) if each else nodes[above]
        assert paired.tolist() == [parents[v] for v in nodes[children].tolist()]
        seen += nodes[children].tolist()
    assert sorted(seen) == nodes.tolist()


def test_span_is_a_slice_only_of_consecutive_nodes() -> None:
    assert span([3, 4, 5]) == slice(3, 6)
    assert span([3, 5]) == [3, 5]
    assert span([5, 4]) == [5, 4]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ([], r"parents must hold at least the root, got an empty sequence"),
        ([0], r"parents\[0\] must be −1"),
        ([-1, -1], r"one root, node 0, got a second one: parents\[1\] = −1"),
        ([-1, 5], r"parents\[1\] must be from -1 to 1, got 5"),
        ([-1, -2], r"parents\[1\] must be from -1 to 1, got -2"),
        ([-1, 1], r"no cycle.*parents\[1\] = 1"),
        ([-1, 2, 1], r"no cycle.*parents\[1\] = 2"),
        ([-1, 2, 0], r"a parent must stand first.*parents\[1\] = 2"),
    ],
)
def test_what_is_no_tree(parents: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Topology(parents)


@pytest.mark.bad_input
def test_parents_must_be_integers() -> None:
    with pytest.raises(TypeError, match=r"parents\[1\] must be an integer, got 0.5"):
        Topology([-1, 0.5])  # type: ignore[list-item]


@pytest.mark.bad_input
@pytest.mark.parametrize(("depth", "branching", "name"), [(-1, 2, "depth"), (2, 0, "branching")])
def test_regular_sizes(depth: int, branching: int, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Topology.regular(depth, branching)


@pytest.mark.bad_input
@pytest.mark.parametrize(("depth", "branching"), [(60, 2), (10**9, 1), (1, 10**9), (10**9, 3)])
def test_a_tree_too_large_to_build(depth: int, branching: int) -> None:
    with pytest.raises(ValueError, match="depth and branching must give at most 16777216 nodes"):
        Topology.regular(depth, branching)


@pytest.mark.bad_input
def test_an_unknown_node_is_named() -> None:
    with pytest.raises(ValueError, match="node must be from 0 to 2, got 3"):
        Topology([-1, 0, 0]).check_node("node", 3)
