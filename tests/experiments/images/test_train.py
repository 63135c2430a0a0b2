"""The experiment on images, at a size that takes seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ssl_theory.checks import relative_error
from ssl_theory.experiments import images
from ssl_theory.experiments.images import (
    ImageExperiment,
    ImageRun,
    LossName,
    batch_loss,
    in_batch,
    infonce_balance,
    labelled,
    pixels,
    run,
)
from ssl_theory.losses import InfoNCE, SimpleContrastive, SoftTriplet, nt_xent, two_view_covariance_loss

TINY = ImageExperiment(
    channels=(4, 8), strides=(2, 2), hidden=8, outputs=4, batch=512, epochs=2, measure_every=1, copies=2
)


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
        plain, extended = (
            batch_loss(replace(TINY, loss=name, beta=b, temperature=0.5))(first, second) for b in (0.0, 3.0)
        )
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


@pytest.mark.parametrize("loss", get_args(LossName))
def test_every_loss_runs_and_learns_something(loss: Any) -> None:
    rows = run(replace(TINY, loss=loss, epochs=1), device="cpu")
    assert rows["epoch"].tolist() == [0, 1]
    assert rows["seed"].tolist() == [0, 0]
    assert not rows.drop(columns="loss").isna().any().any()
    assert rows["linear"].between(0.1, 1.0).all()
    assert rows["linear"].nunique() == 2  # the encoder has moved


def test_seeds_do_not_depend_on_their_number(tmp_path: Path) -> None:
    two = run(replace(TINY, seeds=2), device="cpu", folder=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{TINY.name}-{s}.pt" for s in (0, 1)]
    second = run(replace(TINY, seed=1), device="cpu")
    pd.testing.assert_frame_equal(two[two["seed"] == 1].reset_index(drop=True), second)
    assert not two[two["seed"] == 0]["linear"].reset_index(drop=True).equals(second["linear"])


def test_a_killed_run_goes_on_and_complete_ones_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = replace(TINY, seeds=2)
    whole = run(experiment, device="cpu")
    calls = 0
    loss = ImageRun.loss

    def stops(self: ImageRun, step: int) -> Tensor:
        nonlocal calls
        calls += 1
        if (self.seed, step) == (1, 3):
            raise RuntimeError("power cut")
        return loss(self, step)

    monkeypatch.setattr(ImageRun, "loss", stops)
    with pytest.raises(RuntimeError, match="power cut"):
        run(experiment, device="cpu", folder=tmp_path)
    partial = tmp_path / f"{TINY.name}-1.pt.partial"  # as if killed while a checkpoint was written
    partial.write_bytes(b"half a checkpoint")
    monkeypatch.setattr(ImageRun, "loss", lambda self, step: counted(self, step))
    calls = 0

    def counted(self: ImageRun, step: int) -> Tensor:
        nonlocal calls
        calls += 1
        assert (self.seed, step) >= (1, 2)
        return loss(self, step)

    pd.testing.assert_frame_equal(run(experiment, device="cpu", folder=tmp_path), whole)
    assert 1 <= calls <= 2
    calls = 0
    pd.testing.assert_frame_equal(run(experiment, device="cpu", folder=tmp_path), whole)
    assert calls == 0


def test_batches_take_each_image_once_an_epoch() -> None:
    one = ImageRun.on(replace(TINY, batch=500), 3, device="cpu")
    first, second = ([one.indices(e * one.steps + i) for i in range(one.steps)] for e in (0, 1))
    assert one.steps == 2
    assert len(torch.cat(first).unique()) == 1000
    assert not torch.equal(torch.cat(first), torch.cat(second))
    assert torch.equal(one.indices(1), first[1])  # also out of order, as a resumed run asks


def test_pixels_and_labels() -> None:
    experiment = replace(TINY, seeds=2, beta=0.5)
    rows = labelled(experiment, pixels(experiment, device="cpu"), loss_name="pixels", device="cpu")
    assert rows["loss_name"].tolist() == ["pixels"] * 2
    assert rows["channels"].tolist() == ["4-8"] * 2
    assert rows["beta"].tolist() == [0.5] * 2
    assert rows["seed"].tolist() == [0, 1]
    assert rows["linear"].max() < 0.4


def test_settings_of_photographs_follow_the_paper() -> None:
    for data in ("cifar10", "stl10"):
        usual = ImageExperiment.usual(data)
        assert (usual.encoder, usual.hidden, usual.outputs) == ("resnet18", 512, 128)
        assert (usual.temperature, usual.batch, usual.rate, usual.schedule) == (0.5, 128, 1e-3, "constant")
    assert ImageExperiment.usual("digits") == ImageExperiment()
    assert ImageExperiment.usual("cifar10", batch=1024).batch == 1024


def test_names_tell_settings_apart_but_not_numbers_of_seeds() -> None:
    assert TINY.name == replace(TINY, seeds=5, seed=3).name
    assert TINY.name != replace(TINY, temperature=0.3).name


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"temperature": 0.0}, ValueError, "temperature must be finite and greater than 0, got 0.0"),
        ({"batch": 1}, ValueError, "batch must be at least 2, got 1"),
        ({"batch": 128.0}, TypeError, "batch must be an integer"),
        ({"beta": -1.0}, ValueError, "beta must not be negative, got -1.0"),
        ({"strength": float("nan")}, ValueError, "strength must be finite"),
        ({"loss": "nce"}, ValueError, "loss must be one of infonce, simple, triplet, covariance, cov"),
        ({"data": "mnist"}, ValueError, "data must be one of digits, cifar10, stl10, got 'mnist'"),
        ({"encoder": "vit"}, ValueError, "encoder must be one of conv, resnet18, got 'vit'"),
        ({"schedule": "step"}, ValueError, "schedule must be one of constant, cosine"),
        ({"copies": 1}, ValueError, "copies must be at least 2, got 1"),
        ({"epochs": -1}, ValueError, "epochs must be at least 0, got -1"),
    ],
)
def test_bad_experiments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(TINY, **options)


@pytest.mark.bad_input
def test_bad_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="batch must be at most 1437, the number of images, got 2000"):
        run(replace(TINY, batch=2000), device="cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device must be auto or one of cpu, as torch .* got 'cuda'"):
        run(TINY, device="cuda")
    with pytest.raises(OSError, match="nowhere"):
        run(TINY, device="cpu", folder=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="cifar"):
        images.load_images("cifar10", folder=tmp_path, download=False)


@pytest.mark.bad_input
def test_out_of_memory_says_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: ImageRun, step: int) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ImageRun, "loss", full)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        run(TINY, device="cpu")
    assert "lower the batch" in " ".join(caught.value.__notes__)
