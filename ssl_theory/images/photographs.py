"""Photographs that come inside installed packages, cut into places: real colours without a download.

An object is a place in a picture, its label the picture. Each picture is cut in two halves along its longer
side with a gap between them; training images come from the first half, test images from the second, and a
half is reduced only after the cut, so that no pixel of one enters the other. Places of three sizes lie on a
grid whose step is a quarter of a place; of each picture equally many are kept, spread over all that have
something to see. An image is larger than the view it is seen in, so that a view is a crop of the place.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

__all__ = ["PICTURES", "SIZE", "VIEW", "Picture", "half", "read_photographs"]

SIZE, VIEW = 48, 32  # pixels of an image, and of a view of it
REDUCTIONS = (1, 2, 4)  # a place is as many times SIZE wide in its picture
LARGEST = 800  # larger pictures are reduced first
STEP = SIZE // 4
GAP = 1 / 8  # of the longer side; more than what moves between the two views of the motorcycle
CONTRAST = 8.0  # least standard deviation of a place's pixels, of 255
EACH = {"train": 300, "test": 150}  # images of each picture, all its files together


@dataclass(frozen=True)
class Picture:
    """A photograph inside a package.

    Attributes:
        name: Name of the class.
        package: Package that carries it.
        paths: Where in the package: one file, or several views of one scene.
        source: Who made it.
        licence: What the package says about its use.
    """

    name: str
    package: str
    paths: tuple[str, ...]
    source: str
    licence: str


def _of_scikit_image(name: str, *paths: str, source: str, licence: str) -> Picture:
    return Picture(name, "skimage", tuple(f"data/{path}" for path in paths), source, licence)


def _of_scikit_learn(name: str, source: str) -> Picture:
    return Picture(name, "sklearn", (f"datasets/images/{name}.jpg",), source, "CC BY 2.0")


PICTURES = (
    _of_scikit_learn("china", "danielbuechele, Flickr"),
    _of_scikit_learn("flower", "vultilion, Flickr"),
    _of_scikit_image("astronaut", "astronaut.png", source="NASA", licence="public domain"),
    _of_scikit_image("cat", "chelsea.png", source="Stefan van der Walt", licence="CC0"),
    _of_scikit_image("coffee", "coffee.png", source="Rachel Michetti", licence="CC0"),
    _of_scikit_image("rocket", "rocket.jpg", source="SpaceX", licence="public domain"),
    _of_scikit_image(
        "motorcycle",
        "motorcycle_left.png",
        "motorcycle_right.png",
        source="Scharstein et al., Middlebury stereo data 2014",
        licence="none stated",
    ),
    _of_scikit_image("galaxies", "hubble_deep_field.jpg", source="NASA, ESA", licence="public domain"),
    _of_scikit_image("retina", "retina.jpg", source="Mikael Häggström", licence="CC0"),
    _of_scikit_image(
        "tissue",
        "ihc.png",
        source="Center for Microscopy and Molecular Imaging",
        licence="no known copyright restrictions",
    ),
)


def read_photographs(split: str) -> tuple[UInt8[Tensor, "N 3 48 48"], Int[Tensor, " N"]]:
    """Return places of a split, picture after picture, equally many of each.

    Args:
        split: "train" or "test".

    Returns:
        Images, (N, 3, 48, 48), uint8; the number of their picture in `PICTURES`, (N,), int64.

    Raises:
        FileNotFoundError: If a package that carries pictures is not installed, or does not hold one.
    """
    found = [np.concatenate([_places(half(pixels, split)) for pixels in _open(p)]) for p in PICTURES]
    chosen = [places[np.linspace(0, len(places) - 1, EACH[split]).round().astype(int)] for places in found]
    labels = torch.arange(len(PICTURES)).repeat_interleave(EACH[split])
    return torch.from_numpy(np.concatenate(chosen)).permute(0, 3, 1, 2).contiguous(), labels


def half(pixels: NDArray[np.uint8], split: str) -> NDArray[np.uint8]:
    """Return the half of a picture, (H, W, 3), from which a split is cut; between the halves lies a gap.

    Args:
        pixels: Shape (H, W, 3).
        split: "train" for the first half along the longer side, "test" for the second.

    Returns:
        A view of shape (h, W, 3) or (H, w, 3).
    """
    axis = int(pixels.shape[1] >= pixels.shape[0])
    length = int(pixels.shape[axis] * (1 - GAP) / 2)
    kept = slice(length) if split == "train" else slice(-length, None)
    return pixels[:, kept] if axis else pixels[kept]


def _open(picture: Picture) -> list[NDArray[np.uint8]]:
    """Return the pixels of a picture's files, reduced to at most `LARGEST` along each side."""
    found = []
    for path in picture.paths:
        try:
            with (
                (importlib.resources.files(picture.package) / path).open("rb") as file,
                Image.open(file) as image,
            ):
                found.append(np.asarray(_reduced(image.convert("RGB"), -(-max(image.size) // LARGEST))))
        except (ModuleNotFoundError, FileNotFoundError):
            raise FileNotFoundError(
                f"photographs need {path} of the package {picture.package}: "
                "install the extra [data], as in pip install 'ssl-theory[data]'"
            ) from None
    return found


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """Return a picture whose pixels are means over squares of factor × factor."""
    return image.reduce(factor) if factor > 1 else image


def _places(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the places of all sizes that have some contrast, (M, SIZE, SIZE, 3), finest first."""
    windows = []
    for factor in REDUCTIONS:
        small = np.asarray(_reduced(Image.fromarray(pixels), factor))
        view: Any = np.lib.stride_tricks.sliding_window_view(small, (SIZE, SIZE), (0, 1))
        windows.append(view[::STEP, ::STEP].reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1))
    places: NDArray[np.uint8] = np.concatenate(windows)
    seen: NDArray[np.bool_] = places.std((1, 2)).mean(-1) >= CONTRAST
    return places[seen]
