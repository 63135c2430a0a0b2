"""Networks with fixed gates: their gates over all pictures, what is kept, and refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.checks import relative_error
from ssl_theory.hltm import ExactTree, LatentTree, TreeEnsemble, TreeNetwork, fix_gates, level_state
from ssl_theory.losses import SimpleContrastive
from tests.hltm.cases import seeds


def draw(seed: int, **options: bool) -> tuple[TreeNetwork, ExactTree, torch.Generator]:
    g = torch.Generator().manual_seed(seed)
    trees = TreeEnsemble.regular(2, 3, polarity=(0.3, 1.0), root_polarity=0.4, generator=g)
    return TreeNetwork.random(trees, 3, seeds=2, generator=g, **options), ExactTree(trees), g


@given(seeds, st.integers(0, 2), st.floats(0, 1))
def test_gates_are_those_of_all_pictures_in_which_a_neuron_reads_anything(
    seed: int, level: int, off: float
) -> None:
    free, world, g = draw(seed)
    net = fix_gates(free, level, off=off, generator=g)
    trace = net.trace(world.pixels)
    for k in range(1, level + 1):
        gates = trace.pre_activations[k] > 0
        reads = (trace.inputs[k] != 0).any(1, keepdim=True).expand_as(gates)
        assert bool((gates <= reads).all())
        ever = gates.any(-1, keepdim=True).expand_as(gates)
        assert torch.equal(gates, ever & reads)
        assert bool((net.weights[k][:, 0] >= 0).all())
    assert torch.equal(net.weights[0], free.weights[0])
    for k, (new, old) in enumerate(zip(net.weights, free.weights, strict=True)):
        assert torch.equal(new.abs(), old.abs())
        assert k <= level or torch.equal(new, old)


@pytest.mark.parametrize("level", range(3))
def test_a_level_below_fixed_gates_obeys_the_closed_form(level: int) -> None:
    """T9, part 3, with neurons that are off among them, against autograd through all pairs."""
    free, world, g = draw(5)
    net = fix_gates(free, level, off=0.4, generator=g)
    assert level == 0 or bool((net.weights[level] < 0).any())
    loss = world.expected_loss(net(world.pixels), SimpleContrastive()).sum()
    (slope,) = torch.autograd.grad(loss, net.weights[level])
    assert relative_error(level_state(net, world, level).update().flatten(0, 1), -0.5 * slope) < 1e-12


def test_neurons_are_off_as_often_as_asked(generator: torch.Generator) -> None:
    net = TreeNetwork.random(LatentTree([-1, 0, 1], [1.0] * 3), 1000, generator=generator)
    off = (fix_gates(net, 1, off=0.3, generator=generator).weight(1) < 0).double().mean()
    assert abs(float(off) - 0.3) < 0.05


@pytest.mark.bad_input
def test_networks_and_numbers_that_do_not_fit_are_named() -> None:
    net, _, g = draw(0)
    with pytest.raises(ValueError, match=r"level must .*, got 3"):
        fix_gates(net, 3, generator=g)
    with pytest.raises(ValueError, match="off must be a probability between 0 and 1, got 1.5"):
        fix_gates(net, 1, off=1.5, generator=g)
    with pytest.raises(TypeError, match="generator must be"):
        fix_gates(net, 1, generator=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="net must have no biases"):
        fix_gates(draw(0, bias=True)[0], 1, generator=g)
