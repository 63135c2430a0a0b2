from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_theory.checks import relative_error
from ssl_theory.losses import (
    ContrastiveLoss,
    InfoNCE,
    barlow_twins,
    cross_correlation_penalty,
    invariance_penalty,
    mean_loss,
    nt_xent,
    off_diagonal_penalty,
    spectral_contrastive,
    variance_penalty,
    vicreg,
    vicreg_penalty,
)
from ssl_theory.networks import vec
from ssl_theory.operators import (
    OutputLoss,
    covariance_operator,
    feature_weights,
    operator,
    sample_weights,
)
from ssl_theory.reference import PairWeights
from tests.cases import IDS, LOSSES, World, make_world, trainable, worlds

TOL = 1e-11
Whole = Callable[[Tensor], Tensor]


def two_views(loss: Callable[[Tensor, Tensor], Tensor]) -> Whole:
    return lambda f: loss(f[:, 0], f[:, 1])


def spread_and_cross(c: Tensor) -> Tensor:
    return variance_penalty(c) + off_diagonal_penalty(c)


CASES: dict[str, tuple[Whole, OutputLoss]] = {
    "spectral": (spectral_contrastive, OutputLoss(samples=spectral_contrastive)),
    "infonce": (
        partial(mean_loss, loss=InfoNCE(0.5)),
        OutputLoss(samples=partial(mean_loss, loss=InfoNCE(0.5))),
    ),
    "nt-xent": (
        two_views(partial(nt_xent, temperature=0.5)),
        OutputLoss(samples=two_views(partial(nt_xent, temperature=0.5))),
    ),
    "vicreg": (
        two_views(vicreg),
        OutputLoss(
            samples=lambda f: 25 * invariance_penalty(f),
            features=partial(vicreg_penalty, size=5),
            branches=True,
        ),
    ),
    "barlow": (two_views(barlow_twins), OutputLoss(features=cross_correlation_penalty, branches=True)),
    "pooled": (
        lambda f: spread_and_cross(torch.cov(f.flatten(0, 1).mT, correction=0)),
        OutputLoss(features=spread_and_cross),
    ),
}


def five_objects(seed: int) -> World:
    return make_world([4, 6, 5, 3], 5, 2, seed=seed)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_update_is_twice_the_operator_on_the_weights(name: str, seed: int) -> None:
    whole, loss = CASES[name]
    world = five_objects(seed)
    net = trainable(world.net)
    outputs = net(world.views)
    assert relative_error(loss(outputs), whole(outputs)) < TOL
    gradients = torch.autograd.grad(whole(outputs), net.weights)
    assert max(g.norm() for g in gradients) > 1e-3
    for layer, (weight, gradient) in enumerate(zip(world.net.weights, gradients, strict=True), start=1):
        op = operator(world.net, world.views, layer, loss=loss)
        assert relative_error(2 * (op @ vec(weight)), -vec(gradient)) < TOL
        assert relative_error(2 * op.dense() @ vec(weight), -vec(gradient)) < TOL
        assert relative_error(op.dense(), op.dense().mT) < TOL


@pytest.mark.parametrize("name", CASES)
def test_spectra_and_modules_agree_with_the_matrix(name: str) -> None:
    _, loss = CASES[name]
    world = five_objects(3)
    module = nn.Sequential(*[part for w in world.net.weights for part in (linear(w), nn.ReLU())][:-1]).eval()
    for layer, place in ((1, "0"), (2, "2"), (3, "4")):
        dense = covariance_operator(world.net, world.views, layer, loss)
        values = torch.linalg.eigvalsh(dense).flip(0)
        op = operator(module, world.views, place, loss=loss)
        assert relative_error(op.dense(), dense) < TOL
        for found in (op.spectrum(), operator(world.net, world.views, layer, loss=loss).spectrum()):
            both = sorted_without_zeros(found), sorted_without_zeros(values)
            assert relative_error(*both) < 1e-10


def sorted_without_zeros(values: Tensor) -> Tensor:
    return values[values.abs() > 1e-10 * values.abs().max()].sort().values


def linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    layer.weight.data = weight
    return layer


@pytest.mark.parametrize(("loss", "_xi"), LOSSES, ids=IDS)
@given(world=worlds(max_objects=3))
@settings(max_examples=8)
def test_losses_of_distances_give_the_operators_of_their_pairs(
    loss: ContrastiveLoss, _xi: PairWeights, world: World
) -> None:
    """T4 is a case of T13: Λ is the Laplacian of the signed pair weights, its rows sum to 0."""
    weights = sample_weights(partial(mean_loss, loss=loss), world.net(world.views))
    assert weights.sum(1).abs().max() < 1e-11 * max(1.0, float(weights.abs().max()))
    same = covariance_operator(
        world.net, world.views, world.layer, OutputLoss(samples=partial(mean_loss, loss=loss))
    )
    assert relative_error(same, covariance_operator(world.net, world.views, world.layer, loss)) < TOL


@given(worlds())
def test_weights_of_the_spectral_loss_in_closed_form(world: World) -> None:
    outputs = world.net(world.views)
    n, a, _ = outputs.shape
    flat = outputs.flatten(0, 1)
    pairs = torch.kron(torch.eye(n), torch.ones(a, a)).double() / (n * a * a)
    closed = 2 * pairs - 2 * flat @ flat.mT / (n * a) ** 2
    assert relative_error(sample_weights(spectral_contrastive, outputs), closed) < TOL


def test_weights_of_a_variance_penalty_in_closed_form() -> None:
    c = torch.diag(torch.tensor([0.25, 0.49, 4.0], dtype=torch.float64)) + 0.01
    found = feature_weights(partial(variance_penalty, epsilon=0.0), c)
    deviations = c.diagonal().sqrt()
    closed = torch.diag((deviations < 1).double() / (2 * 3 * deviations))
    assert relative_error(found, closed) < TOL
    assert (
        relative_error(feature_weights(off_diagonal_penalty, c), -2 * (c - torch.diag(c.diagonal())) / 3)
        < TOL
    )


def test_one_object_and_one_view() -> None:
    world = make_world([2, 3, 2], 1, 1, seed=0)
    op = operator(world.net, world.views, 1, loss=OutputLoss(features=off_diagonal_penalty))
    assert op.dense().abs().max() == 0


@pytest.mark.bad_input
def test_bad_input() -> None:
    f = torch.ones(2, 2, 3)
    with pytest.raises(ValueError, match="give at least one of samples and features"):
        OutputLoss()
    with pytest.raises(TypeError, match="samples must be a function, got str"):
        OutputLoss(samples="spectral")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="branches must be True or False, got 1"):
        OutputLoss(samples=spectral_contrastive, branches=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="samples must return a tensor, got float"):
        OutputLoss(samples=lambda f: 1.0).form(f)  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match=r"samples must return a scalar, got shape \(2,\)"):
        sample_weights(lambda f: f.sum((1, 2)), f)
    with pytest.raises(ValueError, match="samples must be differentiable, got a value without a gradient"):
        sample_weights(lambda f: torch.zeros(()), f)
    with pytest.raises(ValueError, match=r"features must return a scalar, got shape \(3, 3\)"):
        feature_weights(lambda c: c, torch.eye(3))
    with pytest.raises(ValueError, match=r"outputs must have 3 dimensions \(N objects, A"):
        sample_weights(spectral_contrastive, f[0])
    with pytest.raises(TypeError, match="covariance must be a torch tensor, got float"):
        feature_weights(torch.trace, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the loss's derivative must be finite"):
        feature_weights(partial(variance_penalty, epsilon=0.0), torch.zeros(2, 2))


@pytest.mark.bad_input
def test_what_is_no_loss_of_inner_products_is_refused() -> None:
    world = five_objects(0)
    for loss in (lambda f: f.sum(), lambda f: F.relu(f).square().sum(), lambda f: f[..., 0].square().sum()):
        with pytest.raises(
            ValueError, match="samples must depend on the outputs through their inner products"
        ):
            operator(world.net, world.views, 1, loss=OutputLoss(samples=loss))
    with pytest.raises(ValueError, match="part must be 'exact', 'between' or 'within' for an OutputLoss"):
        operator(world.net, world.views, 1, part="leading", loss=OutputLoss(samples=spectral_contrastive))
