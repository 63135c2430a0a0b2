"""T10: exact moments, proved bounds, and the measured Gaussian tail."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.hltm import lucky, reference
from tests.hltm.cases import seeds

vectors = st.lists(st.floats(-3.0, 3.0).filter(lambda x: abs(x) > 1e-3), min_size=1, max_size=6).map(
    lambda entries: torch.tensor(entries, dtype=torch.float64)
)


def moment(a: torch.Tensor, power: int) -> float:
    """Return E Y^power by Gauss–Legendre sums over every weight, exact for polynomials of degree 5."""
    nodes = {0.0: 8 / 9, math.sqrt(0.6): 5 / 9, -math.sqrt(0.6): 5 / 9}
    bound = math.sqrt(3.0 / len(a))
    total = 0.0
    for point in product(nodes, repeat=len(a)):
        weight = math.prod(nodes[x] / 2 for x in point)
        total += weight * (bound * sum(x * y for x, y in zip(point, a.tolist(), strict=True))) ** power
    return total


@given(vectors)
def test_variance_and_kurtosis(a: torch.Tensor) -> None:
    second, fourth = moment(a, 2), moment(a, 4)
    assert lucky.variance(a) == pytest.approx(second, rel=1e-12)
    assert lucky.variance(a, 0.5) == pytest.approx(second / 4, rel=1e-12)
    assert lucky.kurtosis(a) == pytest.approx(fourth / second**2, rel=1e-12)
    assert 1.8 - 1e-12 <= lucky.kurtosis(a) <= 3.0


@given(vectors, st.floats(0.0, 1.0), seeds)
def test_paley_zygmund_holds(a: torch.Tensor, t: float, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    n = 4000
    hits = int((lucky.draw_gaps(a, n, generator=g).abs() >= t * lucky.variance(a) ** 0.5).sum())
    _, high = lucky.confidence_band(hits, n, 1 - 1e-9)
    assert lucky.paley_zygmund(t, lucky.kurtosis(a)) <= high


@given(st.floats(0.1, 0.99), st.floats(0.001, 0.999))
def test_paley_zygmund_holds_where_it_is_nearly_tight(t: float, p: float) -> None:
    """Y² is just below t² except with probability p; its mean is 1."""
    rare = (1.0 - t**2 * (1.0 - p)) / p
    assert lucky.paley_zygmund(t, t**4 * (1.0 - p) + rare**2 * p) <= p


@given(vectors, seeds)
def test_nothing_lies_beyond_the_support(a: torch.Tensor, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    limit = lucky.support_limit(a)
    gaps = lucky.draw_gaps(a, 1000, scale=0.7, generator=g).abs()
    assert float(gaps.max()) <= math.sqrt(2 * limit * lucky.variance(a, 0.7)) * (1 + 1e-12)
    assert limit <= 1.5 * len(a) * (1 + 1e-12)
    corner = math.sqrt(3.0 / len(a)) * float(a.abs().sum())
    assert corner**2 == pytest.approx(2 * limit * lucky.variance(a), rel=1e-12)


@given(vectors, st.floats(0.0, 1.1))
def test_exact_law(a: torch.Tensor, share: float) -> None:
    """The Fourier series against inclusion and exclusion in rational arithmetic."""
    sizes = (a.abs() * math.sqrt(3.0) / a.norm()).tolist()
    t = share * sum(sizes)
    expected = float(reference.uniform_sum_tail(sizes, t))
    second = sorted(sizes)[-2] if len(sizes) > 2 else max(sizes)
    value = float(lucky.tail(a, torch.tensor(t, dtype=torch.float64)))
    assert value == pytest.approx(expected, abs=1e-12 + 2e-12 * max(sizes) / second)


@pytest.mark.parametrize("n", [1, 2, 3, 20, 60])
def test_exact_law_of_equal_inputs(n: int) -> None:
    t = torch.linspace(0.0, math.sqrt(3.0 * n) * 1.05, 12, dtype=torch.float64)
    sums = [reference.uniform_sum_tail([1.0] * n, x * math.sqrt(n / 3.0)) for x in t.tolist()]
    value = lucky.tail(torch.tensor([-0.5] + [0.5] * (n - 1) + [0.0]), t)
    assert value.tolist() == pytest.approx([float(p) for p in sums], abs=1e-13)
    assert value[0] == 1.0
    assert value[-1] == 0.0


@given(vectors)
def test_exponential_bounds_hold_up_to_the_end_of_the_support(a: torch.Tensor) -> None:
    reach = math.sqrt(2.0 * lucky.support_limit(a))
    t = reach * torch.tensor([0.02, 0.3, 0.6, 0.9, 0.99], dtype=torch.float64)
    low, high = lucky.exponential_bounds(a, t)
    exact = lucky.tail(a, t)
    assert bool((low <= exact + 1e-9).all())
    assert bool((exact <= high + 1e-9).all())
    assert bool((low > 0).all())
    assert bool((high <= 2.0 * torch.exp(-t.square() / 2.0) + 1e-3).all())


def test_exponential_bounds_of_one_input() -> None:
    """m(λ) = sinh(√3 λ)/(√3 λ); the best of both bounds by a plain search."""
    a, t = torch.tensor([2.0]), torch.tensor([1.0, 1.5])
    low, high = lucky.exponential_bounds(a, t)
    rates = [0.01 * k for k in range(1, 18_000)]

    def m(rate: float) -> float:
        return math.sinh(math.sqrt(3.0) * rate) / (math.sqrt(3.0) * rate)

    for x, lower, upper in zip(t.tolist(), low.tolist(), high.tolist(), strict=True):
        reached = max(2 * max(m(r) - math.exp(r * x), 0.0) ** 2 / m(2 * r) for r in rates)
        assert lower == pytest.approx(reached, rel=1e-3)
        assert upper == pytest.approx(min(2 * math.exp(-r * x) * m(r) for r in rates), rel=1e-3)


def test_tail_of_many_inputs_is_gaussian(generator: torch.Generator) -> None:
    a, n = torch.ones(400, dtype=torch.float64), 20_000
    gaps = lucky.draw_gaps(a, n, generator=generator).abs()
    for c in (0.5, 1.0, 2.0):
        hits = int((gaps >= math.sqrt(2 * c)).sum())
        low, high = lucky.confidence_band(hits, n, 1 - 1e-9)
        assert low <= lucky.gaussian_tail(c) <= high
    assert lucky.gaussian_tail(30.0) == pytest.approx(math.exp(-30) / math.sqrt(math.pi * 30), rel=0.02)


def test_number_of_neurons(generator: torch.Generator) -> None:
    a = torch.tensor([1.0, -0.5, 0.2], dtype=torch.float64)
    t, failure, n = 0.5, 0.05, 4000
    p = lucky.paley_zygmund(t, lucky.kurtosis(a))
    neurons = lucky.neurons_enough(p, failure)
    assert lucky.no_luck_bound(t, lucky.kurtosis(a), neurons) <= failure
    assert lucky.no_luck_bound(t, lucky.kurtosis(a), neurons - 1) > failure
    gaps = lucky.draw_gaps(a, n, neurons, generator=generator).abs()
    unlucky = int((gaps < t * lucky.variance(a) ** 0.5).all(1).sum())
    assert lucky.confidence_band(unlucky, n, 1 - 1e-9)[0] <= failure
    assert lucky.neurons_enough(1.0, 0.01) == 1


@given(st.integers(1, 40), st.floats(0.0, 1.0))
def test_confidence_bands_bracket_the_frequency(draws: int, share: float) -> None:
    hits = round(share * draws)
    low, high = lucky.confidence_band(hits, draws)
    assert 0.0 <= low <= hits / draws <= high <= 1.0


def test_a_known_confidence_band() -> None:
    """No success in n trials: the upper end is 1 − (α/2)^{1/n}."""
    assert lucky.confidence_band(0, 10, 0.95) == pytest.approx((0.0, 1 - 0.025 ** (1 / 10)))


@given(seeds)
def test_relu_bounds_and_selectivity(seed: int) -> None:
    """Any law will do: here one of five equally likely values."""
    g = torch.Generator().manual_seed(seed)
    one, zero = torch.randn(2, 5, generator=g, dtype=torch.float64) * 2
    for values in (one, zero):
        low, high = lucky.relu_mean_bounds(values.mean(), values.var(correction=0))
        assert float(low) <= float(torch.relu(values).mean()) + 1e-12
        assert float(torch.relu(values).mean()) <= float(high) + 1e-12
    selectivity = 0.5 * (torch.relu(one).mean() - torch.relu(zero).mean())
    bound = lucky.selectivity_bound(one.mean(), zero.mean(), zero.var(correction=0))
    assert float(bound) <= float(selectivity) + 1e-12


def test_relu_bounds_are_attained() -> None:
    """Two values ±σ around 0 reach the upper bound, a constant the lower one."""
    values = torch.tensor([-2.0, 2.0], dtype=torch.float64)
    low, high = lucky.relu_mean_bounds(values.mean(), values.var(correction=0))
    assert float(high) == float(torch.relu(values).mean()) == 1.0
    constant = torch.tensor(1.5, dtype=torch.float64)
    low, high = lucky.relu_mean_bounds(constant, torch.zeros_like(constant))
    assert float(low) == float(high) == 1.5


@pytest.mark.bad_input
def test_bad_arguments(generator: torch.Generator) -> None:
    a = torch.ones(2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"child_vector must have shape \(n ≥ 1,\)"):
        lucky.draw_gaps(torch.ones(0), 3, generator=generator)
    with pytest.raises(ValueError, match="neurons must be at least 1, got 0"):
        lucky.draw_gaps(a, 3, 0, generator=generator)
    with pytest.raises(ValueError, match="draws must be at least 0, got -1"):
        lucky.draw_gaps(a, -1, generator=generator)
    with pytest.raises(ValueError, match="child_vector must not be 0"):
        lucky.kurtosis(torch.zeros(2))
    with pytest.raises(ValueError, match="child_vector must be a vector that is not 0"):
        lucky.tail(torch.zeros(2), torch.ones(1))
    with pytest.raises(ValueError, match="t must hold numbers of at least 0, got -1"):
        lucky.tail(a, -torch.ones(1))
    with pytest.raises(ValueError, match="t must hold positive numbers, got 0"):
        lucky.exponential_bounds(a, torch.zeros(1))
    with pytest.raises(ValueError, match=r"t must lie in \[0, 1\], got 1.5"):
        lucky.paley_zygmund(1.5, 3.0)
    with pytest.raises(ValueError, match=r"probability must lie in \(0, 1\]"):
        lucky.neurons_enough(0.0, 0.1)
    with pytest.raises(ValueError, match=r"failure must lie in \(0, 1\)"):
        lucky.neurons_enough(0.5, 1.0)
    with pytest.raises(ValueError, match="hits must be from 0 to 3, got 4"):
        lucky.confidence_band(4, 3)
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\)"):
        lucky.confidence_band(1, 3, 1.0)


@pytest.mark.bad_input
def test_numbers_that_no_random_variable_has() -> None:
    with pytest.raises(ValueError, match="kurtosis must be at least 1, got 0.1"):
        lucky.paley_zygmund(0.5, 0.1)
    with pytest.raises(ValueError, match="kurtosis must be at least 1, got 0.1"):
        lucky.no_luck_bound(0.5, 0.1, 3)
    with pytest.raises(ValueError, match="c must not be negative, got -1"):
        lucky.gaussian_tail(-1.0)
    for function in (lucky.variance, lucky.kurtosis):
        with pytest.raises(ValueError, match=r"child_vector must have shape \(n ≥ 1,\), got \(0,\)"):
            function(torch.ones(0))
        with pytest.raises(TypeError, match="child_vector must be a torch tensor, got list"):
            function([1.0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="child_vector must be a vector that is not 0"):
        lucky.support_limit(torch.zeros(2))
    with pytest.raises(TypeError, match="probability must be a real number, got 'x'"):
        lucky.neurons_enough("x", 0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="generator must be a torch.Generator, got NoneType"):
        lucky.draw_gaps(torch.ones(2), 1, generator=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="variance must be a torch tensor, got float"):
        lucky.relu_mean_bounds(torch.ones(2), 1.0)  # type: ignore[arg-type]
