"""Evidence that no float64 holds: beliefs of many leaves and of certain ones."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.hltm import CategoricalTree, LatentTree


def star(rho: list[float], root: float = 0.0) -> LatentTree:
    return LatentTree([-1] + [0] * len(rho), [1.0, *rho], root)


def root_belief(tree: CategoricalTree, leaves: list[int]) -> list[float]:
    belief: list[float] = tree.beliefs(torch.tensor([leaves]))[0, 0].tolist()
    return belief


@pytest.mark.parametrize(("rho", "ones", "zeros"), [(0.9, 250, 250), (0.99, 150, 150), (0.9, 1000, 999)])
def test_many_leaves_vote_by_their_log_odds(rho: float, ones: int, zeros: int) -> None:
    tree, count = star([rho] * (ones + zeros)), ones - zeros
    odds = count * math.log((1 + rho) / (1 - rho))
    expected = [1 / (1 + math.exp(odds)), 1 / (1 + math.exp(-odds))]
    assert root_belief(tree, [1] * ones + [0] * zeros) == pytest.approx(expected, rel=1e-10)
    assert root_belief(tree, [0] * zeros + [1] * ones) == pytest.approx(expected, rel=1e-10)


@given(st.integers(0, 2**31))
def test_the_order_of_the_children_does_not_matter(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    rho = (torch.rand(400, generator=g, dtype=torch.float64) * 1.98 - 0.99).tolist()
    leaves = torch.randint(0, 2, (400,), generator=g).tolist()
    order = torch.randperm(400, generator=g).tolist()
    one = root_belief(star(rho), leaves)
    other = root_belief(star([rho[i] for i in order]), [leaves[i] for i in order])
    assert one == pytest.approx(other, rel=1e-9, abs=1e-300)


def test_what_is_unlikely_is_not_impossible() -> None:
    # 300 leaves say 1, a certain one says 0
    assert root_belief(star([0.9] * 300 + [1.0]), [1] * 300 + [0]) == [1.0, 0.0]
    # 1000 leaves of node 1 say 1; node 1 and the pixel 2 both copy the root, and the pixel says 0
    tree = LatentTree([-1, 0, 0] + [1] * 1000, [1.0, 1.0, 1.0] + [0.9] * 1000)
    assert root_belief(tree, [0] + [1] * 1000) == [1.0, 0.0]
    # the root is known to be 0
    assert root_belief(star([0.9] * 1000, -1.0), [1] * 1000) == [1.0, 0.0]
    assert tree.likelihoods(torch.tensor([[0] + [1] * 1000]))[0, 0].tolist() == [0.0, 0.0]  # below 1e-308


def test_more_states_and_several_draws_at_once() -> None:
    law = torch.tensor([[0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.01, 0.01, 0.98]], dtype=torch.float64)
    tree = CategoricalTree([-1, 0] + [1] * 600, [None, law] + [law] * 600, torch.ones(3).double() / 3)
    leaves = torch.tensor([[0] * 300 + [1] * 300, [2] * 600, [0, 1] * 300])
    beliefs = tree.beliefs(leaves)
    assert beliefs[0, 1].tolist() == pytest.approx([0.5, 0.5, 0.0])
    assert torch.allclose(beliefs[0, :2], beliefs[2, :2])
    assert beliefs[1, 0].tolist() == pytest.approx([0.01, 0.01, 0.98])


@pytest.mark.bad_input
def test_what_is_impossible_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves must have positive probability under the tree"):
        root_belief(star([1.0, 1.0]), [0, 1])
    with pytest.raises(ValueError, match="leaves must have positive probability under the tree"):
        root_belief(star([0.9] * 400 + [1.0, 1.0]), [1] * 400 + [0, 1])
