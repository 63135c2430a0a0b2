"""Operators of the nodes against autograd, loops over connections and exact expectations."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call

from ssl_theory.checks import relative_error
from ssl_theory.hltm import ExactTree, LatentTree, TreeEnsemble, TreeNetwork, node_operators, sample_contrast
from ssl_theory.losses import ContrastiveLoss, InfoNCE, SimpleContrastive
from ssl_theory.networks import vec
from tests.hltm.cases import networks, seeds

TOL = 1e-12
Case = tuple[LatentTree, TreeNetwork]


def exact_operators(tree: LatentTree, net: TreeNetwork, loss: object = None):  # type: ignore[no-untyped-def]
    world = ExactTree(tree, net.seeds)
    options = {} if loss is None else {"loss": loss}
    return world, node_operators(net, world.pixels, world.contrast, world.root_polarity, **options)


@given(networks(6))
def test_the_simple_loss_moves_every_node_by_its_update(case: Case) -> None:
    """T3 on a tree: −½ ∂L_simp/∂W_μ = ((1−ρ_0²)/4) Δ_μ g, with biases and normalised tops too."""
    tree, net = case
    world, operators = exact_operators(tree, net)
    loss = world.expected_loss(net(world.pixels), SimpleContrastive()).sum()
    gradients = torch.autograd.grad(loss, list(net.weights))
    for gradient, update in zip(gradients, operators.updates(), strict=True):
        assert relative_error(update, -0.5 * gradient) < TOL


@given(networks(5))
def test_dense_operators_are_the_variance_of_the_connection(case: Case) -> None:
    """OP_μ = V_{z_0}[K̄_μ], K_μ from autograd, one configuration of the leaves at a time."""
    tree, net = case
    world, operators = exact_operators(tree, net)
    norms = operators.norms()
    names = [name for name, _ in net.named_parameters()]
    for s in range(net.seeds):
        means: dict[int, list[torch.Tensor]] = {}
        for state in (0, 1):

            def mean_output(*parameters: torch.Tensor, s: int = s, state: int = state) -> torch.Tensor:
                output = functional_call(net, dict(zip(names, parameters, strict=True)), (world.pixels,))
                return (output[s] * world.law[s, state]).sum(-1)

            derivatives = torch.autograd.functional.jacobian(mean_output, tuple(net.parameters()))
            by_name = dict(zip(names, derivatives, strict=True))
            for index, level in enumerate(net.levels):
                block = by_name[f"weights.{index}"]  # (n_L, S·nodes, width, fan)
                for place, node in enumerate(level.nodes):
                    own = block[:, s * len(level.nodes) + place, : level.widths[place], : level.fans[place]]
                    means.setdefault(node, []).append(vec(own))  # (n_L, D)
        for place, node in enumerate(tree.topology.inner):
            zero, one = means[node]
            centre = world.root_law[s, 0] * zero + world.root_law[s, 1] * one
            expected = sum(
                p * (k - centre).mT @ (k - centre)
                for p, k in zip(world.root_law[s], (zero, one), strict=True)
            )
            assert isinstance(expected, torch.Tensor)
            assert relative_error(operators.dense(node)[s], expected) < TOL
            assert relative_error(norms[s, place], torch.linalg.matrix_norm(expected)) < TOL


@given(networks(5))
def test_own_updates_apply_the_dense_operators(case: Case) -> None:
    tree, net = case
    _, operators = exact_operators(tree, net, InfoNCE(0.4))
    for node in tree.topology.inner:
        own = net.of_node(operators.own_updates(), node)[..., : net.weight(node).shape[-1]]
        expected = (operators.dense(node) @ vec(net.weight(node).detach()).unsqueeze(-1)).squeeze(-1)
        assert relative_error(vec(own), expected) < TOL


@given(seeds, st.integers(1, 3), st.booleans())
def test_a_whole_level_times_its_weights(seed: int, depth: int, normalise: bool) -> None:
    """Without biases the output is linear in a level: all of the step, or 0 if outputs are normalised."""
    g = torch.Generator().manual_seed(seed)
    tree = LatentTree.regular(depth, polarity=(0.5, 1.0), root_polarity=0.2, generator=g)
    net = TreeNetwork.random(tree, 3, seeds=2, normalise=normalise, generator=g)
    _, operators = exact_operators(tree, net)
    for update, own in zip(operators.updates(), operators.level_updates(), strict=True):
        expected = torch.zeros_like(update) if normalise else update
        assert relative_error(own, expected) < 1e-10


@given(networks(5))
def test_the_only_node_of_a_level_is_the_level(case: Case) -> None:
    _, net = case
    _, operators = exact_operators(*case)
    for level, own, whole in zip(net.levels, operators.own_updates(), operators.level_updates(), strict=True):
        if len(level.nodes) == 1:
            assert relative_error(whole, own) < TOL


def test_infonce_scales_the_operator_by_its_pair_weight(generator: torch.Generator) -> None:
    tree = LatentTree.regular(2, polarity=(0.5, 1.0), root_polarity=0.3, generator=generator)
    net = TreeNetwork.random(tree, 3, seeds=2, generator=generator)
    _, simple = exact_operators(tree, net)
    _, weighted = exact_operators(tree, net, InfoNCE(0.3))
    distance = 0.5 * simple.output_gap.square().sum(1)
    xi = torch.sigmoid(-distance / 0.3) / 0.3
    assert relative_error(weighted.norms(), xi.unsqueeze(1) * simple.norms()) < TOL


def test_infonce_is_its_leading_part_when_views_do_not_differ(generator: torch.Generator) -> None:
    """Polarities ±1: the leaves follow from z_0, no augmentation noise, no residue (T4)."""
    tree = LatentTree([-1, 0, 0, 1, 1, 2], [1.0, -1.0, 1.0, 1.0, -1.0, 1.0], root_polarity=0.3)
    net = TreeNetwork.random(tree, 3, seeds=2, generator=generator)
    world, operators = exact_operators(tree, net, InfoNCE(0.3))
    loss = world.expected_loss(net(world.pixels), InfoNCE(0.3)).sum()
    gradients = torch.autograd.grad(loss, list(net.weights))
    for gradient, update in zip(gradients, operators.updates(), strict=True):
        assert relative_error(update, -0.5 * gradient) < TOL


@pytest.mark.parametrize("loss", [InfoNCE(0.3), SimpleContrastive()])
def test_several_negatives_by_all_their_roots(loss: ContrastiveLoss, generator: torch.Generator) -> None:
    """Without noise the loss is a sum over the roots of anchor and negatives, and has no residue."""
    tree = LatentTree([-1, 0, 0, 1, 1, 2], [1.0, -1.0, 1.0, 1.0, -1.0, 1.0], root_polarity=0.3)
    net = TreeNetwork.random(tree, 3, generator=generator)
    world = ExactTree(tree)
    given_ = (net, world.pixels, world.contrast, world.root_polarity, loss)
    outputs = (net(world.pixels)[0] @ world.law[0].mT).unbind(1)  # of the two states
    total = torch.zeros(())
    for anchor, *others in product((0, 1), repeat=4):
        gaps = torch.stack([0.5 * (outputs[anchor] - outputs[k]).square().sum() for k in others])
        weight = world.root_law[0][[anchor, *others]].prod()
        total = total + weight * loss(torch.zeros(1, dtype=gaps.dtype), gaps.unsqueeze(0)).sum()
    gradients = torch.autograd.grad(total, list(net.weights))
    for gradient, update in zip(gradients, node_operators(*given_, negatives=3).updates(), strict=True):
        assert relative_error(update, -0.5 * gradient) < TOL


def test_expected_loss_by_triples_equals_that_by_pairs(generator: torch.Generator) -> None:
    """The linear loss written as a new class takes the way of all triples."""

    class Linear:
        def __call__(self, r_pos: torch.Tensor, r_neg: torch.Tensor) -> torch.Tensor:
            return r_pos - r_neg.mean(-1)

        def pair_weights(self, r_pos: torch.Tensor, r_neg: torch.Tensor) -> torch.Tensor:
            return torch.ones_like(r_neg)

    tree = LatentTree.regular(2, polarity=(0.5, 1.0), root_polarity=0.3, generator=generator)
    net = TreeNetwork.random(tree, 3, seeds=2, generator=generator)
    world = ExactTree(tree, 2)
    outputs = net(world.pixels).detach()
    by_pairs = world.expected_loss(outputs, SimpleContrastive())
    assert relative_error(world.expected_loss(outputs, Linear()), by_pairs) < TOL
    variance = world.between_covariance(outputs).diagonal(dim1=1, dim2=2).sum(-1)
    assert relative_error(by_pairs, -variance) < TOL


def test_expected_loss_lies_within_sampling_error_of_drawn_triples(generator: torch.Generator) -> None:
    tree = LatentTree.regular(2, polarity=(0.5, 1.0), root_polarity=0.3, generator=generator)
    net = TreeNetwork.random(tree, 3, generator=generator)
    world, loss = ExactTree(tree), InfoNCE(0.3)
    n = 40_000
    pixels = tree.triples(n, generator=generator, dtype=torch.float64).states[:, list(tree.leaves)]
    anchor, positive, negative = net(pixels.mT.unsqueeze(0))[0].detach().split(n, -1)
    r_pos, r_neg = (0.5 * (anchor - other).square().sum(0) for other in (positive, negative))
    values = loss(r_pos, r_neg.unsqueeze(1))
    exact = world.expected_loss(net(world.pixels).detach(), loss)[0]
    assert abs(float(values.mean() - exact)) < 6.0 * float(values.std()) / n**0.5


def test_a_sample_approaches_the_exact_operators(generator: torch.Generator) -> None:
    trees = TreeEnsemble.regular(2, 2, polarity=(0.5, 1.0), root_polarity=0.3, generator=generator)
    net = TreeNetwork.random(trees, 3, seeds=2, generator=generator)
    world = ExactTree(trees)
    exact = node_operators(net, world.pixels, world.contrast, world.root_polarity)
    blocks = []
    for _ in range(30):
        states = trees.sample(1000, generator=generator)
        pixels = states[..., list(trees.leaves)].mT.double()
        contrast = sample_contrast(states[..., 0], torch.float64)
        blocks.append(node_operators(net, pixels, contrast, trees.root_polarity).gaps[1])
    estimates = torch.stack(blocks)
    error = estimates.std(0) / len(blocks) ** 0.5
    assert float(((estimates.mean(0) - exact.gaps[1]).abs() / error.clamp_min(1e-9)).max()) < 6.0


def test_chunks_add_up(generator: torch.Generator) -> None:
    tree = LatentTree.regular(3, polarity=(0.5, 1.0), generator=generator)
    net = TreeNetwork.random(tree, 3, seeds=2, bias=True, normalise=True, generator=generator)
    world, whole = exact_operators(tree, net)
    parts = node_operators(net, world.pixels, world.contrast, world.root_polarity, chunk=100)
    for one, other in zip(parts.updates(), whole.updates(), strict=True):
        assert relative_error(one, other) < TOL


@pytest.mark.bad_input
def test_bad_contrasts(generator: torch.Generator) -> None:
    net = TreeNetwork.random([-1, 0, 0], 2, generator=generator)
    pixels = torch.ones(1, 2, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"contrast must have shape \(S, batch\) = \(1, 4\), got \(1, 3\)"):
        node_operators(net, pixels, torch.ones(1, 3, dtype=torch.float64), torch.tensor(0.0))
    with pytest.raises(ValueError, match="root must take both states"):
        sample_contrast(torch.ones(1, 4, dtype=torch.int64), torch.float64)
    with pytest.raises(ValueError, match="seeds must be the number of trees, 2, got 3"):
        ExactTree(TreeEnsemble.regular(2, 1, polarity=(0.5, 1.0), generator=generator), 3)
