"""The views that suit each data set."""

from __future__ import annotations

import pytest
import torch

from ssl_theory.experiments.images import ImageExperiment, ImageRun, view_of
from ssl_theory.images import DigitViews, SimCLRViews, load_images


@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [
        ("digits", DigitViews, (1, 16, 16)),
        ("mnist", DigitViews, (1, 40, 40)),
        ("photographs", SimCLRViews, (3, 32, 32)),
    ],
)
def test_views_of_a_data_set(name: str, kind: type, shape: tuple[int, ...]) -> None:
    data = load_images(name)
    view = view_of(ImageExperiment.usual(name), data)
    assert isinstance(view, kind)
    seen = view(data.images[:8], generator=torch.Generator().manual_seed(0))
    assert seen.shape == (8, *shape) == view.plain(data.images[:8]).shape
    assert seen.isfinite().all()


@pytest.mark.parametrize("name", ["mnist", "photographs"])
def test_a_run_on_images_that_packages_carry(name: str) -> None:
    experiment = ImageExperiment.usual(name, channels=(4,), strides=(2,), hidden=8, outputs=4)
    run = ImageRun.on(experiment, 0, device="cpu")
    assert run.encoder.layers[0][0].in_channels == run.data.train.images.shape[1]
    assert run.loss(0).isfinite()
