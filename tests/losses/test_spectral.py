from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.losses import spectral_contrastive, two_view_spectral_contrastive
from tests.cases import lists

seeds = st.integers(0, 2**31)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dot(u: list[float], v: list[float]) -> float:
    return sum(a * b for a, b in zip(u, v, strict=True))


def by_loops(objects: list[list[list[float]]]) -> float:
    """Return equation (6), a draw of (x1, x+, x-) at a time."""
    terms = []
    for own in objects:
        for x1 in own:
            for x_pos in own:
                for other in objects:
                    terms += [-2 * dot(x1, x_pos) + dot(x1, x_neg) ** 2 for x_neg in other]
    return sum(terms) / len(terms)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), seeds)
def test_every_draw_of_a_view_set(n: int, a: int, width: int, seed: int) -> None:
    outputs = normal(n, a, width, seed=seed)
    assert float(spectral_contrastive(outputs)) == pytest.approx(by_loops(lists(outputs)), rel=1e-12)


@given(st.integers(2, 5), st.integers(1, 3), seeds)
def test_every_pair_of_a_batch(b: int, width: int, seed: int) -> None:
    first, second = lists(normal(2, b, width, seed=seed))
    positives = sum(dot(f, g) for f, g in zip(first, second, strict=True)) / b
    pairs = [dot(f, g) ** 2 for i, f in enumerate(first) for j, g in enumerate(second) if i != j]
    value = two_view_spectral_contrastive(torch.tensor(first).double(), torch.tensor(second).double())
    assert float(value) == pytest.approx(-2 * positives + sum(pairs) / len(pairs), rel=1e-5)


def test_orthonormal_outputs_are_its_minimum() -> None:
    """With one view each and n = N, Σ_ij (G_ij − N δ_ij)²/N² − N is smallest at G = N I."""
    n = 4
    best = n**0.5 * torch.eye(n, dtype=torch.float64).unsqueeze(1)
    assert float(spectral_contrastive(best)) == pytest.approx(-n, rel=1e-12)
    near = best + 0.1 * normal(n, 1, n, seed=0)
    assert spectral_contrastive(near) > spectral_contrastive(best)


@pytest.mark.bad_input
def test_bad_input() -> None:
    f = torch.ones(3, 2)
    with pytest.raises(TypeError, match="outputs must be a torch tensor, got list"):
        spectral_contrastive([[[1.0]]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"outputs must have 3 dimensions \(N objects, A"):
        spectral_contrastive(f)
    with pytest.raises(ValueError, match=r"outputs must have no dimension of size 0, got shape \(0, 1, 2\)"):
        spectral_contrastive(torch.ones(0, 1, 2))
    with pytest.raises(
        ValueError, match=r"first and second must share a shape \(B ≥ 2, n_L ≥ 1\), got \(1, 2"
    ):
        two_view_spectral_contrastive(f[:1], f[:1])
    with pytest.raises(TypeError, match="second must have the dtype of first, torch.float32"):
        two_view_spectral_contrastive(f, f.double())
