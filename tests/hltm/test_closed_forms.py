"""T8 by enumeration of all latents; T9 against autograd and against the integrated flow."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from ssl_theory.checks import relative_error
from ssl_theory.flow import gradient_flow
from ssl_theory.hltm import (
    ExactTree,
    LatentTree,
    TreeEnsemble,
    TreeNetwork,
    activation_covariance,
    child_vectors,
    level_state,
    node_operators,
    pre_activation_gap,
    selectivities,
)
from ssl_theory.losses import SimpleContrastive
from tests.hltm.cases import networks, seeds

TOL = 1e-12
Case = tuple[LatentTree, TreeNetwork]


@given(networks(6))
def test_activation_covariance_and_pre_activation_gap(case: Case) -> None:
    """T8: both formulas against sums over every configuration of all latents."""
    tree, net = case
    world = ExactTree(tree, net.seeds)
    a = child_vectors(net, world, selectivities(net, world, net.trace(world.pixels)))
    states, probabilities = tree.enumerate()
    trace = net.trace(states[:, list(tree.leaves)].mT.double().expand(net.seeds, -1, -1))

    def mean(values: torch.Tensor, node: int, state: int) -> torch.Tensor:
        weight = probabilities * (states[:, node] == state)
        return (values * weight).sum(-1) / weight.sum()

    marginals = tree.marginals()
    for node in tree.topology.inner:
        if 0.0 in marginals[[0, node]]:
            continue  # a mean given an event of probability 0
        fan = net.weight(node).shape[-1]
        index = next(i for i, level in enumerate(net.levels) if node in level.nodes)
        blocks = trace.inputs[index].view(net.seeds, len(net.levels[index].nodes), -1, len(states))
        inputs = blocks[:, net.levels[index].nodes.index(node), :fan]
        low, high = mean(inputs, 0, 0), mean(inputs, 0, 1)
        centre = tree.root_law[0] * low + tree.root_law[1] * high
        covariance = sum(
            p * torch.einsum("si,sj->sij", m - centre, m - centre)
            for p, m in zip(tree.root_law, (low, high), strict=True)
        )
        assert isinstance(covariance, torch.Tensor)
        assert relative_error(activation_covariance(world, node, a[node]), covariance) < TOL
        values = net.of_node(trace.pre_activations, node)
        gap = mean(values, node, 1) - mean(values, node, 0)
        assert relative_error(pre_activation_gap(net.weight(node), a[node]), gap) < TOL


def test_one_foreign_leaf_breaks_the_rank_one_formula(generator: torch.Generator) -> None:
    """T8 needs children that see their own subtree only: read one leaf of the cousin's and it fails."""
    tree = LatentTree.regular(2, polarity=(0.5, 0.9), generator=generator)
    net = TreeNetwork.random(tree, 3, generator=generator)
    world = ExactTree(tree)
    foreign = world.pixels.clone()
    foreign[:, 0] = world.pixels[:, 3]
    errors = []
    for pixels in (world.pixels, foreign):
        own = child_vectors(net, world, selectivities(net, world, net.trace(world.pixels)))
        inputs = net.trace(pixels).inputs[0]
        expected = activation_covariance(world, 0, own[0])
        errors.append(relative_error(world.between_covariance(inputs), expected))
    assert errors[0] < TOL
    assert errors[1] > 1e-3


def positive_from(net: TreeNetwork, level: int) -> TreeNetwork:
    """Return the same network with positive weights at and above a level: all gates there stay open."""
    weights = {
        node: net.weight(node).detach().abs() + 0.05
        if any(node in above.nodes for above in net.levels[: level + 1])
        else net.weight(node).detach()
        for node in net.topology.inner
    }
    return TreeNetwork(net.topology, weights)


def make_level(seed: int, level: int, width: int = 3) -> tuple[TreeNetwork, ExactTree]:
    g = torch.Generator().manual_seed(seed)
    trees = TreeEnsemble.regular(2, 3, polarity=(0.3, 1.0), root_polarity=0.4, generator=g)
    net = TreeNetwork.random(trees, width, seeds=2, generator=g)
    return positive_from(net, level), ExactTree(trees)


@settings(max_examples=9)
@given(seeds, st.integers(0, 2))
def test_update_of_a_whole_level_equals_autograd(seed: int, level: int) -> None:
    """T9 with the gates at and above the level fixed, two trees of depth 3."""
    net, world = make_level(seed, level)
    loss = world.expected_loss(net(world.pixels), SimpleContrastive()).sum()
    (gradient,) = torch.autograd.grad(loss, net.weights[level])
    state = level_state(net, world, level)
    assert relative_error(state.update().flatten(0, 1), -0.5 * gradient) < TOL
    outputs = net(world.pixels).detach()
    assert relative_error(state.output_gap(), world.gap(outputs, 0)) < TOL
    by_vector = torch.einsum("soi,si->so", state.gap_to_output(), state.gap_vector())
    assert relative_error(2.0 * by_vector, state.output_gap()) < TOL


@settings(max_examples=9)
@given(seeds)
def test_own_operator_is_the_update_only_at_the_root(seed: int) -> None:
    for level in range(3):
        net, world = make_level(seed, level)
        state = level_state(net, world, level)
        difference = relative_error(state.own_update(), state.update())
        assert difference < TOL if level == 0 else difference > 1e-6


def test_gap_vector_holds_the_gaps_of_the_neurons() -> None:
    """2‖a_μ‖ u_μ against E[f̃_μ | z_μ=1] − E[f̃_μ | z_μ=0] by enumeration."""
    net, world = make_level(4, 1)
    state = level_state(net, world, 1)
    values = net.trace(world.pixels).pre_activations
    nodes = net.levels[1].nodes
    gaps = torch.stack([world.gap(net.of_node(values, node), node) for node in nodes], 1)
    scaled = 2.0 * state.child_vector.norm(dim=-1, keepdim=True) * state.gap_vector().view_as(gaps)
    assert relative_error(scaled, gaps.detach()) < TOL


def test_own_update_is_the_node_operator_applied() -> None:
    net, world = make_level(3, 1)
    own = level_state(net, world, 1).own_update()
    operators = node_operators(net, world.pixels, world.contrast, world.root_polarity)
    assert relative_error(own.flatten(0, 1), operators.own_updates()[1]) < TOL


def test_closed_form_of_the_flow_against_the_integrated_network() -> None:
    """T9: only the level's weights move; the gates stay open along the way."""
    level = 1
    net, world = make_level(1, level, width=2)
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    name = f"weights.{level}"

    def loss(weights: tuple[torch.Tensor, ...]) -> torch.Tensor:
        output = functional_call(net, {**parameters, name: weights[0]}, (world.pixels,))
        return 0.5 * world.expected_loss(output, SimpleContrastive()).sum()  # one branch

    state = level_state(net, world, level)
    times = [0.0, 0.5, 1.0]
    path = gradient_flow(loss, [parameters[name]], times)
    closed = state.flow(times)
    assert min(float(weights[0].min()) for weights in path) > 0.0
    assert float((path[-1][0] - path[0][0]).abs().max()) > 1e-2
    for simulated, expected in zip(path, closed, strict=True):
        assert relative_error(expected.flatten(0, 1), simulated[0]) < 1e-9


def test_the_flow_starts_at_the_weights_with_the_update_as_velocity() -> None:
    net, world = make_level(2, 2)
    state = level_state(net, world, 2)
    step = 1e-6
    ahead, now, back = state.flow([step, 0.0, -step])
    assert relative_error(now, state.weight) == 0.0
    assert relative_error((ahead - back) / (2 * step), state.update()) < 1e-8


@settings(max_examples=9)
@given(seeds)
def test_own_flow_is_that_of_every_node_alone(seed: int) -> None:
    """Node by node with the other nodes cut off the state; the velocity at the start is `own_update`."""
    net, world = make_level(seed, 1)
    state = level_state(net, world, 1)
    paths = state.own_flow([0.0, 0.7, 1e-6])
    assert relative_error(paths[0], state.weight) == 0.0
    assert relative_error((paths[2] - state.weight) / 1e-6, state.own_update()) < 1e-4
    for node in range(state.weight.shape[1]):
        one = slice(node, node + 1)
        alone = level_state(net, world, 1)._replace(
            jacobian=state.jacobian[:, one], weight=state.weight[:, one],
            child_vector=state.child_vector[:, one], path_polarity=state.path_polarity[:, one],
        )  # fmt: skip
        assert relative_error(paths[1][:, one], alone.flow([0.7])[0]) < TOL


def test_only_the_direction_of_the_child_vector_moves() -> None:
    net, world = make_level(2, 2)
    state = level_state(net, world, 2)
    moved = state.flow([3.0])[0] - state.weight
    sizes = torch.linalg.svdvals(moved)
    assert float((sizes[..., 1] / sizes[..., 0]).max()) < 1e-12
    along = torch.einsum("smij,smj->smi", moved, state.child_vector)
    assert (
        relative_error(along.norm(dim=-1), moved.norm(dim=(-2, -1)) * state.child_vector.norm(dim=-1)) < TOL
    )
