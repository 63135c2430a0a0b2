"""The losses of a batch of images, against loops over its pairs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ssl_theory.checks import relative_error
from ssl_theory.experiments.images import (
    ImageExperiment,
    batch_loss,
    exact_covariance_option,
    extra_pull,
    in_batch,
    infonce_balance,
    one_at_a_time,
)
from ssl_theory.losses import InfoNCE, SimpleContrastive, SoftTriplet, nt_xent, two_view_covariance_loss

SETTING = ImageExperiment(temperature=0.5)


def outputs(seed: int, size: int = 5) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, size, 3, generator=g, dtype=torch.float64)
    return first, second


@given(st.integers(0, 2**31))
def test_in_batch_infonce_is_nt_xent(seed: int) -> None:
    first, second = outputs(seed)
    assert relative_error(in_batch(InfoNCE(0.3), first, second), nt_xent(first, second, 0.3)) < 1e-12


@given(st.sampled_from([SimpleContrastive(), SoftTriplet(0.4, 0.1)]), st.integers(0, 2**31))
def test_in_batch_losses_against_loops(loss: Any, seed: int) -> None:
    first, second = outputs(seed)
    views = [v / v.norm() for v in (*first, *second)]
    total = 0.0
    for a, anchor in enumerate(views):
        r = [1 - float(anchor @ v) for v in views]
        negatives = [r[b] for b in range(10) if b % 5 != a % 5]
        total += float(loss(torch.tensor([r[(a + 5) % 10]]), torch.tensor([negatives]))) / 10
    assert float(in_batch(loss, first, second)) == pytest.approx(total, rel=1e-5)


@given(st.integers(0, 2**31))
def test_covariance_losses_and_beta(seed: int) -> None:
    first, second = outputs(seed)
    unit = F.normalize(first), F.normalize(second)
    expected = {
        "covariance": two_view_covariance_loss(*unit, InfoNCE(0.5), in_batch=True),
        "covariance-plain": two_view_covariance_loss(first, second, InfoNCE(0.5)),
    }
    for name, value in expected.items():
        one, two = unit if name == "covariance" else (first, second)
        extra = 3.0 * 0.5 * (one - two).square().sum(1).mean()
        plain, extended = (batch_loss(replace(SETTING, loss=name, beta=b))(first, second) for b in (0.0, 3.0))
        assert relative_error(plain, value) < 1e-12
        assert relative_error(extended, value + extra) < 1e-12


@given(st.integers(0, 2**31))
def test_balance_is_where_the_growth_of_norms_stops(seed: int) -> None:
    """On plain outputs: the derivative of E L + β E r_+ along the outputs themselves vanishes (T5)."""
    first, second = (z.requires_grad_() for z in outputs(seed))
    beta = infonce_balance(first.detach(), second.detach(), 0.7)
    r = torch.stack([torch.stack([0.5 * (u - v).square().sum() for v in second]) for u in first])
    others = r[~torch.eye(5, dtype=torch.bool)].view(5, 4)
    loss = (InfoNCE(0.7)(r.diagonal(), others) + beta * r.diagonal()).mean()
    gradients = torch.autograd.grad(loss, (first, second))
    radial = sum((g * z.detach()).sum() for g, z in zip(gradients, (first, second), strict=True))
    assert abs(radial.item()) < 1e-12 * max(1.0, beta)


def slow_nce(views: list[Tensor], tau: float) -> tuple[float, float]:
    """Return NT-Xent and the mean r_+ of unit views, the second half the partners of the first."""
    size, total, pull = len(views) // 2, 0.0, 0.0
    for a, anchor in enumerate(views):
        other = (a + size) % (2 * size)
        cosines = [float(anchor @ v) for v in views]
        exponents = [math.exp((c - cosines[other]) / tau) for b, c in enumerate(cosines) if b != a]
        total += math.log(sum(exponents)) / (2 * size)
        pull += (1 - cosines[other]) / (2 * size)
    return total, pull


@given(st.floats(-0.9, 5.0), st.integers(0, 2**31))
def test_released_beta_of_infonce(beta: float, seed: int) -> None:
    """−log softmax − (β/τ) cos, all over 1 + β, up to a constant: the book's β/τ, over 1 + β."""
    first, second = outputs(seed)
    released = replace(SETTING, beta=beta, beta_convention="released")
    nce, pull = slow_nce([v / v.norm() for v in (*first, *second)], 0.5)
    expected = (nce + beta / 0.5 * pull) / (1 + beta)
    assert float(batch_loss(released)(first, second)) == pytest.approx(expected, rel=1e-10, abs=1e-10)
    book = batch_loss(replace(SETTING, beta=beta / 0.5))(first, second) / (1 + beta)
    assert relative_error(batch_loss(released)(first, second), book) < 1e-12


@given(st.sampled_from(["covariance", "covariance-plain"]), st.floats(-3.0, 5.0), st.integers(0, 2**31))
def test_released_beta_of_the_covariance_losses(name: Any, beta: float, seed: int) -> None:
    """Twice the loss with β is −Σ_k w_k r̄_k + β Σ_k w_k r_+, the weights from means of the two views."""
    first, second = outputs(seed)
    tau, size = 0.5, len(first)
    one, two = (list(v) if name == "covariance-plain" else [r / r.norm() for r in v] for v in (first, second))
    total = 0.0
    for i in range(size):
        mean = [(u + v) / 2 for u, v in zip(one, two, strict=True)]
        others = [k for k in range(size) if k != i]
        away = [math.exp(-0.5 * float((mean[i] - mean[k]).square().sum()) / tau) for k in others]
        if name == "covariance":
            weights = [e / (1 + sum(away)) / tau for e in away]
        else:
            weights = [e / (1 + e) / tau / len(others) for e in away]
        apart = [0.5 * float((one[i] - one[k]) @ (two[i] - two[k])) for k in others]
        together = 0.5 * float((one[i] - two[i]).square().sum())
        total += sum(w * (beta * together - r) for w, r in zip(weights, apart, strict=True)) / size
    experiment = replace(SETTING, loss=name, beta=beta, beta_convention="released")
    assert 2 * float(batch_loss(experiment)(first, second)) == pytest.approx(total, rel=1e-10, abs=1e-12)


@given(st.sampled_from(["infonce", "covariance", "covariance-plain"]), st.integers(0, 2**31))
def test_a_negative_beta_pushes_the_views_of_an_object_apart(name: Any, seed: int) -> None:
    first, second = outputs(seed)
    first.requires_grad_()
    for convention in ("book", "released"):
        experiment = replace(SETTING, loss=name, beta=-0.5, beta_convention=convention)
        (gradient,) = torch.autograd.grad(extra_pull(experiment, first, second), first)
        step = first - 1e-4 * gradient
        before, after = (
            sum(0.5 * (a - b).square().sum() for a, b in zip(v, second, strict=True))
            if name == "covariance-plain"
            else sum(1 - F.cosine_similarity(a, b, dim=0) for a, b in zip(v, second, strict=True))
            for v in (first, step)
        )
        assert after > before


@pytest.mark.parametrize("loss", ["infonce", "covariance", "covariance-plain"])
def test_without_beta_the_conventions_agree(loss: Any) -> None:
    first, second = outputs(0)
    settings = [replace(SETTING, loss=loss, beta_convention=c) for c in ("book", "released")]
    book, released = (batch_loss(setting)(first, second) for setting in settings)
    assert torch.equal(book, released)


@given(st.sampled_from([InfoNCE(0.6), SoftTriplet(0.4, 0.1)]), st.integers(0, 2**31))
def test_one_negative_at_a_time_against_loops(loss: Any, seed: int) -> None:
    first, second = outputs(seed)
    views = [*first, *second]
    r = [[0.5 * float((a - b).square().sum()) for b in views] for a in views]
    losses = [
        float(loss(torch.tensor([r[a][(a + 5) % 10]]), torch.tensor([[r[a][b]]])))
        for a in range(10)
        for b in range(10)
        if b % 5 != a % 5
    ]
    found = float(one_at_a_time(loss, first, second))
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    named = batch_loss(replace(SETTING, loss="infonce-plain", temperature=0.6))(first, second)
    if isinstance(loss, InfoNCE):
        assert float(named) == pytest.approx(found, rel=1e-12)


@given(st.booleans(), st.sampled_from([0.0, -0.5, 3.0]), st.integers(0, 2**31))
def test_the_exact_covariance_option_against_loops(originals: bool, beta: float, seed: int) -> None:
    """Σ_k w_k ((1 + β) r_+ − r_-k), all 2B − 2 views of other objects the negatives of an anchor."""
    first, second = outputs(seed)
    plain, tau = outputs(seed + 1)[0] if originals else None, 0.5
    views = [v / v.norm() for v in (*first, *second)]
    seen = views if plain is None else [v / v.norm() for v in (*plain, *plain)]
    total = 0.0
    for a, anchor in enumerate(views):
        together = 1 - float(anchor @ views[(a + 5) % 10])
        for b in [b for b in range(10) if b % 5 != a % 5]:
            away = math.exp(-(1 - float(seen[a] @ seen[b])) / tau)
            weight = away / (1 + away) / (tau * 8)
            total += weight * ((1 + beta) * together - (1 - float(anchor @ views[b]))) / 10
    loss = "released-originals" if originals else "released-views"
    experiment = replace(SETTING, loss=loss, beta=beta, beta_convention="released", temperature=tau)
    found = batch_loss(experiment, plain)(first, second)
    assert float(found) == pytest.approx(total, rel=1e-10, abs=1e-12)


def test_no_gradient_flows_through_the_weights_of_the_option() -> None:
    first, second = outputs(3)
    leaf = first.clone().requires_grad_()
    value = exact_covariance_option(leaf, second, 0.5, originals=leaf)
    (with_weights,) = torch.autograd.grad(value, leaf)
    fixed = exact_covariance_option(leaf, second, 0.5, originals=first)
    torch.testing.assert_close(with_weights, torch.autograd.grad(fixed, leaf)[0])


@pytest.mark.bad_input
def test_originals_are_given_where_they_are_used() -> None:
    with pytest.raises(ValueError, match="originals must be given with loss 'released-originals'"):
        batch_loss(replace(SETTING, loss="released-originals"))
    with pytest.raises(ValueError, match="originals must be None with loss 'infonce'"):
        batch_loss(SETTING, torch.ones(4, 3))
