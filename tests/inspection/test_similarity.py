"""How alike features and vectors are, against closed forms and slow references."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.inspection import Agreement, linear_cka, split_agreement, subspace_similarity


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_hsic(one: Tensor, other: Tensor) -> float:
    """Return the U-statistic of HSIC: a mean over all draws of four different objects."""
    total, count = 0.0, 0
    for i, j, q, r in permutations(range(len(one)), 4):
        total += float(one[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q]))
        count += 1
    return total / count


@given(st.integers(4, 6), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**31))
@settings(max_examples=15)
def test_cka_against_all_draws_of_four_objects(n: int, one: int, other: int, seed: int) -> None:
    first, second = normal(seed, n, one), normal(seed + 1, n, other)
    grams = [z @ z.mT for z in (first, second)]
    square = slow_hsic(grams[0], grams[0]) * slow_hsic(grams[1], grams[1])
    found = linear_cka(first, second)
    if min(slow_hsic(g, g) for g in grams) > 1e-9:
        assert found == pytest.approx(slow_hsic(*grams) / math.sqrt(square), rel=1e-8, abs=1e-10)


@given(st.integers(5, 12), st.integers(1, 4), st.floats(0.1, 10.0), st.integers(0, 2**31))
def test_rotation_shift_and_scale_change_nothing(n: int, width: int, scale: float, seed: int) -> None:
    first, second = normal(seed, n, width), normal(seed + 1, n, 2)
    turned = scale * first @ torch.linalg.qr(normal(seed + 2, width, width))[0] + normal(seed + 3, width)
    assert linear_cka(first, second) == pytest.approx(linear_cka(turned, second), rel=1e-9, nan_ok=True)
    if not math.isnan(linear_cka(first, first)):
        assert linear_cka(first, turned) == pytest.approx(1.0, rel=1e-9)


def test_one_of_two_equal_directions_has_a_cka_of_root_one_half() -> None:
    first = normal(0, 2000, 2)
    assert linear_cka(first, first[:, :1]) == pytest.approx(math.sqrt(0.5), abs=0.03)


def test_wide_features_that_are_independent_are_not_alike() -> None:
    """40 features of 50 objects: with biased estimates CKA would be near one half."""
    found = [linear_cka(normal(s, 50, 40), normal(s + 100, 50, 40)) for s in range(30)]
    assert abs(sum(found)) / len(found) < 0.02
    one, other = (normal(s, 50, 40) - normal(s, 50, 40).mean(0) for s in (0, 100))
    biased = (one.mT @ other).square().sum() / ((one.mT @ one).norm() * (other.mT @ other).norm())
    assert float(biased) > 0.4


def test_features_that_all_agree_have_no_cka() -> None:
    assert math.isnan(linear_cka(torch.ones(6, 2), torch.eye(6)))


@given(st.integers(0, 3), st.integers(0, 2**31))
def test_subspaces_that_share_some_directions(shared: int, seed: int) -> None:
    """j of three directions in common, the others at right angles: j/3."""
    constant = torch.ones(12, 1, dtype=torch.float64)
    basis = torch.linalg.qr(torch.cat([constant, normal(seed, 12, 6)], 1))[0][:, 1:]
    first = basis[:, :3]
    second = torch.cat([basis[:, :shared], basis[:, 3 : 6 - shared]], 1)
    mixed = second @ normal(seed + 1, 3, 3) + 5.0
    assert subspace_similarity(first, mixed, 3) == pytest.approx(shared / 3, abs=1e-6)


def test_only_the_leading_directions_count() -> None:
    basis = torch.linalg.qr(torch.cat([torch.ones(8, 1), normal(0, 8, 3).float()], 1))[0][:, 1:]
    first = basis * torch.tensor([3.0, 2.0, 1.0])
    second = basis * torch.tensor([3.0, 1.0, 2.0])
    assert subspace_similarity(first, second, 1) == pytest.approx(1.0, abs=1e-5)
    assert subspace_similarity(first, second, 2) == pytest.approx(0.5, abs=1e-5)


@given(st.floats(-0.99, 0.99), st.floats(0.1, 10.0), st.integers(0, 2**31))
def test_noise_at_right_angles_leaves_the_agreement_as_it_is(cos: float, length: float, seed: int) -> None:
    basis = torch.linalg.qr(normal(seed, 9, 6))[0].mT
    u = basis[0]
    a = length * (cos * basis[0] + math.sqrt(1 - cos**2) * basis[1])
    noise = 7.0 * basis[2:]
    found = split_agreement(
        torch.stack([u + noise[0], u + noise[1]]), torch.stack([a + noise[2], a - noise[3]])
    )
    assert found.cosine == pytest.approx(cos, abs=1e-9)
    assert found.length == pytest.approx(length, rel=1e-9)


def test_products_of_noisy_copies_are_unbiased() -> None:
    """Noise twice as long as the vectors: the plain cosine of means is 0.2 too low, the estimate is not."""
    u, a = torch.zeros(50, dtype=torch.float64), torch.zeros(50, dtype=torch.float64)
    u[0], a[0], a[1] = 1.0, 0.8, 0.6
    copies = 0.28 * normal(5, 400, 2, 2, 50)
    both = [(c[0] + u, c[1] + a) for c in copies]
    products = torch.stack([torch.stack([x[0] @ x[1], y[0] @ y[1], (x @ y.mT).mean()]) for x, y in both])
    error = products.std(0) / 20
    assert ((products.mean(0) - torch.tensor([1.0, 1.0, 0.8])).abs() < 5 * error).all()
    plain = torch.stack([torch.cosine_similarity(x.mean(0), y.mean(0), dim=0) for x, y in both]).mean()
    assert float(plain) < 0.35


def test_too_much_noise_is_not_a_number() -> None:
    u = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = split_agreement(u, torch.ones(2, 2))
    assert isinstance(found, Agreement)
    assert math.isnan(found.cosine)
    assert math.isnan(found.length)


@pytest.mark.bad_input
def test_bad_input() -> None:
    x = torch.eye(5, 2)
    for measure in (linear_cka, lambda a, b: subspace_similarity(a, b, 1)):
        with pytest.raises(TypeError, match="second must be float32 or float64"):
            measure(x, x.long())
        with pytest.raises(TypeError, match="second must have the dtype of first"):
            measure(x, x.double())
        with pytest.raises(ValueError, match=r"first must have 2 dimensions \(N, n\)"):
            measure(x[0], x)
        with pytest.raises(ValueError, match="first must be finite"):
            measure(x / 0, x)
        with pytest.raises(ValueError, match="the same objects, at least .*, got 5 and 4"):
            measure(x, x[:4])
    with pytest.raises(ValueError, match="at least 4, got 3 and 3"):
        linear_cka(x[:3], x[:3])
    with pytest.raises(ValueError, match="k must be from 1 to 2, got 3"):
        subspace_similarity(x, x, 3)
    with pytest.raises(TypeError, match="k must be an integer"):
        subspace_similarity(x, x, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"must both have shape \(2, D\), got \(5, 2\) and \(2, 2\)"):
        split_agreement(x, x[:2])
    with pytest.raises(TypeError, match="first must be a torch tensor"):
        split_agreement([1.0], x)  # type: ignore[arg-type]
