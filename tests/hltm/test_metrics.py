"""Correlations and ceilings against loops, enumeration and known limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.checks import relative_error
from ssl_theory.hltm import CategoricalTree, LatentTree, TreeEnsemble, TreeNetwork, reference
from ssl_theory.hltm.metrics import belief_ceilings, best_correlations, exact_ceilings
from tests.hltm.cases import latent_trees, networks, random_pixels, seeds, table_of

TOL = 1e-12


@given(networks(), seeds)
def test_best_correlations_equal_numpy(case: tuple[LatentTree, TreeNetwork], seed: int) -> None:
    tree, net = case
    trace = net.trace(random_pixels(net, 12, seed))
    g = torch.Generator().manual_seed(seed)
    targets = torch.randn(net.seeds, tree.nodes, 12, generator=g, dtype=torch.float64)
    result = best_correlations(net, trace, targets)
    for place, node in enumerate(tree.topology.inner):
        values = net.of_node([trace.output, *map(torch.relu, trace.pre_activations[1:])], node).detach()
        for s in range(net.seeds):
            varying = [neuron for neuron in values[s].numpy() if np.ptp(neuron) > 1e-9]
            found = [abs(np.corrcoef(neuron, targets[s, node].numpy())[0, 1]) for neuron in varying]
            assert abs(float(result[s, place]) - max(found, default=0.0)) < 1e-9


def test_what_does_not_vary_has_correlation_zero(generator: torch.Generator) -> None:
    net = TreeNetwork.random([-1, 0, 0], 2, generator=generator)
    trace = net.trace(torch.full((1, 2, 5), 0.3, dtype=torch.float64))
    targets = torch.randn(1, 3, 5, generator=generator, dtype=torch.float64)
    assert best_correlations(net, trace, targets).item() == 0.0
    trace = net.trace(random_pixels(net, 5))
    assert best_correlations(net, trace, torch.ones(1, 3, 5)).item() == 0.0


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


def test_nothing_correlates_more_than_the_ceiling(generator: torch.Generator) -> None:
    trees = TreeEnsemble.regular(2, 3, polarity=(0.5, 0.9), root_polarity=0.2, generator=generator)
    states = trees.sample(4000, generator=generator)
    net = TreeNetwork.random(trees, 20, seeds=2, generator=generator)
    trace = net.trace(states[..., list(trees.leaves)].mT.double())
    found = best_correlations(net, trace, states.mT)
    ceilings = exact_ceilings(trees).value[:, list(trees.topology.inner)]
    assert float((found - ceilings).max()) < 6.0 / 4000**0.5
    assert relative_error(exact_ceilings(trees.trees[1]).value, exact_ceilings(trees).value[1]) < TOL


@given(st.floats(0.05, 0.95))
def test_one_leaf_gives_the_polarity(rho: float) -> None:
    assert abs(float(exact_ceilings(LatentTree([-1, 0], [1.0, rho])).value[0]) - rho) < TOL


@pytest.mark.bad_input
def test_bad_ceilings(generator: torch.Generator) -> None:
    tree = LatentTree([-1, 0], [1.0, 0.5])
    with pytest.raises(ValueError, match="draws must be at least 2, got 1"):
        belief_ceilings(tree, 1, generator=generator)
    three = CategoricalTree.regular(1, states=3, generator=generator)
    with pytest.raises(ValueError, match="polarities belong to nodes of two states"):
        exact_ceilings(three)
