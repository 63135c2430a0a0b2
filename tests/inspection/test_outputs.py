from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ssl_theory.inspection import (
    alpha_req,
    effective_rank,
    lidar,
    negatives_in_use,
    overlap_of_distances,
    rankme,
    unbiased_variances,
)
from ssl_theory.inspection.outputs import pair_distances

SEEDS = st.integers(0, 2**31)


def with_spectrum(values: list[float], rows: int, seed: int = 0) -> Tensor:
    """Return centred features whose singular values are given, in random directions."""
    g = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, len(values), generator=g, dtype=torch.float64)
    left = torch.linalg.qr(left - left.mean(0))[0]
    right = torch.linalg.qr(torch.randn(len(values), len(values), generator=g, dtype=torch.float64))[0]
    return left * torch.tensor(values, dtype=torch.float64) @ right


def entropy(shares: list[float]) -> float:
    return math.exp(-sum(p * math.log(p) for p in shares if p))


def test_ranks_of_constructed_spectra() -> None:
    features = with_spectrum([4.0, 2.0, 1.0, 1.0], 30)
    assert rankme(features) == pytest.approx(entropy([0.5, 0.25, 0.125, 0.125]))
    assert effective_rank(features) == pytest.approx(entropy([16 / 22, 4 / 22, 1 / 22, 1 / 22]))
    assert rankme(with_spectrum([1.0] * 5, 30)) == pytest.approx(5)


@given(st.integers(1, 5), st.integers(0, 2**31))
def test_effective_rank_counts_equal_directions(rank: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(20, 6, generator=g, dtype=torch.float64))[0]
    centred = torch.linalg.qr(basis[:, :rank] - basis[:, :rank].mean(0))[0]
    rotated = centred @ torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64))[0][:rank]
    assert effective_rank(3 * rotated + 7) == pytest.approx(rank)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_a_power_law_is_found(alpha: float) -> None:
    values = [j ** (-alpha / 2) for j in range(1, 41)]
    assert alpha_req(with_spectrum(values, 200)) == pytest.approx(alpha)
    deficient = torch.cat([with_spectrum(values, 200), torch.zeros(200, 5, dtype=torch.float64)], 1)
    assert alpha_req(deficient) == pytest.approx(alpha)
    assert alpha_req(deficient.float()) == pytest.approx(alpha, rel=1e-4)


def test_rank_deficient_features_have_no_floor() -> None:
    narrow = with_spectrum([1.0, 1.0], 500)
    wide = torch.cat([narrow, torch.zeros(500, 300, dtype=torch.float64)], 1)
    for rank in (rankme, effective_rank):
        assert rank(wide) == pytest.approx(2, abs=1e-9)
        assert rank(wide.float()) == pytest.approx(2, abs=1e-4)
    assert math.isnan(alpha_req(wide))


def test_collapsed_features() -> None:
    point = torch.randn(7, generator=torch.Generator().manual_seed(0))
    same = point.expand(50, 4, 7)
    assert rankme(same.flatten(0, 1)) == pytest.approx(1)
    assert effective_rank(same.flatten(0, 1)) == 0
    assert math.isnan(alpha_req(same.flatten(0, 1)))
    assert lidar(same) == 0
    assert rankme(torch.zeros(5, 3)) == effective_rank(torch.zeros(5, 3)) == 0
    objects = torch.randn(50, 1, 7, generator=torch.Generator().manual_seed(0))
    assert math.isnan(lidar(objects.expand(50, 4, 7)))
    noise = torch.randn(50, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert lidar(noise - noise.mean(1, keepdim=True)) == 0


def test_lidar_counts_directions_by_what_they_tell_of_objects() -> None:
    """Σ_b = diag(b) and Σ_w = w·1: the discriminant's spectrum is that of Σ_b."""
    means = with_spectrum([3.0, 2.0, 1.0], 40)
    basis = torch.eye(3, dtype=torch.float64)
    offsets = torch.cat([basis, -basis]).expand(40, 6, 3)
    found = lidar(means.unsqueeze(1) + offsets, delta=1e-9)
    assert found == pytest.approx(entropy([9 / 14, 4 / 14, 1 / 14]))
    loud = offsets * torch.tensor([10.0, 1.0, 1.0], dtype=torch.float64)
    right = torch.linalg.svd(means)[2].mT
    found = lidar(means.unsqueeze(1) @ right + loud, delta=1e-9)
    assert found == pytest.approx(entropy([x / 5.09 for x in (0.09, 4.0, 1.0)]))


@given(SEEDS, st.floats(0.01, 100.0))
def test_scale_order_and_rotation_do_not_matter(seed: int, scale: float) -> None:
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(9, 3, 4, generator=g, dtype=torch.float64)
    other = scale * features[torch.randperm(9, generator=g)][:, torch.randperm(3, generator=g)]
    other = other @ torch.linalg.qr(torch.randn(4, 4, generator=g, dtype=torch.float64))[0]
    for rank in (rankme, effective_rank, alpha_req):
        assert rank(other.flatten(0, 1)) == pytest.approx(rank(features.flatten(0, 1)))
    assert lidar(other) == pytest.approx(lidar(features))
    assert overlap_of_distances(*pair_distances(other)) == pytest.approx(
        overlap_of_distances(*pair_distances(features))
    )


def test_variances_are_unbiased() -> None:
    """Over many draws of objects with variance 2 and views with variance 3, in two dimensions."""
    g = torch.Generator().manual_seed(0)
    objects = 2**0.5 * torch.randn(4000, 5, 1, 2, generator=g)
    draws = objects + 3**0.5 * torch.randn(4000, 5, 2, 2, generator=g)
    found = torch.tensor([unbiased_variances(draw) for draw in draws])
    standard = found.std(0) / 4000**0.5
    assert ((found.mean(0) - torch.tensor([4.0, 6.0])).abs() < 4 * standard).all()


def test_distances_of_pairs_one_by_one() -> None:
    outputs = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    positives, negatives = pair_distances(outputs)
    flat = outputs.flatten(0, 1)
    nearer = []
    for u in range(6):
        r = [0.5 * float((flat[u] - flat[v]).square().sum()) for v in range(6)]
        own = [r[v] for v in range(6) if v // 2 == u // 2 and v != u]
        others = [r[v] for v in range(6) if v // 2 != u // 2]
        assert positives[u].tolist() == pytest.approx(own)
        assert negatives[u].tolist() == pytest.approx(others)
        nearer += [(n < p) + 0.5 * (n == p) for p in own for n in others]
    assert overlap_of_distances(positives, negatives) == pytest.approx(sum(nearer) / len(nearer))
    assert overlap_of_distances(torch.ones(2, 1), torch.ones(2, 3)) == 0.5


def test_negatives_in_use() -> None:
    weights = torch.ones(6, 6)
    assert torch.allclose(negatives_in_use(weights, 2), torch.full((6,), 4.0, dtype=torch.float64))
    weights[:, 5] *= 1e6
    assert float(negatives_in_use(weights, 2)[0]) == pytest.approx(1, abs=1e-4)
    assert float(negatives_in_use(1e-30 * weights, 2)[0]) == pytest.approx(1, abs=1e-4)
    assert negatives_in_use(torch.zeros(4, 4), 2).tolist() == [0.0] * 4


@pytest.mark.bad_input
def test_bad_input() -> None:
    for rank in (rankme, effective_rank, alpha_req):
        with pytest.raises(TypeError, match=r"features must be float32 or float64, got torch\.int64"):
            rank(torch.ones(3, 2, dtype=torch.int64))
        with pytest.raises(ValueError, match="features must hold at least two rows, got 1"):
            rank(torch.ones(1, 2))
        with pytest.raises(ValueError, match=r"features must have 2 dimensions \(N, n\), got shape \(3,\)"):
            rank(torch.ones(3))
        with pytest.raises(ValueError, match="features must be finite, got NaN"):
            rank(torch.full((3, 2), math.nan))
    for of_views in (lidar, unbiased_variances, pair_distances):
        with pytest.raises(ValueError, match=r"at least two views of each of two objects, got \(3, 1, 2\)"):
            of_views(torch.ones(3, 1, 2))
        with pytest.raises(ValueError, match="values must have 3 dimensions"):
            of_views(torch.ones(3, 2))
    with pytest.raises(ValueError, match=r"delta must be finite and greater than 0, got -1"):
        lidar(torch.ones(3, 2, 2), delta=-1.0)
