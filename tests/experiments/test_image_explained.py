"""How much of the step is the operator times the weights, in encoders where it acts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ssl_theory.experiments import image_explained
from ssl_theory.experiments.image_explained import explained, explained_table
from ssl_theory.experiments.image_operators import Trajectory, follow
from ssl_theory.experiments.images import ImageExperiment, ImageRun
from ssl_theory.losses import InfoNCE
from ssl_theory.losses.weights import mean_loss
from ssl_theory.networks import vec

TINY = ImageExperiment(
    channels=(3, 4), strides=(2, 2), hidden=6, outputs=3, batch=128, epochs=2, measure_every=1, copies=2,
    loss="infonce-plain", batch_norm=False, biases=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def trajectory() -> Trajectory:
    return follow(TINY, 1, evaluated=False)


def look(trajectory: Trajectory, epoch: int, **changes: Any) -> pd.DataFrame:
    return explained(trajectory, epoch, **{"objects": 6, "copies": 2, "batches": 2, **changes})


def test_encoders_without_biases_are_homogeneous(trajectory: Trajectory) -> None:
    model = trajectory.model(2)
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    views = image_explained._views(trajectory.run, 3, 2).flatten(0, 1)
    weight = dict(model.named_parameters())["0.layers.0.0.weight"]
    before = model(views)
    with torch.no_grad():
        weight *= 3.0
    torch.testing.assert_close(model(views), 3.0 * before)


def test_the_step_is_that_of_the_loss_by_automatic_differentiation(trajectory: Trajectory) -> None:
    """Its cosine with the weights is that of minus the gradient of the loss over all draws."""
    views = image_explained._views(trajectory.run, 6, 2)
    model = trajectory.model(1)
    weight = dict(model.named_parameters())["0.layers.1.0.weight"]
    outputs = model(views.flatten(0, 1)).unflatten(0, views.shape[:2])
    (slope,) = torch.autograd.grad(mean_loss(outputs, InfoNCE(0.2), 1), weight)
    rows = look(trajectory, 1).set_index("layer")
    flat = vec(weight.detach().flatten(1))
    expected = torch.cosine_similarity(-vec(slope.flatten(1)), flat, dim=0)
    assert rows.loc["convolution 2", "cos_weights"] == pytest.approx(float(expected), abs=1e-4)


def test_near_collapse_the_operator_is_all_there_is() -> None:
    """Outputs that nearly agree: the loss is linear in the distances, and the residue small."""
    calm = follow(replace(TINY, temperature=200.0, epochs=0), 1, evaluated=False)
    rows = look(calm, 0)
    assert rows["cos_leading"].to_numpy() == pytest.approx(1.0, abs=1e-4)
    assert rows["length_leading"].to_numpy() == pytest.approx(1.0, abs=1e-2)
    assert rows["residue"].max() < 1e-3
    assert rows["cos_constant"].to_numpy() == pytest.approx(1.0, abs=1e-4)
    hot = look(follow(replace(TINY, temperature=1e-4, epochs=0), 1, evaluated=False), 0)
    assert hot["residue"].max() > 0.05


def test_residue_length_and_cosine_are_one_triangle() -> None:
    rows = look(follow(replace(TINY, temperature=1e-3, epochs=0), 1, evaluated=False), 0)
    third = 1 - 2 * rows["cos_leading"] * rows["length_leading"] + rows["length_leading"] ** 2
    assert rows["residue"].to_numpy() == pytest.approx(third.to_numpy(), rel=1e-3)
    assert (rows["length_leading"] - 1).abs().max() > 0.03
    assert rows["layer"].tolist() == ["convolution 1", "convolution 2", "projector", "top"]


def test_fresh_batches_agree_where_all_views_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """No augmentation, the test images in the place of the batches: step and operator are one."""
    calm = follow(replace(TINY, temperature=200.0, epochs=0, strength=0.0, batch=360), 1, evaluated=False)
    calm.run.data = replace(calm.run.data, objects=calm.run.data.test)
    order = torch.randperm(360, generator=torch.Generator().manual_seed(1))
    halves = [order[:180], order[180:]]
    monkeypatch.setattr(ImageRun, "indices", lambda _, step: halves[step % 2])
    rows = look(calm, 0)
    assert rows["cos_fresh"].to_numpy() == pytest.approx(1.0, abs=0.1)  # here both have the same noise
    assert rows["cos_permuted"].max() < 0.8
    assert rows["length_fresh"].to_numpy() == pytest.approx(1.0, abs=0.02)


def test_a_table_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(trajectory: Trajectory, epoch: int) -> pd.DataFrame:
        return look(trajectory, epoch)

    monkeypatch.setattr(image_explained, "explained", few)
    found = explained_table([replace(TINY, epochs=1, seeds=2)], folder=tmp_path)
    assert found.groupby(["seed", "epoch"]).size().to_dict() == {(s, m): 4 for s in (0, 1) for m in (0, 1)}
    assert set(found["torch"]) == {str(torch.__version__)}
    monkeypatch.setattr(image_explained, "follow", lambda *_, **__: pytest.fail("was run again"))
    again = explained_table([replace(TINY, epochs=1, seeds=2)], folder=tmp_path)
    pd.testing.assert_frame_equal(again, found)


@pytest.mark.bad_input
def test_bad_input(trajectory: Trajectory) -> None:
    biased = follow(replace(TINY, biases=True, epochs=0), 1, evaluated=False)
    with pytest.raises(ValueError, match="trajectory must be of a loss on plain outputs, infonce-plain or"):
        look(biased, 0)
    usual = replace(TINY, loss="infonce", batch_norm=True, biases=True, epochs=0)
    normalised = follow(usual, 1, evaluated=False)
    with pytest.raises(ValueError, match="got infonce, batch_norm=True, biases=True"):
        look(normalised, 0)
    with pytest.raises(ValueError, match="batches must be even, for two halves, got 3"):
        look(trajectory, 0, batches=3)
    with pytest.raises(ValueError, match="objects must be from 2 to 360, got 1"):
        look(trajectory, 0, objects=1)
    with pytest.raises(ValueError, match=r"epoch must be one of \[0, 1, 2\], got 9"):
        look(trajectory, 9)
    with pytest.raises(ValueError, match="biases must be True with batch_norm"):
        ImageExperiment(biases=False)
    with pytest.raises(TypeError, match="biases must be True or False"):
        ImageExperiment(biases=1)  # type: ignore[arg-type]
