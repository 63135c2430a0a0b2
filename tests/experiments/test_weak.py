"""Onsets of strong augmentation: weights of pairs, worlds, crossings, the table."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from ssl_theory.experiments import weak
from ssl_theory.experiments.weak import (
    SmallWorld,
    draw_world,
    expected_loss,
    measure,
    normal_growth,
    onset_table,
    pair_weights,
    residue_ratio,
)
from ssl_theory.losses import InfoNCE, half_squared_distances
from ssl_theory.networks import ReLUNetwork, vec
from ssl_theory.operators import covariance_operator, leading_operator, residue


def small(seed: int = 0, world: weak.World = "normal") -> tuple[ReLUNetwork, SmallWorld]:
    draws = torch.Generator().manual_seed(seed)
    found = draw_world(world, 4, draws, objects=4, views=3)
    return ReLUNetwork.random((4, 5, 3), generator=draws), found


@pytest.mark.parametrize("seed", range(3))
def test_one_negative_is_the_library_s_operator(seed: int) -> None:
    net, world = small(seed)
    views, tau = world.views(0.5), 0.7
    weights = pair_weights(net(views), tau, "one")
    for layer, w in enumerate(map(vec, net.weights), 1):
        setting = net, views, layer, InfoNCE(tau)
        assert weights.growth == pytest.approx(float(w @ covariance_operator(*setting) @ w), rel=1e-10)
        assert weights.leading == pytest.approx(float(w @ leading_operator(*setting) @ w), rel=1e-10)
        ratio = float(residue(*setting).norm() / leading_operator(*setting).norm())
        assert residue_ratio(net, views, layer, weights) == pytest.approx(ratio, rel=1e-10)


def slow_batch_loss(outputs: Tensor, tau: float) -> float:
    rows, total, count = outputs.tolist(), 0.0, 0
    r = lambda u, v: sum((p - q) ** 2 for p, q in zip(u, v, strict=True)) / 2  # noqa: E731
    for i, own in enumerate(rows):
        others = [z for j, part in enumerate(rows) if j != i for z in part]
        for a, x in enumerate(own):
            for b, y in enumerate(own):
                if a != b:
                    total += math.log(1 + sum(math.exp((r(x, y) - r(x, z)) / tau) for z in others))
                    count += 1
    return total / count


def test_a_batch_is_infonce_over_the_other_objects() -> None:
    net, world = small()
    outputs = net(world.views(0.5))
    flat = outputs.flatten(0, 1)
    distances = half_squared_distances(flat, flat)
    assert float(expected_loss(distances, 3, 0.7, "batch")) == pytest.approx(slow_batch_loss(outputs, 0.7))
    leaves = [w.clone().requires_grad_() for w in net.weights]
    flat = ReLUNetwork(leaves)(world.views(0.5)).flatten(0, 1)
    value = expected_loss(half_squared_distances(flat, flat), 3, 0.7, "batch")
    weights = pair_weights(outputs, 0.7, "batch")
    for w, g in zip(leaves, torch.autograd.grad(value, leaves), strict=True):
        assert weights.growth == pytest.approx(-float((w.detach() * g).sum()) / 2, rel=1e-10)


def test_without_deviations_the_leading_part_is_all() -> None:
    net, world = small()
    for negatives in ("one", "batch"):
        weights = pair_weights(net(world.views(0.0)), 0.7, negatives)  # type: ignore[arg-type]
        assert weights.growth == pytest.approx(weights.leading)
        for layer in (1, 2):
            assert residue_ratio(net, world.views(0.0), layer, weights) < 1e-9
    outputs = net(world.views(0.0))
    assert normal_growth(outputs, 0.7) == pytest.approx(pair_weights(outputs, 0.7, "one").growth)


def test_growth_of_normal_gaps_against_a_quadrature() -> None:
    outputs = torch.tensor([[[0.0], [1.0]], [[3.0], [2.5]]], dtype=torch.float64)
    values, total = outputs.squeeze(-1).tolist(), 0.0
    for own in values:
        for other in values:
            gaps = [(x - z) ** 2 / 2 - (x - y) ** 2 / 2 for x in own for y in own for z in other]
            m = sum(gaps) / len(gaps)
            spread = math.sqrt(sum((gap - m) ** 2 for gap in gaps) / len(gaps))

            def mass(y: float, m: float = m, spread: float = spread) -> float:
                u = (m + spread * y) / 0.8
                return u / (1 + math.exp(u)) * math.exp(-(y**2) / 2) / math.sqrt(2 * math.pi)

            total += quad(mass, -10, 10)[0] / 4
    assert normal_growth(outputs, 0.8) == pytest.approx(total, rel=1e-6)


def test_worlds() -> None:
    draws = torch.Generator().manual_seed(0)
    for world in weak.WORLDS:
        drawn = draw_world(world, 6, draws, objects=5, views=4)
        assert torch.allclose(drawn.views(0.0), drawn.objects.unsqueeze(1).expand(5, 4, 6))
        assert drawn.noise.mean(1).abs().max() < 1e-12
    turned = drawn.views(0.7).unflatten(-1, (3, 2)).norm(dim=-1)
    assert torch.allclose(
        turned, drawn.objects.unflatten(-1, (3, 2)).norm(dim=-1).unsqueeze(1).expand(5, 4, 3)
    )
    plane = draw_world("plane", 6, draws)
    assert torch.linalg.matrix_rank(plane.noise.flatten(0, 1)) == 2


def test_crossings() -> None:
    assert weak._crossing(lambda s: 0.4 - s) == pytest.approx(0.4, abs=1e-4)
    assert weak._crossing(lambda s: -s) == 0
    assert math.isnan(weak._crossing(lambda s: 1.0))


def test_training_ends_where_norms_stand_still_and_the_table_repeats_itself() -> None:
    few = {"worlds": ("normal",), "widths": ((4, 6, 3),), "repeats": 1, "steps": 300}
    table = onset_table(**few)  # type: ignore[arg-type]
    assert len(table) == 4
    pd.testing.assert_frame_equal(table, onset_table(**few))  # type: ignore[arg-type]
    trained = table[(table["state"] == "trained") & (table["negatives"] == "one")].iloc[0]
    start = table[(table["state"] == "random") & (table["negatives"] == "one")].iloc[0]
    assert abs(math.log(trained["onset"] / trained["trained_at"])) < 0.5
    assert abs(math.log(start["onset"] / start["variances"])) < 0.5
    assert table["pairs"].isna().tolist() == [negatives == "batch" for negatives in table["negatives"]]


def test_foretold_by_one_weak_strength() -> None:
    net, world = small()
    linear = ReLUNetwork(net.weights[:1])
    found = measure(linear, world, 1.0, "one")
    assert found["ahead"] == pytest.approx(found["variances"], rel=1e-3)


@pytest.mark.bad_input
def test_bad_arguments_are_named(tmp_path: Path) -> None:
    draws = torch.Generator()
    with pytest.raises(ValueError, match="world must be"):
        draw_world("sphere", 4, draws)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inputs must be even for rotations, got 3"):
        draw_world("rotations", 3, draws)
    with pytest.raises(ValueError, match="views must be"):
        draw_world("normal", 4, draws, views=1)
    outputs = torch.zeros(2, 2, 1)
    with pytest.raises(ValueError, match="negatives must be"):
        pair_weights(outputs, 1.0, "two")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="temperature must be"):
        pair_weights(outputs, 0.0, "one")
    for name in ("repeats", "steps"):
        with pytest.raises(ValueError, match=f"{name} must be"):
            onset_table(**{name: 0})  # type: ignore[arg-type]


def test_the_command_writes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weak, "onset_table", lambda: pd.DataFrame({"made": [1.0]}))
    weak.main(["-o", str(tmp_path / "weak.csv")])
    assert (tmp_path / "weak.csv").read_text() == "made\n1\n"
