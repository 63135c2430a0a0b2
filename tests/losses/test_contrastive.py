from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from ssl_theory.checks import relative_error
from ssl_theory.losses import (
    ContrastiveLoss,
    InfoNCE,
    SimpleContrastive,
    SoftTriplet,
    half_squared_distances,
)
from ssl_theory.reference import PairWeights
from tests.cases import IDS, LOSSES, lists, seeds

TOL = 1e-12
temperatures = st.floats(0.05, 20.0)


def distances(batch: int, negatives: int, seed: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    r_pos = torch.rand(batch, generator=g, dtype=torch.float64)
    return r_pos.requires_grad_(), torch.rand(
        batch, negatives, generator=g, dtype=torch.float64
    ).requires_grad_()


def losses_at(temperature: float) -> list[ContrastiveLoss]:
    return [SimpleContrastive(), SoftTriplet(temperature, 0.2), InfoNCE(temperature)]


@given(st.integers(0, 4), st.integers(1, 5), seeds, temperatures)
def test_derivatives_are_the_pair_weights_and_sum_to_zero(b: int, h: int, seed: int, tau: float) -> None:
    for loss in losses_at(tau):
        r_pos, r_neg = distances(b, h, seed)
        d_pos, d_neg = torch.autograd.grad(loss(r_pos, r_neg).sum(), (r_pos, r_neg))
        assert relative_error(loss.pair_weights(r_pos, r_neg), -d_neg) < TOL
        assert relative_error(d_pos, -d_neg.sum(-1)) < TOL
        assert (d_pos > 0).all()
        assert (d_neg < 0).all()


@pytest.mark.parametrize(("loss", "xi"), LOSSES, ids=IDS)
@pytest.mark.parametrize("negatives", [1, 3])
def test_pair_weights_equal_the_loops(loss: ContrastiveLoss, xi: PairWeights, negatives: int) -> None:
    r_pos, r_neg = distances(5, negatives, 7)
    slow = [xi(float(p), lists(n)) for p, n in zip(r_pos.detach(), r_neg.detach(), strict=True)]
    assert relative_error(loss.pair_weights(r_pos, r_neg), torch.tensor(slow, dtype=torch.float64)) < TOL


@given(st.integers(1, 4), st.integers(1, 5), seeds, temperatures)
def test_losses_as_their_definitions_read(b: int, h: int, seed: int, tau: float) -> None:
    p, n = (t.detach() for t in distances(b, h, seed))
    assert relative_error(SimpleContrastive()(p, n), p - n.sum(-1) / h) < TOL
    hinge = tau * torch.log(1 + torch.exp((p[:, None] - n + 0.2) / tau))
    assert relative_error(SoftTriplet(tau, 0.2)(p, n), hinge.sum(-1) / h) < 1e-10
    positive, negative = torch.exp(-p / tau), torch.exp(-n / tau).sum(-1)
    assert relative_error(InfoNCE(tau)(p, n), -torch.log(positive / (positive + negative))) < 1e-10


@given(st.integers(1, 4), st.integers(1, 5), seeds, temperatures)
def test_infonce_is_cross_entropy_with_the_positive_as_label(b: int, h: int, seed: int, tau: float) -> None:
    p, n = distances(b, h, seed)
    logits = -torch.cat([p[:, None], n], -1) / tau
    expected = F.cross_entropy(logits, torch.zeros(b, dtype=torch.long), reduction="none")
    assert relative_error(InfoNCE(tau)(p, n), expected) < TOL


@given(st.integers(1, 4), seeds, temperatures)
def test_triplet_and_infonce_agree_for_one_negative_and_no_margin(b: int, seed: int, tau: float) -> None:
    p, n = distances(b, 1, seed)
    assert relative_error(SoftTriplet(tau)(p, n), tau * InfoNCE(tau)(p, n)) < TOL


@given(st.integers(1, 5), seeds, st.floats(1e-4, 1.0))
def test_small_temperatures_approach_the_hinge(h: int, seed: int, tau: float) -> None:
    p, n = (t.detach() for t in distances(4, h, seed))
    one = n[:, :1]
    gap = SoftTriplet(tau, 0.1)(p, one) - (p - one[:, 0] + 0.1).clamp(min=0)
    assert gap.min() >= -TOL
    assert gap.max() <= tau * math.log(2) + TOL
    gap = tau * InfoNCE(tau)(p, n) - (p - n.min(-1).values).clamp(min=0)
    assert gap.min() >= -TOL
    assert gap.max() <= tau * math.log(1 + h) + TOL


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ratio", [1e2, 1e4, 1e7])
def test_extreme_ratios_stay_finite_and_exact(dtype: torch.dtype, ratio: float) -> None:
    tau = 1e-3
    far, near = ratio * tau, 0.0
    p = torch.tensor([far, near, far, near], dtype=dtype, requires_grad=True)
    n = torch.tensor([[near], [far], [far], [near]], dtype=dtype, requires_grad=True)
    for loss, unit in [(InfoNCE(tau), tau), (SoftTriplet(tau), 1.0)]:
        value = loss(p, n)
        d_pos, d_neg = torch.autograd.grad(value.sum(), (p, n))
        assert torch.isfinite(torch.cat([value, d_pos, d_neg[:, 0]])).all()
        expected = torch.tensor([far, 0.0, tau * math.log(2), tau * math.log(2)], dtype=dtype) / unit
        assert relative_error(value, expected) < 4 * torch.finfo(dtype).eps
        expected = torch.tensor([1.0, 0.0, 0.5, 0.5], dtype=dtype) / unit
        assert relative_error(d_pos, expected) < 4 * torch.finfo(dtype).eps
        assert torch.isfinite(loss.pair_weights(p, n)).all()


def test_moderate_ratios_keep_all_digits() -> None:
    """Where torch's own softplus has already dropped the exponential."""
    p = torch.tensor([25.0], dtype=torch.float64)
    n = torch.zeros(1, 1, dtype=torch.float64)
    exact = 25.0 + math.log1p(math.exp(-25.0))
    assert abs(SoftTriplet(1.0)(p, n).item() - exact) / exact < 1e-15


@pytest.mark.parametrize(("loss", "_xi"), LOSSES, ids=IDS)
def test_gradcheck(loss: ContrastiveLoss, _xi: PairWeights) -> None:
    assert isinstance(loss, ContrastiveLoss)
    assert gradcheck(loss, distances(3, 2, 1))


def test_distances_of_close_pairs_keep_their_digits() -> None:
    left = torch.tensor([[1e8, 0.0]], dtype=torch.float64)
    right = torch.tensor([[1e8, 1e-3], [1e8, 2e-3]], dtype=torch.float64)
    r = half_squared_distances(left, right)
    assert relative_error(r * 1e6, torch.tensor([[0.5, 2.0]], dtype=torch.float64)) < TOL
    assert half_squared_distances(left[:0], right).shape == (0, 2)


@pytest.mark.bad_input
@pytest.mark.parametrize("make", [SoftTriplet, InfoNCE])
@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_temperatures(make: type, tau: float) -> None:
    with pytest.raises(ValueError, match="temperature must be finite and greater than 0, got"):
        make(tau)
    with pytest.raises(TypeError, match="temperature must be a real number, got 'warm'"):
        make("warm")


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("p", "n", "error", "message"),
    [
        (
            torch.ones(2),
            torch.ones(3, 1),
            ValueError,
            r"r_neg must have shape \(B = 2, H ≥ 1\).*got \(3, 1\)",
        ),
        (torch.ones(2), torch.ones(2, 0), ValueError, r"r_neg must have shape.*got \(2, 0\)"),
        (
            torch.ones(2),
            torch.ones(2),
            ValueError,
            r"r_neg must have 2 dimensions \(B, H\), got shape \(2,\)",
        ),
        (torch.ones(2, 1), torch.ones(2, 1), ValueError, r"r_pos must have 1 dimensions \(B,\)"),
        (torch.ones(2), torch.ones(2, 1).double(), TypeError, "r_neg must have the dtype of r_pos"),
        (torch.ones(2).int(), torch.ones(2, 1), TypeError, "r_pos must be float32 or float64"),
        (torch.ones(2), torch.ones(2, 1, device="meta"), ValueError, "r_neg must be on the device of r_pos"),
        (0.5, torch.ones(2, 1), TypeError, "r_pos must be a torch tensor, got float"),
    ],
)
def test_bad_distances(p: Tensor, n: Tensor, error: type[Exception], message: str) -> None:
    for loss, _ in LOSSES:
        with pytest.raises(error, match=message):
            loss(p, n)
        with pytest.raises(error, match=message):
            loss.pair_weights(p, n)


@pytest.mark.bad_input
def test_bad_margin() -> None:
    with pytest.raises(ValueError, match="margin must be finite, got inf"):
        SoftTriplet(1.0, float("inf"))


@pytest.mark.bad_input
def test_bad_points() -> None:
    points = torch.ones(2, 3)
    for left, right, error, message in [
        (points.numpy(), points, TypeError, "left must be a torch tensor, got ndarray"),
        (points, points.long(), TypeError, "right must be float32 or float64, got torch.int64"),
        (points, points.double(), TypeError, "right must have the dtype of left, torch.float32"),
        (points[0], points, ValueError, r"left and right must have shapes .*, got \(3,\) and \(2, 3\)"),
        (points, points[:, :2], ValueError, r"left and right must have shapes .*, got \(2, 3\) and \(2, 2\)"),
    ]:
        with pytest.raises(error, match=message):
            half_squared_distances(left, right)
