from __future__ import annotations

import math
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ssl_theory.checks import relative_error
from ssl_theory.losses import (
    barlow_twins,
    cross_correlation_penalty,
    feature_covariance,
    invariance_penalty,
    off_diagonal_penalty,
    variance_penalty,
    vicreg,
    vicreg_penalty,
)
from tests.cases import lists

TOL = 1e-12
sizes, widths, seeds = st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**31)


def views(b: int, n: int, seed: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, b, n, generator=g, dtype=torch.float64) + 0.5
    return first, second


def covariance(left: list[float], right: list[float], divisor: int) -> float:
    a, b = fmean(left), fmean(right)
    return sum((u - a) * (v - b) for u, v in zip(left, right, strict=True)) / divisor


def vicreg_by_loops(first: Tensor, second: Tensor, gamma: float, eps: float) -> list[float]:
    """Return the terms of equations (1) to (5): invariance, variance terms, covariance terms."""
    b, n = first.shape
    distances = fmean(
        sum((u - v) ** 2 for u, v in zip(f, g, strict=True))
        for f, g in zip(*map(lists, (first, second)), strict=True)
    )
    spread = squares = 0.0
    for z in (lists(first.mT), lists(second.mT)):
        spread += fmean(max(0.0, gamma - math.sqrt(covariance(c, c, b - 1) + eps)) for c in z)
        squares += sum(covariance(z[i], z[j], b - 1) ** 2 for i in range(n) for j in range(n) if i != j) / n
    return [distances, spread, squares]


def barlow_by_loops(first: Tensor, second: Tensor, weight: float) -> float:
    """Return equations (1) and (2)."""
    left, right = ([[v - fmean(c) for v in c] for c in lists(z.mT)] for z in (first, second))
    total = 0.0
    for i, u in enumerate(left):
        for j, v in enumerate(right):
            size = math.sqrt(sum(a * a for a in u)) * math.sqrt(sum(a * a for a in v))
            r = sum(a * b for a, b in zip(u, v, strict=True)) / size
            total += (1 - r) ** 2 if i == j else weight * r * r
    return total


@given(sizes, widths, seeds, st.floats(0.1, 3))
def test_vicreg_equals_the_loops(b: int, n: int, seed: int, gamma: float) -> None:
    first, second = views(b, n, seed)
    slow = vicreg_by_loops(first, second, gamma, 1e-3)
    value = vicreg(first, second, invariance=3.0, variance=5.0, cross=7.0, target=gamma, epsilon=1e-3)
    known = 3 * slow[0] + 5 * slow[1] + 7 * slow[2]
    assert float(value) == pytest.approx(known, rel=1e-11)


@given(sizes, st.integers(2, 4), seeds)
def test_vicreg_as_the_published_program_normalises_it(b: int, n: int, seed: int) -> None:
    """Value and gradient: mean over entries, half the sum of the variance terms."""
    first, second = (z.requires_grad_() for z in views(b, n, seed))
    spread = squares = torch.zeros((), dtype=torch.float64)
    for z in (first, second):
        c = torch.cov(z.mT)
        spread = spread + F.relu(1 - torch.sqrt(z.var(0) + 1e-4)).mean() / 2
        squares = squares + (c.square().sum() - c.diagonal().square().sum()) / n
    known = 25 * F.mse_loss(first, second) + 25 * spread + squares
    value = vicreg(first, second, invariance=25 / n, variance=12.5)
    assert relative_error(value, known) < TOL
    for one, two in zip(*(torch.autograd.grad(v, (first, second)) for v in (value, known)), strict=True):
        assert relative_error(one, two) < 1e-11


@given(st.integers(3, 6), widths, seeds)
def test_barlow_twins_equals_the_loops(b: int, n: int, seed: int) -> None:
    first, second = views(b, n, seed)
    value = barlow_twins(first, second, weight=0.3, epsilon=0.0)
    assert float(value) == pytest.approx(barlow_by_loops(first, second, 0.3), rel=1e-10)


@given(st.integers(3, 6), widths, seeds)
def test_barlow_twins_as_the_published_program_normalises_it(b: int, n: int, seed: int) -> None:
    first, second = (z.requires_grad_() for z in views(b, n, seed))
    one, two = (F.batch_norm(z, None, None, training=True, eps=1e-5) for z in (first, second))
    r = one.mT @ two / b
    own = torch.eye(n, dtype=torch.bool)
    known = (1 - r[own]).square().sum() + 5.1e-3 * r[~own].square().sum()
    value = barlow_twins(first, second, weight=5.1e-3)
    assert relative_error(value, known) < TOL
    for left, right in zip(*(torch.autograd.grad(v, (first, second)) for v in (value, known)), strict=True):
        assert relative_error(left, right) < 1e-10


@given(st.integers(1, 4), st.integers(1, 3), widths, seeds)
def test_covariances_equal_the_loops(n: int, a: int, width: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, a, width, generator=g, dtype=torch.float64)
    for branches, rows in ((False, outputs.flatten(0, 1)), (True, outputs.flatten(1))):
        columns = lists(rows.mT)
        known = [[covariance(u, v, len(rows)) for v in columns] for u in columns]
        found = feature_covariance(outputs, branches=branches)
        assert relative_error(found, torch.tensor(known, dtype=torch.float64)) < TOL


def test_what_is_wide_enough_is_let_alone() -> None:
    wide = torch.diag(torch.tensor([1.0, 9.0]))
    assert float(variance_penalty(wide, epsilon=0.0)) == 0.0
    assert float(off_diagonal_penalty(wide)) == 0.0


@pytest.mark.bad_input
def test_bad_input() -> None:
    f, c = torch.ones(3, 2), torch.eye(4)
    with pytest.raises(ValueError, match=r"first and second must share a shape \(B ≥ 2, n_L ≥ 1\)"):
        vicreg(f, f[:2])
    with pytest.raises(ValueError, match=r"first and second must share a shape \(B ≥ 2, n_L ≥ 1\)"):
        barlow_twins(f[:1], f[:1])
    with pytest.raises(ValueError, match="epsilon must not be negative, got -1.0"):
        variance_penalty(c, epsilon=-1.0)
    with pytest.raises(ValueError, match="epsilon must not be negative, got -1.0"):
        barlow_twins(f, f, epsilon=-1.0)
    with pytest.raises(ValueError, match=r"covariance must be a square matrix, got shape \(3, 2\)"):
        off_diagonal_penalty(f)
    with pytest.raises(TypeError, match="covariance must be a torch tensor, got float"):
        variance_penalty(1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="covariance must have 2n rows, n for each view, got 3"):
        cross_correlation_penalty(torch.eye(3))
    with pytest.raises(ValueError, match="size must be at least 2, got 1"):
        vicreg_penalty(c, 1)
    with pytest.raises(TypeError, match="weight must be a real number, got 'all'"):
        cross_correlation_penalty(c, "all")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="invariance must be a real number, got None"):
        vicreg(f, f, invariance=None)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"outputs must have shape \(N, 2, n_L\) without zeros, got \(3, 1, 2"
    ):
        invariance_penalty(f.unsqueeze(1))
    with pytest.raises(ValueError, match=r"outputs must have no dimension of size 0, got shape \(0, 2, 2\)"):
        feature_covariance(torch.ones(0, 2, 2))
    with pytest.raises(ValueError, match=r"outputs must have 3 dimensions \(N objects, A"):
        feature_covariance(f)
