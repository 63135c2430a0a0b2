"""Tree networks against loops and autograd."""

from __future__ import annotations

import copy
import math
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.checks import relative_error
from ssl_theory.hltm import LatentTree, Topology, TreeNetwork, patterns, reference
from ssl_theory.hltm.patterns import all_patterns, pattern_codes, pattern_level
from tests.hltm.cases import networks, random_pixels, seeds

TOL = 1e-12
Case = tuple[LatentTree, TreeNetwork]


def biases_of(net: TreeNetwork) -> dict[int, torch.Tensor]:
    return {} if net.biases is None else {v: net.of_node(list(net.biases), v) for v in net.topology.inner}


@given(networks(), seeds)
def test_every_pre_activation_equals_the_loop(case: Case, seed: int) -> None:
    tree, net = case
    pixels = random_pixels(net, 2, seed)
    trace = net.trace(pixels)
    biases = biases_of(net)
    for s in range(net.seeds):
        weights = {v: net.weight(v)[s].tolist() for v in tree.topology.inner}
        shifts = {
            v: biases[v][s, :, 0].tolist() if biases else [0.0] * len(weights[v]) for v in tree.topology.inner
        }
        for b in range(2):
            leaves = dict(zip(tree.leaves, pixels[s, :, b].tolist(), strict=True))
            slow = reference.tree_network(tree.parents, weights, shifts, leaves)
            for node in tree.topology.inner:
                value = net.of_node(trace.pre_activations, node)[s, :, b]
                assert relative_error(value, torch.tensor(slow[node], dtype=torch.float64)) < TOL
            top = torch.tensor(slow[0], dtype=torch.float64)
            expected = top / top.norm().clamp_min(1e-12) if net.normalise else top
            assert relative_error(net(pixels)[s, :, b], expected) < TOL


@given(networks(), seeds)
def test_jacobians_equal_autograd(case: Case, seed: int) -> None:
    tree, net = case
    pixels = random_pixels(net, 3, seed)
    trace = net.trace(pixels)
    jacobians = net.jacobians(trace)
    width = trace.output.shape[1]
    for o in range(width):
        gradients = torch.autograd.grad(
            trace.output[:, o].sum(), trace.pre_activations, retain_graph=True, materialize_grads=True
        )
        for node in tree.topology.inner:
            value = net.of_node(jacobians, node)[:, :, o]
            assert relative_error(value, net.of_node(list(gradients), node)) < TOL


def test_jacobians_where_the_last_node_below_is_padded(generator: torch.Generator) -> None:
    net = TreeNetwork.random([-1, 0, 0, 1, 2], {0: 2, 1: 3, 2: 1}, generator=generator)
    trace = net.trace(random_pixels(net, 4))
    for o in range(2):
        gradients = torch.autograd.grad(trace.output[:, o].sum(), trace.pre_activations, retain_graph=True)
        for jacobian, gradient in zip(net.jacobians(trace)[1:], gradients[1:], strict=True):
            assert relative_error(jacobian[:, :, o], gradient) < TOL


def test_homogeneity_in_every_level(generator: torch.Generator) -> None:
    net = TreeNetwork.random(Topology.regular(3, 2), 4, seeds=2, generator=generator)
    trace = net.trace(random_pixels(net, 5))
    for jacobian, pre in zip(net.jacobians(trace), trace.pre_activations, strict=True):
        products = torch.einsum("kiob,kib->kob", jacobian, pre).reshape(2, -1, *trace.output.shape[1:])
        assert relative_error(products.sum(1), trace.output) < TOL


@given(networks(), seeds)
def test_padding_never_moves(case: Case, seed: int) -> None:
    """Padded weights are 0 and have gradient 0, whatever the loss."""
    _, net = case
    output = net(random_pixels(net, 4, seed))
    (output.square().sum() + output.sum()).backward()  # type: ignore[no-untyped-call]
    for level, weight in zip(net.levels, net.weights, strict=True):
        for place in range(len(level.nodes)):
            real = torch.zeros(weight.shape[1:], dtype=torch.bool)
            real[: level.widths[place], : level.fans[place]] = True
            for array in (weight.detach(), weight.grad):
                assert array is not None
                block = array.view(net.seeds, len(level.nodes), *weight.shape[1:])[:, place]
                assert not block[:, ~real].any()


@given(networks(), seeds)
def test_seeds_do_not_see_each_other(case: Case, seed: int) -> None:
    tree, net = case
    pixels = random_pixels(net, 3, seed)
    for s in range(net.seeds):
        biases = {v: b[s : s + 1, :, 0] for v, b in biases_of(net).items()} or None
        one = TreeNetwork(
            tree,
            {v: net.weight(v)[s : s + 1] for v in tree.topology.inner},
            biases,
            normalise=net.normalise,
        )
        assert relative_error(one(pixels[s : s + 1]), net(pixels)[s : s + 1]) < TOL


@given(networks(), st.sampled_from([0, 1, 3]))
def test_batches_and_dtypes(case: Case, batch: int) -> None:
    _, net = case
    pixels = random_pixels(net, batch)
    assert net(pixels).shape == (net.seeds, net.weight(0).shape[1], batch)
    trace = net.trace(pixels)
    for jacobian, pre in zip(net.jacobians(trace), trace.pre_activations, strict=True):
        assert jacobian.shape == (*pre.shape[:2], trace.output.shape[1], batch)
    low = net.to(torch.float32)
    assert low(pixels.float()).dtype == torch.float32


@given(networks(), seeds)
def test_joined_networks_compute_what_each_computes(case: Case, seed: int) -> None:
    _, net = case
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)  # padding stays zero
    joined = TreeNetwork.joined([net, other, net])
    pixels = random_pixels(net, 4, seed)
    output = joined(torch.cat([pixels] * 3))
    assert relative_error(output, torch.cat([net(pixels), other(pixels), net(pixels)])) < 1e-12


@pytest.mark.parametrize("init", ["uniform", "standard"])
def test_initialisation(init: Any, generator: torch.Generator) -> None:
    tree = Topology([-1, 0, 0, 1, 1, 1, 0])
    net = TreeNetwork.random(
        tree, {0: 40, 1: 50}, seeds=20, init=init, scale=0.7, bias=True, generator=generator
    )
    for node, fan in [(0, 52), (1, 3)]:
        weight = net.weight(node).detach()
        assert weight.shape[2] == fan
        bound = 0.7 * (3.0 / fan) ** 0.5 if init == "uniform" else fan**-0.5
        deviation = (weight.square().mean() / (bound**2 / 3.0) - 1.0) / (0.8 / weight.numel()) ** 0.5
        assert float(weight.abs().max()) <= bound
        assert abs(float(deviation)) < 6.0
        biases = biases_of(net)[node].detach()
        assert float(biases.abs().max()) <= (0.0 if init == "uniform" else bound)


def bits(net: TreeNetwork, batch: int, seed: int) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(net.seeds, len(net.topology.leaves), batch, generator=g) < 0.5


def output_and_gradients(net: TreeNetwork, pixels: torch.Tensor) -> list[torch.Tensor]:
    output = net(pixels)
    pull = torch.linspace(-1.0, 1.0, output.numel(), dtype=output.dtype).view_as(output)
    return [output, *torch.autograd.grad((output * pull).sum(), list(net.parameters()))]


def assert_same_by_pattern(net: TreeNetwork, batch: int, seed: int) -> None:
    states = bits(net, batch, seed)
    with mock.patch.object(patterns, "VALUES", 0):
        by_pattern, plain = (output_and_gradients(net, x) for x in (states, states.double()))
    for ours, theirs in zip(by_pattern, plain, strict=True):
        assert relative_error(ours, theirs) < TOL


@given(networks(), st.sampled_from([1, 16, 40]), seeds)
def test_bool_pixels_on_any_tree(case: Case, batch: int, seed: int) -> None:
    assert_same_by_pattern(case[1], batch, seed)


REGULAR = [
    (2, 2, 31, 0),
    (2, 2, 32, 2),
    (3, 2, 128, 4),
    (4, 2, 128, 4),
    (4, 2, 2048, 8),
    (2, 3, 64, 3),
    (3, 1, 16, 1),
]


@pytest.mark.parametrize(("depth", "branching", "batch", "shared"), REGULAR)
@pytest.mark.parametrize("bias", [True, False])
def test_patterns_that_columns_share_are_looked_up(
    depth: int, branching: int, batch: int, shared: int, bias: bool, generator: torch.Generator
) -> None:
    tree = Topology.regular(depth, branching)
    net = TreeNetwork.random(
        tree, 3, seeds=2, init="standard", bias=bias, normalise=True, generator=generator
    )
    with mock.patch.object(patterns, "VALUES", 0):
        index, count = pattern_level(net.levels, 2, len(tree.leaves), batch)
    assert count == shared
    assert not count or branching ** (depth - index - 1) == count
    assert_same_by_pattern(net, batch, 5)


@pytest.mark.parametrize("parents", [[-1, 0, 0, 1, 1, 2], [-1, 0, 0, 1, 1], [-1, 0, 0, 1, 2, 2]])
def test_nodes_that_differ_are_not_looked_up(parents: list[int], generator: torch.Generator) -> None:
    net = TreeNetwork.random(parents, 2, generator=generator)
    assert pattern_level(net.levels, 10**6, len(net.topology.leaves), 10**6) == (0, 0)


def test_small_networks_look_nothing_up(generator: torch.Generator) -> None:
    net = TreeNetwork.random(Topology.regular(5, 2), 10, generator=generator)
    assert pattern_level(net.levels, 1, 32, 384) == (0, 0)
    assert pattern_level(net.levels, 32, 32, 384) == (2, 4)


def test_patterns_are_binary_digits() -> None:
    every = all_patterns(3, 2, torch.float64, torch.device("cpu"))
    assert every.tolist() == [[k >> place & 1 for k in range(8)] for place in (0, 1, 2)] * 2
    states = torch.rand(2, 6, 50, generator=torch.Generator().manual_seed(0)) < 0.5
    codes = pattern_codes(states, 3)
    for node in (0, 1):
        seen = every[:3, codes[:, node]].movedim(0, 1)
        assert torch.equal(seen.bool(), states[:, 3 * node : 3 * node + 3])


def test_normalised_top_at_zero_output(generator: torch.Generator) -> None:
    net = TreeNetwork.random([-1, 0, 0], 3, normalise=True, generator=generator)
    pixels = torch.zeros(1, 2, 1, dtype=torch.float64)
    assert not net(pixels).any()
    net(pixels).sum().backward()  # type: ignore[no-untyped-call]
    assert not torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).any()


def weights(seeds: int = 1, width: int = 2, fan: int = 2) -> dict[int, torch.Tensor]:
    return {0: torch.ones(seeds, width, fan, dtype=torch.float64)}


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("blocks", "biases", "error", "message"),
    [
        ({}, None, ValueError, r"weights must name the inner nodes \(0,\), got \(\)"),
        ({**weights(), 1: torch.ones(1)}, None, ValueError, "weights must name the inner nodes"),
        (weights(fan=3), None, ValueError, r"weights\[0\] must have shape .*fan-in = 2\), got \(1, 2, 3\)"),
        (weights(width=0), None, ValueError, r"weights\[0\] must have shape .*neurons ≥ 1"),
        ({0: torch.ones(2, 2)}, None, ValueError, r"weights\[0\] must have 3 dimensions"),
        ({0: torch.ones(1, 2, 2).long()}, None, TypeError, r"weights\[0\] must be float32 or float64"),
        ({0: torch.full((1, 2, 2), math.nan)}, None, ValueError, r"weights\[0\] must be finite"),
        (weights(), {}, ValueError, r"biases must name the inner nodes"),
        (weights(), {0: torch.ones(1, 3).double()}, ValueError, r"biases\[0\] must have shape \(1, 2\)"),
        (weights(), {0: torch.ones(1, 2)}, TypeError, r"biases\[0\] must have the dtype of weights\[0\]"),
    ],
)
def test_bad_weights(
    blocks: dict[int, torch.Tensor], biases: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        TreeNetwork([-1, 0, 0], blocks, biases)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"widths": 0}, ValueError, "widths must be at least 1, got 0"),
        ({"widths": 1.5}, TypeError, "widths must be an integer"),
        ({"widths": {0: 0}}, ValueError, r"widths\[0\] must be at least 1, got 0"),
        ({"widths": {1: 2}}, ValueError, r"widths must name the inner nodes \(0,\), got \(1,\)"),
        ({"seeds": 0}, ValueError, "seeds must be at least 1, got 0"),
        ({"scale": 0.0}, ValueError, "scale must be finite and greater than 0"),
        ({"init": "normal"}, ValueError, "init must be 'uniform' or 'standard', got 'normal'"),
        ({"tree": [-1]}, ValueError, "tree must have a node with children"),
        ({"tree": [-1, 1]}, ValueError, "parents must have no cycle"),
    ],
)
def test_bad_random_networks(
    options: dict[str, Any], error: type[Exception], message: str, generator: torch.Generator
) -> None:
    with pytest.raises(error, match=message):
        TreeNetwork.random(**{"tree": [-1, 0, 0], "widths": 2, "generator": generator, **options})


@pytest.mark.bad_input
def test_networks_that_cannot_be_joined(generator: torch.Generator) -> None:
    net = TreeNetwork.random([-1, 0, 0], 2, generator=generator)
    with pytest.raises(ValueError, match="networks must hold at least one network, got none"):
        TreeNetwork.joined([])
    for other in (
        TreeNetwork.random([-1, 0, 0], 3, generator=generator),
        TreeNetwork.random([-1, 0, 0], 2, bias=True, generator=generator),
        TreeNetwork.random([-1, 0, 0], 2, normalise=True, generator=generator),
        TreeNetwork.random([-1, 0, 0, 0], 2, generator=generator),
    ):
        with pytest.raises(ValueError, match=r"networks\[1\] must be like networks\[0\] in tree, neurons"):
            TreeNetwork.joined([net, other])
    with pytest.raises(ValueError, match="the network must have biases, it was made without"):
        net.bias(0)


@pytest.mark.bad_input
def test_bad_pixels_and_nodes(generator: torch.Generator) -> None:
    net = TreeNetwork.random([-1, 0, 0], 2, generator=generator)
    with pytest.raises(
        ValueError, match=r"leaves must have shape \(S = 1, leaves = 2, batch\), got \(1, 3, 4\)"
    ):
        net(torch.zeros(1, 3, 4, dtype=torch.float64))
    with pytest.raises(TypeError, match="leaves must have the dtype of the weights"):
        net(torch.zeros(1, 2, 4))
    with pytest.raises(TypeError, match="leaves must be float32 or float64"):
        net(torch.zeros(1, 2, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"node must be an inner node, one of \(0,\), got 1"):
        net.weight(1)


@pytest.mark.bad_input
def test_bad_sources_of_random_networks(generator: torch.Generator) -> None:
    with pytest.raises(TypeError, match="generator must be a torch.Generator, got NoneType"):
        TreeNetwork.random([-1, 0], 1, generator=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="device must name a device that is there, got 'nosuch'"):
        TreeNetwork.random([-1, 0], 1, generator=generator, device="nosuch")
    with pytest.raises(TypeError, match="dtype must be torch.float32 or torch.float64, got torch.int64"):
        TreeNetwork.random([-1, 0], 1, generator=generator, dtype=torch.int64)
