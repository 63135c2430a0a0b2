from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssl_theory import reference
from ssl_theory.checks import relative_error
from ssl_theory.losses import ContrastiveLoss, InfoNCE, SimpleContrastive, SoftTriplet, weights
from ssl_theory.networks import ReLUNetwork, vec
from ssl_theory.operators import (
    between_variance,
    covariance_operator,
    expected_loss,
    leading_operator,
    pairs,
    residue,
    within_variance,
)
from ssl_theory.reference import PairWeights
from ssl_theory.views import between_trace, within_trace
from tests.cases import IDS, LOSSES, World, lists, make_world, trainable, worlds

TOL = 1e-12


def slow_arguments(world: World) -> tuple[list[reference.Matrix], list[list[list[float]]], int]:
    return [lists(w) for w in world.net.weights], lists(world.views), world.layer


def assert_equal(value: torch.Tensor, slow: reference.Matrix) -> None:
    assert relative_error(value, torch.tensor(slow, dtype=value.dtype)) < TOL


@pytest.mark.parametrize(("loss", "xi"), LOSSES, ids=IDS)
@pytest.mark.parametrize("negatives", [1, 2])
@given(world=worlds(max_objects=3, max_views=2))
@settings(max_examples=8)
def test_operators_equal_the_loops(
    loss: ContrastiveLoss, xi: PairWeights, negatives: int, world: World
) -> None:
    fast = (world.net, world.views, world.layer, loss, negatives)
    slow = slow_arguments(world)
    assert_equal(covariance_operator(*fast), reference.covariance_operator(*slow, xi, negatives))
    assert_equal(leading_operator(*fast), reference.leading_operator(*slow, xi, negatives))


@given(worlds())
def test_variances_equal_the_loops(world: World) -> None:
    fast, slow = (world.net, world.views, world.layer), slow_arguments(world)
    assert_equal(between_variance(*fast), reference.between_variance(*slow))
    assert_equal(within_variance(*fast), reference.within_variance(*slow))


@pytest.mark.parametrize(("loss", "_xi"), LOSSES, ids=IDS)
@pytest.mark.parametrize("negatives", [1, 2])
@given(world=worlds(max_objects=3))
@settings(max_examples=15)
def test_update_is_twice_the_operator_times_the_weights(
    loss: ContrastiveLoss, _xi: PairWeights, negatives: int, world: World
) -> None:
    net = trainable(world.net)
    gradients = torch.autograd.grad(expected_loss(net, world.views, loss, negatives), net.weights)
    for layer, (weight, gradient) in enumerate(zip(world.net.weights, gradients, strict=True), start=1):
        operator = covariance_operator(world.net, world.views, layer, loss, negatives)
        assert relative_error(vec(gradient), -2 * operator @ vec(weight)) < TOL


@given(worlds())
def test_simple_operator_is_the_variance_of_mean_connections(world: World) -> None:
    """T3, with its two scalar corollaries."""
    for layer, weight in enumerate(world.net.weights, start=1):
        operator = covariance_operator(world.net, world.views, layer)
        between = between_variance(world.net, world.views, layer)
        assert relative_error(operator, between) < TOL
        assert relative_error(leading_operator(world.net, world.views, layer), between) < TOL
        variance = between_trace(world.net(world.views))
        assert relative_error(vec(weight) @ operator @ vec(weight), variance) < TOL
        assert relative_error(expected_loss(world.net, world.views), -variance) < TOL
        assert torch.linalg.eigvalsh(operator).min() > -TOL


@given(worlds())
def test_layers_and_neurons_stay_balanced(world: World) -> None:
    net = trainable(world.net)
    for loss in (SimpleContrastive(), InfoNCE(0.5)):
        gradients = torch.autograd.grad(expected_loss(net, world.views, loss), net.weights)
        pairs_of = [w.detach() * g for w, g in zip(net.weights, gradients, strict=True)]
        for below, above in pairwise(pairs_of):
            assert relative_error(below.sum(1), above.sum(0)) < TOL


@given(worlds())
def test_one_step_moves_the_balance_by_eta_squared(world: World) -> None:
    net, eta = trainable(world.net), 0.3
    gradients = torch.autograd.grad(expected_loss(net, world.views), net.weights)

    def gaps(tensors: list[torch.Tensor]) -> torch.Tensor:
        norms = torch.stack([t.detach().square().sum() for t in tensors])
        return norms[:, None] - norms[None]

    after = [w - eta * g for w, g in zip(net.weights, gradients, strict=True)]
    drift = gaps(after) - gaps(list(net.weights))
    assert relative_error(drift, eta**2 * gaps(list(gradients))) < TOL


@given(worlds())
def test_positives_alone_give_minus_the_variance_within(world: World) -> None:
    net = trainable(world.net)
    loss = 2 * within_trace(net(world.views)) / 2
    (gradient,) = torch.autograd.grad(loss, net.weights[world.layer - 1])
    within = within_variance(world.net, world.views, world.layer)
    assert relative_error(vec(gradient), 2 * within @ vec(world.weight)) < TOL
    assert torch.linalg.eigvalsh(within).min() > -TOL


@given(worlds(max_objects=3))
def test_between_and_within_add_up_to_the_total_variance(world: World) -> None:
    connections = world.net.connection(world.views, world.layer).flatten(0, 1)
    centred = connections - connections.mean(0)
    total = torch.einsum("mio,mjo->ij", centred, centred) / len(centred)
    parts = between_variance(world.net, world.views, world.layer)
    parts = parts + within_variance(world.net, world.views, world.layer)
    assert relative_error(parts, total) < TOL


@given(st.integers(0, 100), st.floats(0.1, 2.0))
def test_two_objects_only_rescale_the_variance(seed: int, tau: float) -> None:
    """For two objects the leading part is ξ̄ V_x[K̄]: the loss rescales time."""
    world = make_world([3, 4, 2], 2, 3, seed)
    means = world.net(world.views).mean(1)
    r = 0.5 * (means[0] - means[1]).square().sum()
    for loss, xi in [
        (InfoNCE(tau), torch.sigmoid(-r / tau) / tau),
        (SoftTriplet(tau, 0.2), torch.sigmoid((0.2 - r) / tau)),
    ]:
        expected = xi * between_variance(world.net, world.views, 1)
        assert relative_error(leading_operator(world.net, world.views, 1, loss), expected) < TOL


def test_residue_is_the_difference_and_vanishes_without_augmentation() -> None:
    world = make_world([3, 4, 2], 3, 2, seed=1)
    arguments = (world.net, world.views, 2, InfoNCE(0.5))
    difference = covariance_operator(*arguments) - leading_operator(*arguments)
    assert relative_error(residue(*arguments), difference) < TOL
    assert residue(*arguments).norm() > 1e-3
    still = world.views.mean(1, keepdim=True).expand(-1, 2, -1)
    assert residue(world.net, still, 2, InfoNCE(0.5)).abs().max() < 1e-14


def test_high_temperature_recovers_the_simple_operator_up_to_scale() -> None:
    world = make_world([3, 4, 2], 3, 2, seed=2)
    tau = 1e9
    nce = covariance_operator(world.net, world.views, 1, InfoNCE(tau), 2)
    # each of H + 1 terms weighs the same: ξ_k = 1/(τ(H + 1)), two of them
    assert relative_error(nce * tau * 3 / 2, covariance_operator(world.net, world.views, 1)) < 1e-8


@pytest.mark.parametrize("negatives", [1, 2])
def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch, negatives: int) -> None:
    world = make_world([3, 3, 2], 3, 2, seed=4)
    arguments = (world.net, world.views, 1, InfoNCE(0.3), negatives)
    whole = covariance_operator(*arguments), expected_loss(world.net, world.views, *arguments[3:])
    monkeypatch.setattr(weights, "_CHUNK", 1)
    parts = covariance_operator(*arguments), expected_loss(world.net, world.views, *arguments[3:])
    assert all(relative_error(a, b) < TOL for a, b in zip(parts, whole, strict=True))


def test_single_precision_stays_single() -> None:
    world = make_world([3, 4, 2], 2, 2, seed=0)
    net = ReLUNetwork([w.float() for w in world.net.weights])
    for loss, _ in LOSSES:
        operator = covariance_operator(net, world.views.float(), 1, loss)
        assert operator.dtype == torch.float32
        assert relative_error(operator.double(), covariance_operator(world.net, world.views, 1, loss)) < 1e-5


@pytest.mark.bad_input
def test_bad_input() -> None:
    world = make_world([3, 4, 2], 2, 2, seed=0)
    for function in (covariance_operator, leading_operator, residue, between_variance, within_variance):
        with pytest.raises(ValueError, match="layer must be from 1 to 2, got 3"):
            function(world.net, world.views, 3)
        with pytest.raises(ValueError, match="views must have 3 dimensions"):
            function(world.net, world.views[0], 1)
        with pytest.raises(TypeError, match="x must have the dtype of the weights"):
            function(world.net, world.views.float(), 1)
    with pytest.raises(ValueError, match="negatives must be at least 1, got 0"):
        covariance_operator(world.net, world.views, 1, InfoNCE(1.0), 0)
    with pytest.raises(ValueError, match=r"negatives = 20 would take 1.8e\+14 evaluations"):
        covariance_operator(world.net, world.views, 1, InfoNCE(1.0), 20)
    with pytest.raises(
        ValueError, match="part must be 'exact', 'leading', 'between' or 'within', got 'most'"
    ):
        pairs.form_of("most", world.net(world.views), InfoNCE(1.0))  # type: ignore[arg-type]
