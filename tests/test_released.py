"""Where released code and mathematics differ: each difference, and that the library is on the right side."""

from __future__ import annotations

import math

import pytest
import torch

from ssl_theory.experiments.trees import ensemble_loss
from ssl_theory.hltm import ExactTree, LatentTree, TreeNetwork, node_operators
from ssl_theory.losses import SimpleContrastive, nt_xent


def gradients(loss: torch.Tensor, *leaves: torch.Tensor) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, leaves, retain_graph=True)])


def test_minus_p_of_batch_means_moves_along_the_simple_loss(generator: torch.Generator) -> None:
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    top = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    views = 0.5 * torch.randn(3, 32, 6, generator=generator, dtype=torch.float64)
    anchor, positive, negative = torch.relu(views @ weight.mT) @ top.mT
    distances = [0.5 * (anchor - other).square().sum(-1).unsqueeze(0) for other in (positive, negative)]
    steps = {
        name: gradients(ensemble_loss(name, 0.5)(*distances).sum(), weight, top)
        for name in ("simple", "shared-weight", "infonce")
    }
    along = {
        name: step @ steps["simple"] / (step.norm() * steps["simple"].norm()) for name, step in steps.items()
    }
    assert abs(along["shared-weight"] - 1) < 1e-12
    assert along["infonce"] < 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exponentials_before_the_logarithm_overflow(dtype: torch.dtype, generator: torch.Generator) -> None:
    first, second = torch.randn(2, 8, 5, generator=generator, dtype=torch.float64).to(dtype)
    tau = 0.99 / math.log(torch.finfo(dtype).max)
    rows = torch.nn.functional.normalize(torch.cat([first, second]), dim=-1)
    masked = torch.exp(rows @ rows.mT / tau) * (1 - torch.eye(16, dtype=dtype))
    assert masked.sum(-1).log().isnan().all()
    first.requires_grad_()
    loss = nt_xent(first, second, tau)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, first)[0].isfinite().all()


def test_the_exact_operator_gives_the_expected_step(generator: torch.Generator) -> None:
    tree = LatentTree.regular(2, polarity=(0.5, 1.0), root_polarity=0.3, generator=generator)
    world = ExactTree(tree)
    net = TreeNetwork.random(tree, 3, seeds=1, generator=generator, dtype=torch.float64)
    loss = world.expected_loss(net(world.pixels), SimpleContrastive()).sum()
    exact = node_operators(net, world.pixels, world.contrast, tree.root_polarity).updates()
    expected = -0.5 * gradients(loss, *net.weights)
    torch.testing.assert_close(torch.cat([u.flatten() for u in exact]), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("bias", "normalise"), [(False, False), (False, True), (True, False), (True, True)])
def test_levels_gain_alike_only_without_biases(
    bias: bool, normalise: bool, generator: torch.Generator
) -> None:
    tree = LatentTree.regular(2, polarity=(0.5, 1.0), generator=generator)
    world = ExactTree(tree)
    net = TreeNetwork.random(
        tree,
        8,
        seeds=1,
        init="standard",
        bias=bias,
        normalise=normalise,
        generator=generator,
        dtype=torch.float64,
    )
    loss = world.expected_loss(net(world.pixels), SimpleContrastive()).sum()
    steps = torch.autograd.grad(loss, list(net.weights))
    gains = torch.stack([-(w * g).sum() for w, g in zip(net.weights, steps, strict=True)]).detach()
    spread, size = float(gains.max() - gains.min()), float(gains.abs().max())
    if bias:
        assert spread > 1e-6
    else:
        assert spread < 1e-14
        assert (size < 1e-14) == normalise
