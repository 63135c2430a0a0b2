"""The experiment on images, at a size that takes seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import torch
from torch import Tensor

from ssl_theory.experiments.images import (
    ImageExperiment,
    ImageRun,
    LossName,
    labelled,
    pixels,
    run,
)
from ssl_theory.images import load_images

TINY = ImageExperiment(
    channels=(4, 8), strides=(2, 2), hidden=8, outputs=4, batch=512, epochs=2, measure_every=1, copies=2
)


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
        ({"beta": float("inf")}, ValueError, "beta must be finite, got inf"),
        ({"strength": -1.0}, ValueError, "strength must not be negative, got -1.0"),
        (
            {"beta": -1.0, "beta_convention": "released"},
            ValueError,
            "beta must be greater than -1 with",
        ),
        (
            {"beta": 1.0, "beta_convention": "released", "loss": "simple"},
            ValueError,
            "beta_convention must be 'book' with loss 'simple'",
        ),
        (
            {"beta_convention": "paper"},
            ValueError,
            "beta_convention must be one of book, released",
        ),
        ({"channels": ()}, ValueError, r"channels must list a number for each layer, got \(\)"),
        ({"channels": "ab"}, ValueError, "channels must list a number for each layer, got 'ab'"),
        ({"channels": (0, 8)}, ValueError, r"channels\[0\] must be at least 1, got 0"),
        ({"channels": (4, 8.0)}, TypeError, r"channels\[1\] must be an integer, got 8.0"),
        (
            {"channels": (4,)},
            ValueError,
            r"strides must be as many as channels, got \(2, 2\) for",
        ),
        ({"strides": None}, ValueError, "strides must list a number for each layer, got None"),
        ({"strides": (0, 1)}, ValueError, r"strides\[0\] must be at least 1, got 0"),
        ({"epochs": 10**30}, ValueError, "epochs must be at most 2147483647, got 1000"),
        ({"batch_norm": "x"}, TypeError, "batch_norm must be True or False, got 'x'"),
        ({"seed": 2**64}, ValueError, "seed must be from 0 to 8796093022207, got 18446744073709551616"),
        ({"loss": None}, ValueError, "loss must be one of infonce, .*, got None"),
        ({"temperature": True}, TypeError, "temperature must be a real number, got True"),
        ({"strength": float("nan")}, ValueError, "strength must be finite"),
        ({"loss": "nce"}, ValueError, "loss must be one of infonce, simple, triplet, covariance, infonce-p"),
        ({"data": "svhn"}, ValueError, "data must be one of digits, .*cifar10, stl10, got 'svhn'"),
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
        load_images("cifar10", folder=tmp_path, download=False)


@pytest.mark.bad_input
def test_out_of_memory_says_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: ImageRun, step: int) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ImageRun, "loss", full)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        run(TINY, device="cpu")
    assert "lower the batch" in " ".join(caught.value.__notes__)
