"""When an augmentation is weak: own temperature, and what the variances say about it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from ssl_theory.losses import (
    InfoNCE,
    OutputMoments,
    augmentation_temperature,
    output_moments,
    own_temperature,
)


def rng(seed: int) -> torch.Generator:
    """Return a generator."""
    return torch.Generator().manual_seed(seed)


def distances(seed: int, anchors: int = 12, negatives: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Return distances of which negatives are farther on average, but not always."""
    draws = rng(seed)
    r_pos = torch.rand(anchors, generator=draws, dtype=torch.float64)
    r_neg = 2 * torch.rand(anchors, negatives, generator=draws, dtype=torch.float64)
    r_pos[0], r_neg[0] = 1.0, 0.5
    return r_pos, r_neg + max(0.0, 0.1 - float((r_neg - r_pos.unsqueeze(-1)).mean()))


@given(st.integers(0, 50), st.sampled_from([1, 2, 5]))
def test_it_is_the_temperature_of_the_least_loss(seed: int, negatives: int) -> None:
    r_pos, r_neg = distances(seed, negatives=negatives)
    found = own_temperature(r_pos, r_neg)
    if found == 0:
        assert (r_neg >= r_pos.unsqueeze(-1)).all()
        return

    def loss(exponent: float) -> float:
        total = 0.0
        for pos, row in zip(r_pos.tolist(), r_neg.tolist(), strict=True):
            total += math.log(1 + sum(math.exp((pos - neg) / (found * math.exp(exponent))) for neg in row))
        return total

    least = minimize_scalar(loss, bounds=(-0.5, 0.5), method="bounded", options={"xatol": 1e-9})
    assert abs(least.x) < 1e-5


@given(st.integers(0, 50), st.floats(0.01, 100.0))
def test_it_scales_with_the_distances(seed: int, scale: float) -> None:
    r_pos, r_neg = distances(seed, negatives=2)
    assert own_temperature(scale * r_pos, scale * r_neg) == pytest.approx(
        scale * own_temperature(r_pos, r_neg), rel=1e-9
    )


@given(st.integers(0, 50))
def test_growth_changes_its_sign_there(seed: int) -> None:
    r_pos, r_neg = distances(seed)
    tau, gaps = own_temperature(r_pos, r_neg), r_neg - r_pos.unsqueeze(-1)
    for factor, sign in ((0.9, -1), (1.1, 1)):
        weights = InfoNCE(factor * tau).pair_weights(r_pos, r_neg)
        assert sign * float((weights * gaps).sum()) > 0


def test_normal_gaps_have_half_their_variance_over_their_mean() -> None:
    gaps = 1.5 + 2.0 * torch.special.ndtri(torch.arange(0.5, 20000, dtype=torch.float64) / 20000)
    assert own_temperature(0 * gaps, gaps.unsqueeze(-1)) == pytest.approx(2.0**2 / (2 * 1.5), rel=1e-3)


def test_ends() -> None:
    one = torch.ones(3, dtype=torch.float64)
    assert own_temperature(one, 2 * one.unsqueeze(-1)) == 0
    assert own_temperature(one, one.unsqueeze(-1)) == math.inf
    assert own_temperature(2 * one, one.unsqueeze(-1)) == math.inf
    far = torch.tensor([[-1e-6], [1e6]], dtype=torch.float64)
    assert 0 < own_temperature(0 * far[:, 0], far) < 1e6
    assert augmentation_temperature(torch.zeros(3, 2, 1)) == math.inf


def slow_variance(outputs: torch.Tensor) -> float:
    """Return E Var(r_- − r_+ | x, x′)/(2 V_x) by loops over views."""
    n, a, _ = outputs.shape
    rows = outputs.tolist()
    r = lambda u, v: sum((p - q) ** 2 for p, q in zip(u, v, strict=True)) / 2  # noqa: E731
    spread, total = 0.0, 0.0
    for own in rows:
        for other in rows:
            gaps = [r(x, z) - r(x, y) for x in own for y in own for z in other]
            mean = sum(gaps) / len(gaps)
            spread += sum((gap - mean) ** 2 for gap in gaps) / len(gaps) / n**2
            total += mean / n**2
    assert len(gaps) == a**3
    return spread / (2 * total)


def test_variances_of_few_normal_views() -> None:
    # six points of mean 0 whose moments are those of a normal variable up to the fifth
    nodes = torch.tensor([-(3**0.5), 0, 0, 0, 0, 3**0.5], dtype=torch.float64)
    grid = torch.cartesian_prod(nodes, nodes)
    means = torch.tensor([[0.0, 1.0], [2.0, 0.5], [-1.0, 0.3]], dtype=torch.float64)
    mixing = torch.tensor([[1.0, 0.4], [0.0, 0.7]], dtype=torch.float64)
    outputs = means.unsqueeze(1) + grid @ mixing
    assert augmentation_temperature(outputs) == pytest.approx(slow_variance(outputs), rel=1e-12)


@given(st.integers(0, 50), st.floats(0.01, 10.0))
def test_the_onset_solves_for_the_strength(seed: int, tau: float) -> None:
    outputs = torch.randn(5, 4, 3, generator=rng(seed), dtype=torch.float64)
    moments = output_moments(outputs)
    factor = moments.onset(tau)
    assert moments.temperature(factor) == pytest.approx(tau, rel=1e-9)
    means = outputs.mean(1, keepdim=True)
    grown = output_moments(means + factor * (outputs - means))
    assert grown.temperature() == pytest.approx(tau, rel=1e-9)
    assert grown.V_a == pytest.approx(factor**2 * moments.V_a)


def test_ends_of_the_onset() -> None:
    assert OutputMoments(1.0, 0.0, 0.0, 0.0).onset(1.0) == math.inf
    assert OutputMoments(-1.0, 1.0, 1.0, 1.0).onset(1.0) == 0
    assert OutputMoments(2.0, 1.0, 1.0, 0.0).onset(4.0) == 2.0


def test_a_sample_is_corrected() -> None:
    draws = rng(0)
    mixing = torch.randn(4, 4, generator=draws, dtype=torch.float64)
    x = 6 * torch.randn(3000, 40, 1, 4, generator=draws, dtype=torch.float64)
    outputs = x + torch.randn(3000, 40, 2, 4, generator=draws, dtype=torch.float64) @ mixing
    found = [augmentation_temperature(few, sample=True) for few in outputs]
    within = mixing.mT @ mixing
    truth = float(2 * 36 * within.trace() + 1.5 * within.square().sum()) / (4 * 36)
    assert sum(found) / len(found) == pytest.approx(truth, rel=0.05)
    plain = [augmentation_temperature(few) for few in outputs]
    assert sum(plain) / len(plain) < 0.7 * truth


def test_for_isotropic_deviations_it_is_twice_the_variance_of_a_direction() -> None:
    draws = rng(1)
    means = 100 * torch.randn(50, 1, 3, generator=draws, dtype=torch.float64)
    nodes = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    outputs = means + torch.cartesian_prod(nodes, nodes, nodes)
    assert augmentation_temperature(outputs) == pytest.approx(2.0, rel=1e-3)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("r_pos", "r_neg", "error", "message"),
    [
        (torch.ones(2), torch.ones(3, 1), ValueError, r"r_neg must have shape \(B = 2"),
        (torch.ones(2, 1), torch.ones(2, 1), ValueError, "r_pos must have"),
        (torch.ones(2), torch.full((2, 1), math.nan), ValueError, "r_neg must be finite"),
        (torch.ones(2, dtype=torch.int64), torch.ones(2, 1), TypeError, "r_pos must be float32"),
    ],
)
def test_bad_distances_are_named(
    r_pos: torch.Tensor, r_neg: torch.Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        own_temperature(r_pos, r_neg)


@pytest.mark.bad_input
def test_bad_outputs_are_named() -> None:
    with pytest.raises(ValueError, match="outputs must have 3 dimensions"):
        augmentation_temperature(torch.ones(2, 2))
    with pytest.raises(ValueError, match="outputs must be finite"):
        augmentation_temperature(torch.full((3, 2, 1), math.inf))
    with pytest.raises(ValueError, match="at least 3 objects with 2 views, got 2 with 2"):
        augmentation_temperature(torch.ones(2, 2, 1), sample=True)
    with pytest.raises(TypeError, match="sample must be"):
        augmentation_temperature(torch.ones(3, 2, 1), sample=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="temperature must be finite and greater than 0"):
        OutputMoments(1.0, 1.0, 1.0, 1.0).onset(0.0)
