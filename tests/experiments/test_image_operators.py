"""Gradients of encoders beside a covariance, and where they lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.experiments import image_operators
from ssl_theory.experiments.image_operators import (
    Trajectory,
    fixed_views,
    follow,
    layer_operator,
    mechanism,
    operator_table,
    targets,
)
from ssl_theory.experiments.images import ImageExperiment, run
from ssl_theory.operators import overlap

TINY = ImageExperiment(
    channels=(3, 4), strides=(2, 2), hidden=6, outputs=3, batch=256, epochs=2, measure_every=1, copies=2
)
LAYERS = ["0.layers.0.0", "0.layers.1.0"]


@pytest.fixture(scope="module")
def trajectory() -> Trajectory:
    return follow(TINY, 1)


def test_following_changes_nothing(trajectory: Trajectory) -> None:
    pd.testing.assert_frame_equal(trajectory.rows, run(replace(TINY, seed=1), device="cpu"))
    assert sorted(trajectory.states) == [0, 1, 2]
    last = dict(trajectory.model(2).named_parameters())
    first = {name: p.clone() for name, p in trajectory.model(0).named_parameters()}
    assert not torch.equal(first[f"{LAYERS[0]}.weight"].flatten(1), trajectory.weight(LAYERS[0], 2))
    trajectory.model(2)
    assert torch.equal(last[f"{LAYERS[0]}.weight"].flatten(1), trajectory.weight(LAYERS[0], 2))
    with pytest.raises(ValueError, match=r"epoch must be one of \[0, 1, 2\], got 7"):
        trajectory.model(7)


def test_the_operator_is_the_variance_of_mean_derivatives(trajectory: Trajectory) -> None:
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


def look(trajectory: Trajectory, **changes: Any) -> pd.DataFrame:
    given = {"layers": LAYERS, "epochs": [0, 2], "directions": 3, "objects": 6, "copies": 2, "batches": 1}
    return mechanism(trajectory, **{**given, **changes})


def test_rows(trajectory: Trajectory) -> None:
    rows = look(trajectory)
    assert rows[["layer", "epoch"]].to_numpy().tolist() == [
        ["convolution 1", 0], ["convolution 2", 0], ["convolution 1", 2], ["convolution 2", 2],
    ]  # fmt: skip
    assert rows["size"].tolist() == [27, 108, 27, 108]
    assert rows.filter(like="cos").abs().le(1.0 + 1e-6).all(axis=None)
    shares = rows.filter(like="share_").drop(columns="share_change")
    assert shares.ge(0.0).all(axis=None)
    assert shares.le(1.0 + 1e-5).all(axis=None)
    assert rows["share_change"].isna().tolist() == [False, False, True, True]
    weights = [trajectory.weight(LAYERS[0], epoch) for epoch in (0, 2)]
    basis = layer_operator(trajectory, LAYERS[0], 0, fixed_views(trajectory.run, 6, 2), 3).directions
    assert rows["share_change"][0] == pytest.approx(overlap(weights[1] - weights[0], basis), abs=1e-4)
    pd.testing.assert_frame_equal(look(trajectory), rows)


def test_all_directions_hold_all_of_every_change(trajectory: Trajectory) -> None:
    rows = look(trajectory, layers=LAYERS[:1], directions=27)
    assert rows.filter(like="share_").drop(columns="share_change").to_numpy() == pytest.approx(1.0, abs=1e-4)
    assert rows["share_change"][0] == pytest.approx(1.0, abs=1e-4)


def test_batch_norm_leaves_the_weights_no_share(trajectory: Trajectory) -> None:
    rows = look(trajectory)
    assert rows["share_weight"].max() < 1e-6
    plain = look(follow(replace(TINY, batch_norm=False, loss="covariance-plain"), 1))
    assert plain["share_weight"].max() > 1e-3


def test_at_a_high_temperature_infonce_is_the_simple_loss() -> None:
    hot = look(follow(replace(TINY, temperature=300.0, epochs=0), 1), epochs=[0])
    assert hot[["cos_simple", "cos_triplet"]].to_numpy() == pytest.approx(1.0, abs=1e-3)
    assert hot["cos_permuted"].max() < 0.9


def test_without_biases_the_operator_is_what_the_covariance_loss_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the same views, all upright, with the outputs as they are: the cosine is 1."""
    bare = follow(
        replace(TINY, batch_norm=False, loss="covariance-plain", epochs=0, strength=0.0, batch=40), 1
    )
    state = {n: v.zero_() if n.endswith("bias") else v for n, v in bare.states[0].items()}
    bare = Trajectory(bare.run, bare.rows, {0: state})
    images = bare.run.data.objects.images[bare.run.indices(0)]
    same = torch.stack([bare.run.data.view.plain(images)] * 2, 1)
    monkeypatch.setattr(image_operators, "fixed_views", lambda *_: same)
    rows = look(bare, epochs=[0], batches=1)
    assert rows["cos_operator"].to_numpy() == pytest.approx(1.0, abs=1e-4)


@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 2**31))
def test_nulls_know_nothing_of_the_outputs(size: int, width: int, seed: int) -> None:
    def slopes(outputs: torch.Tensor) -> dict[str, torch.Tensor]:
        live = outputs.clone().requires_grad_()
        found = targets(TINY, live, torch.Generator().manual_seed(seed))
        return {n: torch.autograd.grad(loss, live, retain_graph=True)[0] for n, loss in found.items()}

    outputs = torch.randn(2, size, 2, width, generator=torch.Generator().manual_seed(seed + 1))
    one, other = (slopes(half) for half in outputs)
    losses = ["infonce", "covariance", "triplet", "simple", "own"]
    assert list(one) == [*losses, "permuted", "labels", "object", "view"]
    torch.testing.assert_close(one["own"], one["infonce"])
    for name in ("object", "view"):
        torch.testing.assert_close(one[name], other[name])
    torch.testing.assert_close(one["object"][:, 0], one["object"][:, 1])
    assert not torch.equal(one["view"][:, 0], one["view"][:, 1])
    torch.testing.assert_close(one["labels"].shape, outputs[0].shape)


def test_complete_runs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(trajectory: Trajectory, epochs: list[int]) -> pd.DataFrame:
        return look(trajectory, epochs=epochs, layers=LAYERS[:1], objects=3, batches=1)

    monkeypatch.setattr(image_operators, "mechanism", few)
    table = operator_table([replace(TINY, seeds=2)], folder=tmp_path)
    assert sorted(set(table["seed"])) == [0, 1]
    assert sorted(set(table["epoch"])) == [0, 1, 2]
    assert set(table["torch"]) == {str(torch.__version__)}
    assert set(table["device"]) == {"cpu"}
    monkeypatch.setattr(image_operators, "follow", lambda *_, **__: pytest.fail("was run again"))
    pd.testing.assert_frame_equal(operator_table([replace(TINY, seeds=2)], folder=tmp_path), table)
    assert [path.name for path in tmp_path.iterdir()] == ["operators.csv"]
    assert set(table["channels"]) == {"3-4"}
    assert set(table["layer"]) <= set(image_operators.LAYERS.values())
