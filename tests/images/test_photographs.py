from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_theory.images import load_images
from ssl_theory.images.photographs import EACH, GAP, LARGEST, PICTURES, REDUCTIONS, SIZE, _open, half


@pytest.mark.parametrize("split", ["train", "test"])
def test_equally_many_different_places_of_each_picture(split: str) -> None:
    data = load_images("photographs", split)
    assert data.images.shape == (10 * EACH[split], 3, SIZE, SIZE)
    assert torch.equal(data.labels.bincount(), torch.full((10,), EACH[split]))
    assert len(data.images.flatten(1).unique(dim=0)) == len(data)
    contrast = data.images.float().flatten(2).std(2, correction=0).mean(1)
    assert contrast.min() >= 8


@pytest.mark.parametrize("shape", [(20, 40), (40, 20), (16, 16), (427, 640), (300, 451)])
def test_halves_are_disjoint_with_a_gap_along_the_longer_side(shape: tuple[int, int]) -> None:
    count = shape[0] * shape[1]
    digits = [np.arange(count) // 256**k % 256 for k in range(3)]
    coloured = np.stack(digits, -1).astype(np.uint8).reshape(*shape, 3)  # each pixel has a colour of its own
    train, test = (
        set((half(coloured, split).astype(int) @ [1, 256, 65536]).flatten().tolist())
        for split in ("train", "test")
    )
    assert not train & test
    assert len(train) == len(test)
    axis = int(shape[1] >= shape[0])
    places = [sorted({divmod(v, shape[1])[axis] for v in part}) for part in (train, test)]
    assert (places[0][0], places[1][-1]) == (0, shape[axis] - 1)
    assert places[1][0] - places[0][-1] - 1 >= GAP * shape[axis]


def test_every_image_is_a_reduced_window_of_the_half_of_its_picture() -> None:
    for split in ("train", "test"):
        data = load_images("photographs", split)
        for label in (0, 3, 6):
            parts = [
                torch.from_numpy(np.array(Image.fromarray(half(p, split)).reduce(k))).permute(2, 0, 1)
                for p in _open(PICTURES[label])
                for k in REDUCTIONS
            ]
            for image in data.images[data.labels == label][::50]:
                assert any(_holds(part, image) for part in parts)


def _holds(picture: torch.Tensor, image: torch.Tensor) -> bool:
    windows = picture.unfold(1, SIZE, 1).unfold(2, SIZE, 1).permute(1, 2, 0, 3, 4)
    corner = (windows[..., 0, 0] == image[:, 0, 0]).all(-1).nonzero()
    return any(torch.equal(windows[tuple(place)], image) for place in corner)


def test_the_gap_is_wider_than_what_moves_between_the_two_views_of_the_motorcycle() -> None:
    motorcycle = next(p for p in PICTURES if p.name == "motorcycle")
    left, _ = _open(motorcycle)
    with np.load(_skimage_file("data/motorcycle_disp.npz")) as file:
        disparity = file["arr_0"]
    assert disparity[np.isfinite(disparity)].max() < GAP * left.shape[1]


def _skimage_file(path: str) -> str:
    from importlib.resources import files

    return str(files("skimage") / path)


def test_pictures_are_said_to_be_free_or_that_nothing_is_said_and_are_not_too_large() -> None:
    assert len({p.name for p in PICTURES}) == len(PICTURES) == 10
    for picture in PICTURES:
        assert picture.source
        assert picture.licence
        assert all(max(pixels.shape) <= LARGEST for pixels in _open(picture))
