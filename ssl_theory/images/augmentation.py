"""Random views of images, drawn on their device and reproducible from a generator.

Sources: the augmentations of SimCLR, Chen et al., arXiv:2002.05709, as kornia implements them.
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from ssl_theory.images.data import as_float, check_images
from ssl_theory.validation import require_integer, require_real


class View(Protocol):
    """A random view of each of N images, and the plain view that shows the image as it is."""

    def __call__(
        self, images: Shaped[Tensor, "N C H W"], *, generator: torch.Generator
    ) -> Float[Tensor, "N C h w"]:
        """Return a random view of each image, normalised, (N, C, H, W) -> (N, C, h, w)."""

    def plain(self, images: Shaped[Tensor, "N C H W"]) -> Float[Tensor, "N C h w"]:
        """Return each image as it is, normalised, in the size of the views."""


def two_views(
    images: Shaped[Tensor, "N C H W"], view: View, *, generator: torch.Generator
) -> tuple[Float[Tensor, "N C h w"], Float[Tensor, "N C h w"]]:
    """Return two independent views of each image, each of shape (N, C, h, w).

    Args:
        images: Shape (N, C, H, W), float32 in [0, 1] or uint8.
        view: How a view is drawn.
        generator: Source of randomness.

    Returns:
        The first and the second views, in the order of the images.
    """
    return view(images, generator=generator), view(images, generator=generator)


class DigitViews:
    """Places each digit on a larger black canvas at a random place, turned and scaled.

    Turn and scale are uniform; the centre is uniform among the places at most `shift` away at which the
    pixels of the digit stay on the canvas. Values between pixels are interpolated linearly.

    Args:
        mean: Mean of each channel of the digits, shape (C,), before they are placed.
        std: Their standard deviation, shape (C,).
        size: Height and width of the canvas, at least those of the digits.
        rotation: Largest turn to either side, in radians.
        scale: Largest relative change of size, below 1.
        shift: Largest shift of the centre along each axis, in half widths of the canvas.
        strength: Factor of rotation, scale and shift.

    Raises:
        TypeError: If a number is not real or the size not an integer.
        ValueError: If a number is negative or not finite, or strength·scale is not below 1.
    """

    def __init__(
        self,
        mean: Float[Tensor, " C"],
        std: Float[Tensor, " C"],
        *,
        size: int = 16,
        rotation: float = 0.25,
        scale: float = 0.15,
        shift: float = 0.5,
        strength: float = 1.0,
    ) -> None:
        self.mean, self.std = mean, std
        self.size = require_integer("size", size, 2)
        strength = _not_negative("strength", strength)
        self.rotation = strength * _not_negative("rotation", rotation)
        self.scale = strength * _not_negative("scale", scale)
        self.shift = strength * _not_negative("shift", shift)
        if self.scale >= 1:
            raise ValueError(f"strength·scale must be below 1, got {self.scale}")

    def __call__(
        self, images: Shaped[Tensor, "N C H W"], *, generator: torch.Generator
    ) -> Float[Tensor, "N C size size"]:
        """Return a random view of each digit, normalised, (N, C, H, W) -> (N, C, size, size).

        Args:
            images: float32 in [0, 1] or uint8, no larger than the canvas.
            generator: Source of randomness.

        Returns:
            float32, of mean about 0 and variance about 1 over pixels and images.

        Raises:
            TypeError: If the images are neither float32 nor uint8.
            ValueError: If there is no image, or one does not fit on the canvas.
        """
        draws = torch.rand(4, len(images), generator=generator, device=generator.device).to(images.device)
        return self._place(images, 2 * draws - 1)

    def plain(self, images: Shaped[Tensor, "N C H W"]) -> Float[Tensor, "N C size size"]:
        """Return each digit upright in the middle of the canvas, normalised."""
        return self._place(images, torch.zeros(4, len(images), device=images.device))

    def _place(self, images: Tensor, draws: Float[Tensor, "4 N"]) -> Tensor:
        check_images("images", images)
        height, width = images.shape[-2:]
        if max(height, width) > self.size:
            raise ValueError(f"images must fit on a canvas of {self.size} pixels, got {height} × {width}")
        angle, factor = self.rotation * draws[0], 1 + self.scale * draws[1]
        cos, sin = angle.cos(), angle.sin()
        # Half extents of the centres of a digit's pixels once turned and scaled, and the room left to them.
        extents = [
            (a * cos + b * sin.abs()) * factor for a, b in ((width - 1, height - 1), (height - 1, width - 1))
        ]
        shifts = [
            draw * ((self.size - 1 - extent) / 2).clamp(0, self.shift * self.size / 2)
            for draw, extent in zip(draws[2:], extents, strict=True)
        ]
        # Where a pixel of the canvas comes from, in the units of grid_sample: [-1, 1] spans canvas or digit.
        per_pixel = self.size / factor
        inverse = torch.stack([torch.stack([cos, sin]), torch.stack([-sin, cos])]) * per_pixel
        inverse = inverse / torch.tensor([width, height], device=images.device).view(2, 1, 1)
        centre = torch.stack(shifts) * 2 / self.size
        offset = -(inverse * centre).sum(1, keepdim=True)
        grid = F.affine_grid(
            torch.cat([inverse, offset], 1).permute(2, 0, 1),
            [len(images), 1, self.size, self.size],
            align_corners=False,
        )
        return self._normalised(F.grid_sample(as_float(images), grid, align_corners=False), images)

    def _normalised(self, canvas: Tensor, images: Tensor) -> Tensor:
        """Return the canvas normalised by the moments of the digits together with their black surroundings."""
        share = images[0, 0].numel() / self.size**2
        mean = share * self.mean
        std = (share * (self.std.square() + self.mean.square()) - mean.square()).sqrt()
        return (canvas - _per_channel(mean, canvas)) / _per_channel(std, canvas)


def _per_channel(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device).view(-1, 1, 1)


def _not_negative(name: str, value: float) -> float:
    number = require_real(name, value)
    if number < 0:
        raise ValueError(f"{name} must not be negative, got {number}")
    return number
