"""Overlaps with the leading directions of a layer's operator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.experiments import image_operators
from ssl_theory.experiments.image_operators import (
    fixed_views,
    follow,
    layer_operator,
    operator_table,
    overlap,
    overlaps,
    predicted_overlap,
)
from ssl_theory.experiments.images import ImageExperiment, run
from ssl_theory.operators import WeightOperator

TINY = ImageExperiment(
    channels=(3, 4), strides=(2, 2), hidden=6, outputs=3, batch=700, epochs=2, measure_every=1, copies=2
)
LAYERS = ["0.layers.0.0", "0.layers.1.0"]


@pytest.fixture(scope="module")
def trajectory() -> image_operators.Trajectory:
    return follow(TINY, 1)


def test_following_changes_nothing(trajectory: image_operators.Trajectory) -> None:
    pd.testing.assert_frame_equal(trajectory.rows, run(replace(TINY, seed=1), device="cpu"))
    assert sorted(trajectory.states) == [0, 1, 2]
    last = dict(trajectory.model(2).named_parameters())
    first = {name: p.clone() for name, p in trajectory.model(0).named_parameters()}
    assert not torch.equal(first[f"{LAYERS[0]}.weight"].flatten(1), trajectory.weight(LAYERS[0], 2))
    trajectory.model(2)
    assert torch.equal(last[f"{LAYERS[0]}.weight"].flatten(1), trajectory.weight(LAYERS[0], 2))
    with pytest.raises(ValueError, match=r"epoch must be one of \[0, 1, 2\], got 7"):
        trajectory.model(7)


def test_the_operator_is_the_variance_of_mean_derivatives(trajectory: image_operators.Trajectory) -> None:
    views = fixed_views(trajectory.run, 5, 3)
    found = layer_operator(trajectory, LAYERS[1], 1, views, 4)
    model, name = trajectory.model(1).train(), f"{LAYERS[1]}.weight"
    weight = dict(model.named_parameters())[name]

    def mean_output(w: torch.Tensor) -> torch.Tensor:
        output = torch.func.functional_call(model, {name: w}, (views.flatten(0, 1),))
        return output.view(5, 3, -1).mean(1)

    K = torch.autograd.functional.jacobian(mean_output, weight).flatten(2)  # objects, outputs, D row-major
    centred = (K - K.mean(0)).flatten(0, 1)
    spectrum = torch.linalg.svdvals(centred).square() / 5
    torch.testing.assert_close(found.values, spectrum[:4], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(
        (centred @ found.directions[0].flatten()).square().sum() / 5, spectrum[0], rtol=1e-3, atol=1e-6
    )


def test_rows(trajectory: image_operators.Trajectory) -> None:
    rows = overlaps(trajectory, layers=LAYERS, epochs=[0, 2], directions=3, objects=6, copies=2)
    assert rows[["layer", "epoch"]].to_numpy().tolist() == [
        ["convolution 1", 0], ["convolution 2", 0], ["convolution 1", 2], ["convolution 2", 2],
    ]  # fmt: skip
    assert rows["size"].tolist() == [27, 108, 27, 108]
    assert rows["random"].tolist() == pytest.approx([3 / 27, 3 / 108] * 2)
    for column in ("weight", "update", "gradient", "predicted"):
        assert rows[column].between(0.0, 1.0 + 1e-6).all()
    assert (rows["update"] >= rows["weight"] - 1e-5).all()  # OP is positive semidefinite
    assert rows["change"].isna().tolist() == [False, False, True, True]
    again = overlaps(trajectory, layers=LAYERS[:1], epochs=[0, 2], directions=3, objects=6, copies=2)
    assert again["change"][0] == pytest.approx(rows["change"][0])
    assert len(rows["eigenvalues"][0].split()) == 3


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


def test_predicted_overlap_against_the_whole_spectrum() -> None:
    g = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    matrix = root @ root.mT
    operator = WeightOperator(2, 3, matrix.dtype, matrix.device, lambda v: matrix @ v)
    values, vectors = torch.linalg.eigh(matrix)
    basis = vectors.flip(1)[:, :2].mT.view(2, 3, 2).mT  # column-major
    expected = float(values[-2:].square().sum() / values.square().sum())
    found = predicted_overlap(operator, values.flip(0)[:2], basis, probes=20_000, generator=g)
    assert found == pytest.approx(expected, rel=1e-2)


def test_complete_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = image_operators.LAYERS
    monkeypatch.setattr(
        image_operators,
        "overlaps",
        lambda t, epochs: overlaps(
            t, epochs=epochs, layers=LAYERS[:1], directions=2, objects=4, copies=2, probes=1
        ),
    )
    table = operator_table([replace(TINY, seeds=2)], folder=tmp_path)
    assert sorted(set(table["seed"])) == [0, 1]
    assert sorted(set(table["epoch"])) == [0, 1, 2]
    monkeypatch.setattr(image_operators, "follow", lambda *_, **__: pytest.fail("was run again"))
    pd.testing.assert_frame_equal(operator_table([replace(TINY, seeds=2)], folder=tmp_path), table)
    assert [path.name for path in tmp_path.iterdir()] == ["operators.csv"]
    assert set(table["channels"]) == {"3-4"}
    assert set(table["layer"]) <= set(layers.values())
