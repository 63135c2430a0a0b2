"""The limits of what a neuron can know, against sums over every configuration and least squares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.checks import relative_error
from ssl_theory.hltm import CategoricalTree, LatentTree, TreeEnsemble, reference
from ssl_theory.hltm.limits import (
    additive_limits,
    belief_ceilings,
    best_sums,
    exact_ceilings,
    linear_limits,
    state_ceilings,
)
from tests.hltm.cases import categorical_trees, latent_trees, random_law, seeds, table_of

TOL = 1e-12
moderate = st.floats(0.2, 0.9).flatmap(lambda size: st.sampled_from([size, -size]))


@given(latent_trees())
def test_exact_ceilings_are_the_best_correlation_of_the_posterior_mean(tree: LatentTree) -> None:
    table = table_of(tree)
    ceilings = exact_ceilings(tree).value
    for node in range(tree.nodes):
        law: dict[tuple[int, ...], list[float]] = {}
        for states, p in table.items():
            seen = tuple(states[v] for v in reference.leaves_below(tree.parents, node))
            law.setdefault(seen, [0.0, 0.0])[states[node]] += p
        mean = sum(one for _, one in law.values())
        spread = mean * (1.0 - mean)
        square = sum(one**2 / (zero + one) for zero, one in law.values() if zero + one > 0.0)
        if 0.0 < spread < 1e-6:
            continue  # too close to a constant for the quotient
        expected = math.sqrt(max(0.0, square - mean**2) / spread) if spread else 0.0
        assert abs(float(ceilings[node]) - expected) < 1e-7  # a root magnifies rounding near 0


@given(latent_trees(), seeds)
def test_estimated_ceilings_lie_within_their_error(tree: LatentTree, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    estimate, exact = belief_ceilings(tree, 2000, generator=g), exact_ceilings(tree)
    clear = exact.value > 0.3  # near 0 the estimate is one-sided
    deviation = (estimate.value - exact.value).abs() / (estimate.error + 1e-3)
    assert not clear.any() or float(deviation[clear].max()) < 6.0


@pytest.mark.parametrize("rho", [-1.0, 0.0, 1.0])
def test_limits(rho: float) -> None:
    tree = LatentTree([-1, 0, 0, 1, 1], [1.0, rho, rho, rho, rho])
    assert exact_ceilings(tree).value.tolist() == [abs(rho), abs(rho), 1.0, 1.0, 1.0]


@given(st.floats(0.05, 0.95))
def test_one_leaf_gives_the_polarity(rho: float) -> None:
    assert abs(float(exact_ceilings(LatentTree([-1, 0], [1.0, rho])).value[0]) - rho) < TOL


@given(categorical_trees())
def test_ceilings_of_states_are_the_best_correlation_with_their_indicator(tree: CategoricalTree) -> None:
    table, found = table_of(tree), state_ceilings(tree)
    assert found.value.shape == (tree.nodes, max(tree.state_counts))
    assert not bool(found.error.any())
    for node in range(tree.nodes):
        for k in range(max(tree.state_counts)):
            law: dict[tuple[int, ...], list[float]] = {}
            for states, p in table.items():
                seen = tuple(states[v] for v in reference.leaves_below(tree.parents, node))
                law.setdefault(seen, [0.0, 0.0])[states[node] == k] += p
            mean = sum(inside for _, inside in law.values())
            if mean * (1.0 - mean) < 1e-6:
                continue
            covariance = sum(
                inside**2 / (outside + inside) for outside, inside in law.values() if outside + inside > 0.0
            )
            expected = math.sqrt(max(0.0, covariance - mean**2) / (mean * (1.0 - mean)))
            assert abs(float(found.value[node, k]) - expected) < 1e-7


@given(st.integers(3, 5), st.floats(0.0, 0.9))
def test_a_copy_with_errors_has_a_known_ceiling(states: int, keep: float) -> None:
    """A pixel that is the latent with probability `keep` and anything else else: κ = keep."""
    law = keep * torch.eye(states, dtype=torch.float64) + (1 - keep) / states
    tree = CategoricalTree([-1, 0], [None, law], torch.full((states,), 1 / states, dtype=torch.float64))
    found = state_ceilings(tree).value
    assert relative_error(found[0], torch.full((states,), keep, dtype=torch.float64)) < 1e-7
    assert relative_error(found[1], torch.ones(states, dtype=torch.float64)) < 1e-7


def test_two_states_share_the_ceiling_of_their_latent(generator: torch.Generator) -> None:
    forest = TreeEnsemble.regular(2, 2, polarity=(0.3, 0.9), root_polarity=0.3, generator=generator)
    states, latent = state_ceilings(forest).value, exact_ceilings(forest).value
    assert relative_error(states, latent.unsqueeze(-1).expand_as(states)) < TOL


def test_estimated_ceilings_of_states(generator: torch.Generator) -> None:
    tree = CategoricalTree.regular(2, states=3, generator=generator)
    estimate, exact = state_ceilings(tree, 20_000, generator=generator), state_ceilings(tree)
    inner = list(tree.topology.inner)
    deviation = (estimate.value - exact.value).abs()[inner] / estimate.error[inner]
    assert float(deviation.max()) < 6.0


def fitted(tree: CategoricalTree, node: int, features: Callable[[Tensor], Tensor]) -> float:
    """Return the correlation of z_node with its best fit by features of all configurations."""
    states, p = tree.enumerate()
    X, z = features(states).double(), states[:, node].double()
    X, z = X - p @ X, z - p @ z
    if float(p @ z**2) < 1e-9:
        return 0.0
    weights = p.sqrt().unsqueeze(-1)
    solution = torch.linalg.lstsq(weights * X, weights.squeeze(-1) * z, driver="gelsd").solution
    fit = X @ solution
    return math.sqrt(max(0.0, float(p @ (fit * z)) / float(p @ z**2)))


def one_hot(states: Tensor, nodes: Sequence[int]) -> Tensor:
    """Return an indicator of every configuration of some binary nodes."""
    code = sum(states[:, v] * 2**i for i, v in enumerate(nodes))
    assert isinstance(code, Tensor)
    return torch.nn.functional.one_hot(code)


@st.composite
def binary_trees(draw: st.DrawFn) -> CategoricalTree:
    """Return a tree of two states, symmetric or not."""
    tree = draw(latent_trees(6, moderate))
    if draw(st.booleans()):
        return tree
    g = torch.Generator().manual_seed(draw(seeds))
    laws = [0.1 + 0.8 * random_law(2, 2, g) for _ in tree.parents[1:]]
    laws = [law / law.sum(-1, keepdim=True) for law in laws]
    return CategoricalTree(tree.parents, [None, *laws], tree.root_law)


@given(binary_trees())
def test_limits_are_those_of_the_best_fit(tree: CategoricalTree) -> None:
    linear, additive, kappa = linear_limits(tree), additive_limits(tree), exact_ceilings(tree).value
    assert bool((linear <= additive + TOL).all())
    assert bool((additive <= kappa + TOL).all())
    for node in tree.topology.inner:
        below = list(tree.topology.leaves_below(node))
        assert abs(float(linear[node]) - fitted(tree, node, lambda x, b=below: x[:, b])) < 1e-7
        groups = [list(tree.topology.leaves_below(child)) for child in tree.topology.children[node]]

        def indicators(states: Tensor, groups: list[list[int]] = groups) -> Tensor:
            return torch.cat([one_hot(states, group) for group in groups], 1)

        assert abs(float(additive[node]) - fitted(tree, node, indicators)) < 1e-7


@given(binary_trees(), seeds)
def test_any_sum_follows_its_latent_as_far_as_the_best_sum(tree: CategoricalTree, seed: int) -> None:
    """corr(g, z) = α corr(g, s) for all sums g over the children, by enumeration."""
    g = torch.Generator().manual_seed(seed)
    pixels = tree.enumerate_leaves()
    joint = tree.likelihoods(pixels)[:, 0] * tree.root_law[:2]  # P(pixels, z_0)
    best, alpha = best_sums(tree, tree.belief_means(pixels))[:, 0], additive_limits(tree)[0]
    if alpha < 1e-3 or alpha > 1 - 1e-9 or float(tree.root_law.min()) < 1e-3:
        return
    law, signs = joint.sum(1), torch.tensor([-1.0, 1.0], dtype=torch.float64)

    def moments(f: Tensor) -> tuple[Tensor, Tensor]:
        f = f - law @ f
        return f / (law @ f.square()).sqrt(), (f @ (joint @ (signs - signs @ joint.sum(0))))

    spread = 4 * tree.root_law[:2].prod()
    s, _ = moments(best)
    assert relative_error(moments(s)[1] / spread.sqrt(), alpha) < 1e-7
    total = torch.zeros(len(pixels), dtype=torch.float64)
    for child in tree.topology.children[0]:
        places = [tree.leaves.index(leaf) for leaf in tree.topology.leaves_below(child)]
        codes = (pixels[:, places] * 2 ** torch.arange(len(places))).sum(1).long()
        total += torch.randn(2 ** len(places), generator=g, dtype=torch.float64)[codes]
    unit, covariance = moments(total)
    assert abs(moments(unit)[1] / spread.sqrt() - alpha * (law @ (unit * s))) < 1e-7
    assert covariance.isfinite()


def test_limits_of_ensembles_and_at_the_ends(generator: torch.Generator) -> None:
    forest = TreeEnsemble.regular(3, 3, polarity=(0.3, 0.9), generator=generator)
    for limits in (linear_limits, additive_limits):
        expected = torch.stack([limits(tree) for tree in forest.trees])
        assert relative_error(limits(forest), expected) < TOL
        for rho, value in ((0.0, 0.0), (1.0, 1.0), (-1.0, 1.0)):
            tree = LatentTree([-1, 0, 0, 1, 1], [1.0, rho, rho, rho, rho])
            assert limits(tree).tolist() == [value, value, 1.0, 1.0, 1.0]
        assert limits(LatentTree([-1], [1.0])).tolist() == [1.0]
        assert limits(LatentTree([-1, 0], [1.0, 0.5], 1.0))[0] == 0.0


@pytest.mark.bad_input
def test_bad_input(generator: torch.Generator) -> None:
    tree = LatentTree([-1, 0], [1.0, 0.5])
    with pytest.raises(ValueError, match="draws must be at least 2, got 1"):
        belief_ceilings(tree, 1, generator=generator)
    with pytest.raises(TypeError, match="generator must be a torch.Generator, got NoneType"):
        state_ceilings(tree, 10)
    with pytest.raises(ValueError, match=r"ceilings must have shape \(2,\), got \(3,\)"):
        additive_limits(tree, torch.ones(3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"beliefs must have shape \(…, draws, 2\) with the seeds in front"):
        best_sums(tree, torch.ones(4, 3, dtype=torch.float64))
    three = CategoricalTree.regular(1, states=3, generator=generator)
    for function in (exact_ceilings, linear_limits, additive_limits):
        with pytest.raises(ValueError, match="polarities belong to nodes of two states"):
            function(three)
