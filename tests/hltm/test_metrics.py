"""Correlations and ceilings against loops, enumeration and known limits."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.checks import relative_error
from ssl_theory.hltm import LatentTree, TreeEnsemble, TreeNetwork
from ssl_theory.hltm.limits import exact_ceilings
from ssl_theory.hltm.metrics import best_correlations
from tests.hltm.cases import networks, random_pixels, seeds

TOL = 1e-12


@given(networks(), seeds, st.booleans())
def test_best_correlations_equal_numpy(case: tuple[LatentTree, TreeNetwork], seed: int, pre: bool) -> None:
    tree, net = case
    trace = net.trace(random_pixels(net, 12, seed))
    g = torch.Generator().manual_seed(seed)
    targets = torch.randn(net.seeds, tree.nodes, 12, generator=g, dtype=torch.float64)
    result = best_correlations(net, trace, targets, pre_activations=pre)
    activations = [trace.output, *map(torch.relu, trace.pre_activations[1:])]
    neurons = trace.pre_activations if pre else activations
    for place, node in enumerate(tree.topology.inner):
        values = net.of_node(neurons, node).detach()
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


def test_nothing_correlates_more_than_the_ceiling(generator: torch.Generator) -> None:
    trees = TreeEnsemble.regular(2, 3, polarity=(0.5, 0.9), root_polarity=0.2, generator=generator)
    states = trees.sample(4000, generator=generator)
    net = TreeNetwork.random(trees, 20, seeds=2, generator=generator)
    trace = net.trace(states[..., list(trees.leaves)].mT.double())
    found = best_correlations(net, trace, states.mT)
    ceilings = exact_ceilings(trees).value[:, list(trees.topology.inner)]
    assert float((found - ceilings).max()) < 6.0 / 4000**0.5
    assert relative_error(exact_ceilings(trees.trees[1]).value, exact_ceilings(trees).value[1]) < TOL
