"""Labelled images as tensors on a device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ssl_theory.images.archives import ARCHIVES, unpacked
from ssl_theory.training import resolve_device
from ssl_theory.validation import require_rank

Name = Literal["digits", "cifar10", "stl10"]
Split = Literal["train", "test", "unlabelled"]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images, their labels, and the statistics by which views are normalised.

    Attributes:
        images: Shape (N, C, H, W): float32 in [0, 1], or uint8 in 0…255, which takes a quarter of the memory.
        labels: Class of each image, shape (N,), int64; −1 where it is not known.
        name: Name of the data set.
        mean: Mean of each channel over the training images, shape (C,), in units of [0, 1].
        std: Their standard deviation, shape (C,).

    Raises:
        TypeError: If the images are neither float32 nor uint8, or labels, mean or std have another dtype.
        ValueError: If shapes do not fit, there is no image, or a pixel is not in [0, 1].
    """

    images: Shaped[Tensor, "N C H W"]
    labels: Int[Tensor, " N"]
    name: str
    mean: Float[Tensor, " C"]
    std: Float[Tensor, " C"]

    def __post_init__(self) -> None:
        check_images("images", self.images)
        if self.images.is_floating_point():
            low, high = self.images.aminmax()
            if not (low >= 0 and high <= 1):  # also where one is NaN
                raise ValueError(f"images must lie in [0, 1], got values from {float(low)} to {float(high)}")
        count, channels = self.images.shape[:2]
        for name, value, dtype, length in (
            ("labels", self.labels, torch.int64, count),
            ("mean", self.mean, torch.float32, channels),
            ("std", self.std, torch.float32, channels),
        ):
            if value.dtype != dtype:
                raise TypeError(f"{name} must be {dtype}, got {value.dtype}")
            if value.shape != (length,):
                raise ValueError(f"{name} must have shape ({length},), got {tuple(value.shape)}")

    def __len__(self) -> int:
        return len(self.images)


def check_images(name: str, images: Tensor) -> None:
    """Raise TypeError or ValueError unless `images` is float32 or uint8 of shape (N ≥ 1, C, H, W)."""
    if images.dtype not in (torch.float32, torch.uint8):
        raise TypeError(f"{name} must be float32 or uint8, got {images.dtype}")
    require_rank(name, images, 4, "(N, C, H, W)")
    if 0 in images.shape:
        raise ValueError(f"{name} must hold at least one image and pixel, got shape {tuple(images.shape)}")


def as_float(images: Shaped[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Return images in [0, 1] as float32, (N, C, H, W) -> (N, C, H, W); 255 of uint8 becomes 1."""
    return images if images.is_floating_point() else images.float() / 255


def load_images(
    name: Name,
    split: Split = "train",
    *,
    folder: str | Path | None = None,
    download: bool = True,
    device: str = "cpu",
) -> ImageSet:
    """Return a data set on a device.

    Args:
        name: "digits", scikit-learn's 1,797 digits of 8 × 8 pixels, of which a stratified fifth is the test
            split; "cifar10", colour images of 32 × 32; or "stl10", colour images of 96 × 96.
        split: "train", "test", or, of "stl10", "unlabelled".
        folder: Where the archives are kept; None for the user's cache folder. Digits need none.
        download: Whether an archive that is not there may be fetched.
        device: "auto", "cpu", "cuda" or "cuda:<index>".

    Returns:
        The images: float32 for digits, uint8 for the others.

    Raises:
        ValueError: If there is no such data set or split, or the device is not there.
        FileNotFoundError: If the data is not there and cannot be fetched; says what to put where.
        OSError: If the data cannot be written, or the archive is damaged or another file.
    """
    if name not in get_args(Name):
        raise ValueError(f"name must be one of {', '.join(get_args(Name))}, got {name!r}")
    splits = get_args(Split) if name == "stl10" else get_args(Split)[:2]
    if split not in splits:
        raise ValueError(f"split of {name} must be one of {', '.join(splits)}, got {split!r}")
    place = resolve_device(device)
    if name == "digits":
        read = _digits
    else:
        archive = ARCHIVES[name]
        read = partial(archive.read, unpacked(archive, folder, download=download))
    images, labels = read(split)
    known = images if split == "train" else read("train")[0]
    mean, std = _statistics(known)
    return ImageSet(images.to(place), labels.to(place), name, mean.to(place), std.to(place))


def _digits(split: str) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    chosen = train_test_split(
        np.arange(len(digits.target)), test_size=0.2, random_state=0, stratify=digits.target
    )[split == "test"]
    images = torch.from_numpy(digits.images[chosen]).float().unsqueeze(1) / 16
    return images, torch.from_numpy(digits.target[chosen]).long()


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, a thousand images at a time."""
    first, second = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for start in range(0, len(images), 1000):
        values = as_float(images[start : start + 1000]).double()
        first += values.mean((2, 3)).sum(0)
        second += values.square().mean((2, 3)).sum(0)
    mean, square = first / len(images), second / len(images)
    return mean.float(), (square - mean.square()).sqrt().float()
