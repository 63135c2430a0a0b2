from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings

from ssl_theory import reference
from ssl_theory.checks import relative_error
from ssl_theory.losses import (
    ContrastiveLoss,
    InfoNCE,
    covariance_loss,
    leading_weights,
    mean_loss,
    two_view_covariance_loss,
)
from ssl_theory.networks import ReLUNetwork, vec
from ssl_theory.operators import leading_operator
from ssl_theory.reference import PairWeights
from tests.cases import IDS, LOSSES, World, lists, make_world, trainable, worlds

TOL = 1e-12


@pytest.mark.parametrize(("loss", "_xi"), LOSSES, ids=IDS)
@pytest.mark.parametrize("negatives", [1, 2])
@given(world=worlds())
@settings(max_examples=10)
def test_its_update_is_the_leading_operator(
    loss: ContrastiveLoss, _xi: PairWeights, negatives: int, world: World
) -> None:
    net = trainable(world.net)
    gradients = torch.autograd.grad(covariance_loss(net(world.views), loss, negatives), net.weights)
    for layer, (weight, gradient) in enumerate(zip(world.net.weights, gradients, strict=True), start=1):
        operator = leading_operator(world.net, world.views, layer, loss, negatives)
        assert relative_error(-vec(gradient), operator @ vec(weight)) < TOL


@pytest.mark.parametrize(("loss", "xi"), LOSSES, ids=IDS)
def test_its_value_equals_the_loops(loss: ContrastiveLoss, xi: PairWeights) -> None:
    world = make_world([3, 4, 2], 3, 2, seed=1)
    outputs = world.net(world.views)
    means = lists(outputs.mean(1))
    total = 0.0
    for left in means:
        for one in means:
            for two in means:
                r = [reference.distance(left, one), reference.distance(left, two)]
                total -= 0.5 * sum(w * d for w, d in zip(xi(0.0, r), r, strict=True)) / len(means) ** 3
    assert covariance_loss(outputs, loss, 2).item() == pytest.approx(total, rel=1e-12)


def batches(world: World, weights: torch.Tensor, draws: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gradients in the first layer, and values, of many two-view batches of two objects each."""
    g = torch.Generator().manual_seed(4)
    n, a, _ = world.views.shape
    objects = torch.randint(n, (draws, 2), generator=g)
    views = torch.randint(a, (draws, 2, 2), generator=g)

    def value(first_layer: torch.Tensor, pair: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        net = ReLUNetwork([first_layer, *world.net.weights[1:]])
        one, two = (net(world.views)[pair, some] for some in chosen.unbind(0))
        return two_view_covariance_loss(one, two, weights=weights[pair][:, pair])

    each = torch.func.vmap(torch.func.grad_and_value(value), (None, 0, 0))
    return each(world.net.weights[0], objects, views)


def test_two_views_are_unbiased_with_the_exact_weights() -> None:
    """T5: value and gradient over 10,000 draws within six standard errors of the exact ones."""
    world = make_world([2, 3, 2], 3, 2, seed=6)
    loss, draws = InfoNCE(0.4), 10_000
    net = trainable(world.net)
    exact = covariance_loss(net(world.views), loss)
    (gradient,) = torch.autograd.grad(exact, net.weights[0])
    outputs = world.net(world.views)
    weights = leading_weights(outputs, loss) * outputs.shape[0] ** 2  # ξ̄ of each pair, H = 1
    gradients, values = batches(world, weights, draws)
    pairs = ((values[:, None], exact.detach().reshape(1)), (gradients.flatten(1), gradient.flatten()))
    for sample, expected in pairs:
        error = sample.std(0) / draws**0.5
        moving = error > 0
        assert moving.any()
        assert ((sample.mean(0) - expected)[moving].abs() < 6 * error[moving]).all()


def test_estimated_weights_are_those_of_the_two_view_means() -> None:
    world = make_world([3, 4, 2], 4, 2, seed=2)
    first, second = world.net(world.views).unbind(1)
    loss = InfoNCE(0.3)
    r = reference_distances(0.5 * (first + second))
    pairwise = torch.tensor(
        [[1 / (1 + math.exp(d / 0.3)) / 0.3 for d in row] for row in r], dtype=torch.float64
    )
    value = two_view_covariance_loss(first, second, loss)
    assert relative_error(value, two_view_covariance_loss(first, second, weights=pairwise)) < TOL
    exponentials = torch.exp(-torch.tensor(r, dtype=torch.float64) / 0.3).fill_diagonal_(0)
    in_batch = exponentials / (1 + exponentials.sum(1, keepdim=True)) / 0.3
    value = two_view_covariance_loss(first, second, loss, in_batch=True)
    expected = two_view_covariance_loss(first, second, weights=in_batch, in_batch=True)
    assert relative_error(value, expected) < TOL


def reference_distances(points: torch.Tensor) -> list[list[float]]:
    rows = lists(points)
    return [[reference.distance(u, v) for v in rows] for u in rows]


def test_two_identical_views_give_the_exact_loss_of_the_batch() -> None:
    outputs = make_world([3, 4, 2], 4, 1, seed=3)
    points = outputs.net(outputs.views)[:, 0]
    weights = torch.full((4, 4), 0.7, dtype=torch.float64)
    r = torch.tensor(reference_distances(points), dtype=torch.float64)
    value = two_view_covariance_loss(points, points, weights=weights)
    assert relative_error(value, -0.5 * 0.7 * r.sum() / 12) < TOL


def test_no_gradient_flows_through_the_weights() -> None:
    points = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first = points.clone().requires_grad_()
    weights = torch.ones(4, 4, dtype=torch.float64, requires_grad=True)
    two_view_covariance_loss(first, points, weights=weights).backward()
    assert weights.grad is None
    assert first.grad is not None


@pytest.mark.bad_input
def test_bad_input() -> None:
    f = torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"first and second must share a shape \(B ≥ 2, n_L ≥ 1\)"):
        two_view_covariance_loss(f[:1], f[:1], InfoNCE(1.0))
    with pytest.raises(ValueError, match="give exactly one of loss and weights"):
        two_view_covariance_loss(f, f)
    with pytest.raises(ValueError, match=r"weights must have shape \(3, 3\), got \(2, 2\)"):
        two_view_covariance_loss(f, f, weights=torch.ones(2, 2))
    with pytest.raises(TypeError, match="second must have the dtype of first"):
        two_view_covariance_loss(f, f.double(), InfoNCE(1.0))


@pytest.mark.bad_input
def test_no_loss_and_no_tensor() -> None:
    outputs = torch.ones(2, 2, 3)
    with pytest.raises(TypeError, match="loss must be a contrastive loss with pair_weights, got NoneType"):
        covariance_loss(outputs, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="loss must be a contrastive loss with pair_weights, got str"):
        two_view_covariance_loss(outputs[0], outputs[1], "simple")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="outputs must be a torch tensor, got list"):
        covariance_loss([[[1.0]]], InfoNCE(1.0))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"outputs must have 3 dimensions \(N objects, A"):
        covariance_loss(outputs[0], InfoNCE(1.0))
    with pytest.raises(TypeError, match="weights must be a torch tensor, got float"):
        two_view_covariance_loss(outputs[0], outputs[1], weights=1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="weights must have the dtype of first, torch.float32"):
        two_view_covariance_loss(outputs[0], outputs[1], weights=torch.ones(2, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"outputs must have 3 dimensions \(N objects, A"):
        mean_loss(outputs[0], InfoNCE(1.0))
