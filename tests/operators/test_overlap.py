from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ssl_theory.checks import relative_error
from ssl_theory.losses import ContrastiveLoss, InfoNCE, SimpleContrastive
from ssl_theory.networks import vec
from ssl_theory.operators import (
    WeightOperator,
    cosine,
    covariance_operator,
    expected_loss,
    explained_update,
    overlap,
    predicted_overlap,
    random_target,
)
from tests.cases import World, make_world, trainable, worlds
from tests.operators.test_modules import Book


@given(st.integers(1, 6), st.integers(0, 2**31))
def test_overlap_is_the_share_of_the_projection(k: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64))[0].view(6, 2, 3)
    change = torch.randn(2, 3, generator=g, dtype=torch.float64)
    inside = sum((b * change).sum() * b for b in basis[:k])
    expected = float(inside.norm() ** 2 / change.norm() ** 2)
    assert overlap(change, basis[:k]) == pytest.approx(expected)
    assert overlap(change, basis) == pytest.approx(1.0)
    assert overlap(5 * basis[0], basis[:k]) == pytest.approx(1.0)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**31))
def test_random_targets_are_one_for_each_object_or_view(n: int, a: int, width: int, seed: int) -> None:
    outputs = torch.zeros(n, a, width, dtype=torch.float64)
    alike = random_target(outputs, "object", torch.Generator().manual_seed(seed))
    apart = random_target(outputs, "view", torch.Generator().manual_seed(seed))
    assert alike.shape == apart.shape == outputs.shape
    assert alike.dtype == torch.float64
    assert torch.equal(alike, alike[:, :1].expand(n, a, width))
    assert len(alike.unique()) == n * width
    assert len(apart.unique()) == n * a * width


def test_random_targets_have_mean_zero_and_variance_one() -> None:
    drawn = random_target(torch.zeros(300, 10, 10), "view", torch.Generator().manual_seed(0))
    assert abs(float(drawn.mean())) < 4 / 30_000**0.5
    assert float(drawn.var()) == pytest.approx(1, abs=4 * (2 / 30_000) ** 0.5)


@given(st.floats(-3.1, 3.1), st.floats(0.01, 100.0))
def test_the_cosine_of_an_angle(angle: float, length: float) -> None:
    first = torch.tensor([[length, 0.0]])
    assert cosine(first, torch.tensor([[math.cos(angle), math.sin(angle)]])) == pytest.approx(
        math.cos(angle), abs=1e-6
    )
    assert math.isnan(cosine(first, 0 * first))


@pytest.mark.bad_input
def test_bad_changes_and_targets() -> None:
    with pytest.raises(ValueError, match=r"second must have the shape of first, \(2, 3\), got \(6,\)"):
        cosine(torch.ones(2, 3), torch.ones(6))
    with pytest.raises(ValueError, match="kind must be one of object, view, got 'pair'"):
        random_target(torch.ones(2, 2, 1), "pair", torch.Generator())  # type: ignore[arg-type]


def test_predicted_overlap_against_the_whole_spectrum() -> None:
    g = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    matrix = root @ root.mT
    op = WeightOperator(2, 3, matrix.dtype, matrix.device, lambda v: matrix @ v)
    values, basis = op.top(2)
    expected = float(values.square().sum() / torch.linalg.eigvalsh(matrix).square().sum())
    found = predicted_overlap(op, values, basis, probes=20_000, generator=g)
    assert found == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("loss", [SimpleContrastive(), InfoNCE(0.5)])
@given(world=worlds(max_objects=3))
def test_the_exact_operator_explains_everything(loss: ContrastiveLoss, world: World) -> None:
    net = trainable(world.net)
    gradients = torch.autograd.grad(expected_loss(net, world.views, loss, 2), net.weights)
    for layer, found in explained_update(world.net, world.views, loss=loss, negatives=2).items():
        if gradients[int(layer) - 1].norm() > 1e-6:
            assert found.cosine == pytest.approx(1.0, abs=1e-9)
            assert found.length == pytest.approx(1.0, abs=1e-9)


def test_other_parts_are_measured_against_the_gradient() -> None:
    world, loss = make_world([4, 5, 3, 2], 4, 3, seed=5, noise=1.0), InfoNCE(0.5)
    net = trainable(world.net)
    gradients = torch.autograd.grad(expected_loss(net, world.views, loss), net.weights)
    found = explained_update(world.net, world.views, [2], part="between", loss=loss)[2]
    between = covariance_operator(world.net, world.views, 2)
    asked, step = 2 * between @ vec(world.net.weights[1]), -vec(gradients[1])
    assert found.cosine == pytest.approx(float(asked @ step / (asked.norm() * step.norm())), rel=1e-9)
    assert found.length == pytest.approx(float(asked.norm() / step.norm()), rel=1e-9)
    assert abs(found.length - 1) > 0.1
    module = explained_update(Book(world.net).eval(), world.views, part="between", loss=loss)
    assert list(module) == ["stack.0", "stack.2", "stack.4"]
    assert module["stack.2"].cosine == pytest.approx(found.cosine, rel=1e-9)


def test_normalised_outputs_leave_the_operator_nothing_to_do() -> None:
    """Outputs that do not change with the size of the weights have Kᵀ vec(W) = 0."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5, bias=False), nn.BatchNorm1d(5, eps=1e-30)).double()
    views = torch.randn(4, 3, 3, dtype=torch.float64)
    found = explained_update(module, views, loss=InfoNCE(0.5), mode="batch")["0"]
    assert found.length < 1e-12


def test_expected_loss_of_a_module() -> None:
    world, loss = make_world([4, 5, 2], 3, 2, seed=1), InfoNCE(0.5)
    module = Book(world.net)
    value = expected_loss(module, world.views, loss, 2)
    assert relative_error(value.detach(), expected_loss(world.net, world.views, loss, 2)) < 1e-12
    gradient = torch.autograd.grad(value, module.stack[0].weight)[0]
    operator = covariance_operator(world.net, world.views, 1, loss, 2)
    assert relative_error(vec(gradient), -2 * operator @ vec(world.net.weights[0])) < 1e-12


@pytest.mark.bad_input
def test_bad_input() -> None:
    change, basis = torch.ones(2, 3), torch.ones(1, 3, 2)
    with pytest.raises(ValueError, match=r"basis must have shape \(k, 2, 3\), got \(1, 3, 2\)"):
        overlap(change, basis)
    with pytest.raises(ValueError, match=r"change must have 2 dimensions \(n_l, n_k\), got shape \(3,\)"):
        overlap(change[0], basis)
    op = WeightOperator(1, 1, torch.float32, torch.device("cpu"), lambda v: v)
    with pytest.raises(ValueError, match="probes must be at least 1, got 0"):
        predicted_overlap(op, torch.ones(1), torch.ones(1, 1, 1), probes=0, generator=torch.Generator())
    world = make_world([2, 2], 2, 1, seed=0)
    with pytest.raises(ValueError, match="layer must be from 1 to 1, got 2"):
        explained_update(world.net, world.views, [2])
