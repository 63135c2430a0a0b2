"""Random views of images, drawn on their device and reproducible from a generator.

Sources: the augmentations of SimCLR, Chen et al., arXiv:2002.05709, as kornia implements them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from ssl_theory.images.data import as_float, check_images
from ssl_theory.images.randomness import drawing_from
from ssl_theory.validation import require_integer, require_real

__all__ = ["DigitViews", "SimCLRViews", "View", "two_views"]

BLUR_TAPS = 17  # four of the largest standard deviations to either side


@runtime_checkable
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
        """Return a canvas for each image; `draws` in [-1, 1] fix its turn, size and place."""
        check_images("images", images)
        height, width = images.shape[-2:]
        if max(height, width) > self.size:
            raise ValueError(f"images must fit on a canvas of {self.size} pixels, got {height} × {width}")
        angle, factor = self.rotation * draws[0], 1 + self.scale * draws[1]
        cos, sin = angle.cos(), angle.sin()
        far = (width - 1) / 2, (height - 1) / 2  # of the outermost pixels from the centre
        reach = torch.stack([cos.abs() * a + sin.abs() * b for a, b in (far, far[::-1])]) * factor
        room = ((self.size - 1) / 2 - reach).clamp(0, self.shift * self.size / 2)
        shift = draws[2:] * room

        # The place on the digit that a pixel of the canvas shows: shifted, turned and scaled back.
        pixels = torch.arange(self.size, device=images.device) - (self.size - 1) / 2
        dx, dy = (pixels - shift[..., None]).unbind()
        cos, sin = (cos / factor)[:, None], (sin / factor)[:, None]
        x = (cos * dx)[:, None, :] + (sin * dy)[:, :, None]
        y = (cos * dy)[:, :, None] - (sin * dx)[:, None, :]
        grid = torch.stack([x * (2 / width), y * (2 / height)]).permute(1, 2, 3, 0)
        canvas = F.grid_sample(as_float(images), grid, align_corners=False)
        return _normalised(canvas, *self._moments(height * width / self.size**2))

    def _moments(self, share: float) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of a canvas of which the digit covers a share."""
        mean = share * self.mean
        return mean, (share * (self.std.square() + self.mean.square()) - mean.square()).sqrt()


class SimCLRViews:
    """SimCLR's views: a resized crop, a flip, changed colours, grey, blur, in this order.

    Each part is left out where its number is 0; with `strength` 0 a view is the image itself. The defaults
    are SimCLR's for CIFAR-10, which has no blur; for larger images its blur is 0.5.

    Three details differ from other implementations. The order of the changes of colour is drawn once for a
    batch, not for each image. A crop is resized with the centres of its corner pixels on those of the view,
    and without a filter before it is shrunk. The blur reaches four standard deviations; over a tenth of the
    view, as SimCLR has it, a deviation of 2 pixels would become one of 1.85 in a view of 96.

    Args:
        mean: Mean of each of the 3 channels, shape (3,).
        std: Their standard deviation, shape (3,).
        size: Height and width of the views.
        crop: Strength c of the crop, 0…1: its share of the area is uniform in [1 − 0.92 c, 1], the logarithm
            of its shape (width to height) in [−c, c]·log(4/3), drawn anew where the crop does not fit.
        flip: Probability of a reflection left to right.
        colour: Strength s, 0…1, of a change of colours that 4 of 5 images undergo: brightness, contrast and
            saturation by a factor in [1 − 0.8 s, 1 + 0.8 s], hue by a share in [−0.2 s, 0.2 s] of the circle,
            in any order.
        grey: Probability of a picture without colours.
        blur: Probability of a Gaussian blur of standard deviation in [0.1, 2] pixels.
        strength: Factor of all of these, 0…1.

    Raises:
        TypeError: If a number is not real or the size not an integer.
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        mean: Float[Tensor, "3"],
        std: Float[Tensor, "3"],
        *,
        size: int = 32,
        crop: float = 1.0,
        flip: float = 0.5,
        colour: float = 0.5,
        grey: float = 0.2,
        blur: float = 0.0,
        strength: float = 1.0,
    ) -> None:
        from kornia import augmentation as kornia  # imports slowly

        self.mean, self.std = mean, std
        self.size = require_integer("size", size, 2)
        given = {"crop": crop, "flip": flip, "colour": colour, "grey": grey, "blur": blur}
        strength = _share("strength", strength)
        crop, flip, colour, grey, blur = (strength * _share(name, value) for name, value in given.items())
        self.parts: list[Callable[[Tensor], Tensor]] = []
        if crop:
            shape = (4 / 3) ** crop
            self.parts.append(
                kornia.RandomResizedCrop(
                    (size, size), (1 - 0.92 * crop, 1), (1 / shape, shape), cropping_mode="resample"
                )
            )
        else:
            self.parts.append(self._resized)
        if flip:
            self.parts.append(kornia.RandomHorizontalFlip(p=flip))
        if colour:
            self.parts.append(kornia.ColorJitter(*[0.8 * colour] * 3, 0.2 * colour, p=0.8))
        if grey:
            self.parts.append(kornia.RandomGrayscale(p=grey))
        if blur:
            taps = min(BLUR_TAPS, 2 * size - 1)  # the view is reflected at its edges
            self.parts.append(kornia.RandomGaussianBlur((taps, taps), (0.1, 2.0), p=blur))

    def __call__(
        self, images: Shaped[Tensor, "N 3 H W"], *, generator: torch.Generator
    ) -> Float[Tensor, "N 3 size size"]:
        """Return a random view of each image, normalised, (N, 3, H, W) -> (N, 3, size, size).

        Args:
            images: float32 in [0, 1] or uint8.
            generator: Source of randomness.

        Returns:
            float32, of mean about 0 and variance about 1 over pixels and images.

        Raises:
            TypeError: If the images are neither float32 nor uint8.
            ValueError: If there is no image, or it has not three channels.
        """
        return self._through(self.parts, images, generator)

    def plain(self, images: Shaped[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 size size"]:
        """Return each image whole, normalised, in the size of the views."""
        return self._through([self._resized], images, torch.Generator())

    def _through(
        self, parts: Sequence[Callable[[Tensor], Tensor]], images: Tensor, generator: torch.Generator
    ) -> Tensor:
        check_images("images", images)
        if images.shape[1] != 3:
            raise ValueError(f"images must have 3 channels, got {images.shape[1]}")
        values = as_float(images)
        with drawing_from(generator), torch.autocast(images.device.type, enabled=False):
            for part in parts:
                values = part(values)
        return _normalised(values, self.mean, self.std)

    def _resized(self, images: Tensor) -> Tensor:
        if images.shape[-2:] == (self.size, self.size):
            return images
        return F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)


def _normalised(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    mean, std = (values.to(images.device).view(-1, 1, 1) for values in (mean, std))
    return (images - mean) / std


def _not_negative(name: str, value: float) -> float:
    number = require_real(name, value)
    if number < 0:
        raise ValueError(f"{name} must not be negative, got {number}")
    return number


def _share(name: str, value: float) -> float:
    number = require_real(name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be from 0 to 1, got {number}")
    return number
