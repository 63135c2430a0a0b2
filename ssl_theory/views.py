"""Objects and their augmentations as explicit, finite sets of views (T3).

A view set is a tensor of shape (N objects, A views, n_0 inputs). Objects are drawn uniformly, views of an
object uniformly and independently, so every expectation of the theory is a finite sum and exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.validation import (
    require_finite,
    require_float_tensor,
    require_generator,
    require_integer,
    require_outputs,
    require_rank,
    require_real,
)

__all__ = [
    "as_views",
    "between_trace",
    "centred_shapes",
    "cyclic_translations",
    "gaussian_views",
    "two_shapes",
    "within_trace",
]


def as_views(views: Tensor) -> Float[Tensor, "N A n_0"]:
    """Return `views` itself after checking that it is a view set.

    Args:
        views: Shape (N, A, n_0), float32 or float64: A equally likely augmentations of each of N
            equally likely objects.

    Returns:
        The same tensor.

    Raises:
        TypeError: If it is no float tensor.
        ValueError: If it has not three dimensions, one of them is 0, or an entry is not finite.
    """
    require_float_tensor("views", views)
    require_rank("views", views, 3, "(N objects, A augmentations, n_0)")
    if 0 in views.shape:
        raise ValueError(
            f"views must hold at least one object, view and input, got shape {tuple(views.shape)}"
        )
    require_finite("views", views)
    return views


def cyclic_translations(
    objects: Float[Tensor, "N *grid"], shifts: Sequence[int] | Sequence[tuple[int, int]] | None = None
) -> Float[Tensor, "N A n_0"]:
    """Augment patterns on a ring or images on a torus by cyclic translations.

    Args:
        objects: Patterns of shape (N, n), or images of shape (N, height, width).
        shifts: Which translations: integers for patterns, (rows, columns) for images; None for all
            n (or height·width) of them, which makes the augmentation mean constant.

    Returns:
        Views of shape (N, A, n_0), images flattened row by row.

    Raises:
        TypeError: If the objects are no float tensor.
        ValueError: If they have not two or three dimensions, or there is no shift.
    """
    require_float_tensor("objects", objects)
    if objects.ndim not in (2, 3):
        raise ValueError(f"objects must have shape (N, n) or (N, height, width), got {tuple(objects.shape)}")
    dims = tuple(range(1, objects.ndim))
    if shifts is None:
        grid = torch.cartesian_prod(*(torch.arange(objects.shape[d]) for d in dims))
        steps = grid.reshape(-1, len(dims)).tolist()
    else:
        steps = [[s] if isinstance(s, int) else list(s) for s in shifts]
    if not steps or any(len(step) != len(dims) for step in steps):
        raise ValueError(f"shifts must list at least one translation of {len(dims)} numbers, got {shifts}")
    return as_views(torch.stack([objects.roll(step, dims).flatten(1) for step in steps], 1))


def gaussian_views(
    objects: Float[Tensor, "N n_0"],
    count: int,
    scale: float = 1.0,
    *,
    generator: torch.Generator,
    centred: bool = True,
) -> Float[Tensor, "N A n_0"]:
    """Augment points by a fixed draw of Gaussian perturbations.

    Args:
        objects: Points, shape (N, n_0).
        count: Number A of views per object, at least 1.
        scale: Standard deviation of the perturbation, ≥ 0, in units of the inputs.
        generator: Source of randomness.
        centred: Whether the A perturbations of each object are shifted to mean exactly 0.

    Returns:
        Views of shape (N, A, n_0).

    Raises:
        TypeError: If the objects are no float tensor or the generator is none.
        ValueError: If they have not two dimensions, or `count` or `scale` is out of range.
    """
    require_float_tensor("objects", objects)
    require_rank("objects", objects, 2, "(N, n_0)")
    count = require_integer("count", count, 1)
    scale, generator = require_real("scale", scale), require_generator("generator", generator)
    if scale < 0:
        raise ValueError(f"scale must not be negative, got {scale}")
    shape = (objects.shape[0], count, objects.shape[1])
    noise = torch.randn(shape, generator=generator, dtype=objects.dtype, device=generator.device)
    if centred:
        noise = noise - noise.mean(1, keepdim=True)
    return as_views(objects.unsqueeze(1) + scale * noise.to(objects.device))


def between_trace(values: Float[Tensor, "N A n"]) -> Float[Tensor, ""]:
    """Return tr V_x[ḡ], the variance between objects of the augmentation mean of g.

    Args:
        values: g of every view, shape (N, A, n).

    Returns:
        A scalar.

    Raises:
        TypeError: If the values are no float tensor.
        ValueError: If they have not three dimensions, or one of them is 0.

    Example:
        >>> between_trace(torch.tensor([[[1.0], [3.0]], [[4.0], [8.0]]]))  # means 2 and 6
        tensor(4.)
    """
    means = require_outputs("values", values).mean(1)
    return (means - means.mean(0)).square().sum() / means.shape[0]


def within_trace(values: Float[Tensor, "N A n"]) -> Float[Tensor, ""]:
    """Return E_x tr V_aug[g | x], the mean variance of g within an object; see `between_trace`."""
    values = require_outputs("values", values)
    centred = values - values.mean(1, keepdim=True)
    return centred.square().sum() / (values.shape[0] * values.shape[1])


_SHAPES = (
    "..#..|..#..|#####|..#..|..#..",
    "#...#|.#.#.|..#..|.#.#.|#...#",
    "#....|#....|#....|#....|#####",
    "#####|....#|....#|....#|....#",
)


def two_shapes(redraw_left: int = 0) -> Float[Tensor, "N=16 A=16 n_0=50"]:
    """Return the small world of the book: pictures of two halves, a shape in each, in all their views.

    An object is a pair of the four shapes. Out of four views of it, `redraw_left` draw the left shape anew,
    the others the right one, each of the four shapes equally often. The average shape is subtracted, so that
    the halves differ by what the augmentation does to them alone.

    Args:
        redraw_left: How many of four views redraw the left half, 0 to 4. With 0 the left half is what an
            object is, and the right half is what the augmentation destroys.

    Returns:
        Views of shape (16, 16, 50), float64: the 25 pixels of the left half, then those of the right.

    Raises:
        TypeError: If `redraw_left` is no integer.
        ValueError: If it is not between 0 and 4.
    """
    require_integer("redraw_left", redraw_left, low=0, high=4)
    shapes = centred_shapes()
    kinds = range(len(shapes))
    objects = []
    for left, right in product(kinds, kinds):
        drawn = [(left, k) for k in kinds] * (4 - redraw_left) + [(k, right) for k in kinds] * redraw_left
        objects.append(torch.stack([torch.cat([shapes[a], shapes[b]]) for a, b in drawn]))
    return torch.stack(objects)


def centred_shapes() -> Float[Tensor, "shapes=4 pixels=25"]:
    """Return the four shapes of `two_shapes` less their average, float64, the pixels row by row."""
    pixels = torch.tensor(
        [[float(c == "#") for c in art if c != "|"] for art in _SHAPES], dtype=torch.float64
    )
    return pixels - pixels.mean(0)
