"""Drawing the small world of `ssl_theory.views.two_shapes`: views, and weights of neurons that look at them.

A picture is two square halves side by side. Pictures are laid out in rows, each half in a thin frame, so that
an object's views stand in one row, or a neuron's weights before and after training.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.pyplot import subplots
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ssl_theory.display.figures import DIVERGING, GREY, to_array
from ssl_theory.display.scenes import Grid, Line, Panel

__all__ = ["draw_shapes", "shapes_panel"]

FRAME = 0.6  # width of the frames, in points


def draw_shapes(
    pictures: ArrayLike | Tensor,
    columns: int = 1,
    *,
    limit: float | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw pictures of two halves in rows: white is 0, red positive, blue negative.

    Args:
        pictures: Real numbers, shape (n, 2·side²), such as views of `two_shapes` or rows of a first layer's
            weights: the pixels of the left half row by row, then those of the right. They fill rows one after
            the other.
        columns: Pictures in a row, such as the number of views shown of each object.
        limit: Size of the numbers that get the full colours; None for the largest size among them.
        title: One line above all of them.
        ax: Where to draw; a new figure if None.

    Returns:
        The axes.

    Raises:
        ValueError: If the pictures do not have that shape, `columns` does not divide their number, or
            `limit` is not positive.
    """
    image, (x, y), limit = _mosaic(pictures, columns, limit)
    high, wide = image.shape
    ax = subplots()[1] if ax is None else ax
    ax.imshow(image, cmap=DIVERGING, vmin=-limit, vmax=limit, extent=(0, wide, 0, high))
    ax.plot(x, y, color=GREY, lw=FRAME)
    ax.set(xlim=(-0.2, wide + 0.2), ylim=(-0.2, high + 0.2), title=title)
    ax.set_axis_off()
    return ax


def shapes_panel(
    pictures: ArrayLike | Tensor,
    columns: int = 1,
    *,
    limit: float | None = None,
    title: str = "",
) -> Panel:
    """Return the panel of a control's scene with pictures of two halves in rows; see `draw_shapes`.

    Args:
        pictures: As for `draw_shapes`.
        columns: Pictures in a row.
        limit: As for `draw_shapes`; give it in a control, lest its positions differ in scale.
        title: One line above all of them.

    Returns:
        The panel, without axes: the pictures, then their frames.

    Raises:
        ValueError: As `draw_shapes`.
    """
    image, (x, y), limit = _mosaic(pictures, columns, limit)
    high, wide = image.shape
    marks = [Grid(image, -limit, limit, (0, 0, wide, high)), Line(x, y, "grey", width=FRAME)]
    return Panel(marks, title=title, xlim=(-0.2, wide + 0.2), ylim=(-0.2, high + 0.2), axes=False, equal=True)


def _mosaic(
    pictures: ArrayLike | Tensor, columns: int, limit: float | None
) -> tuple[NDArray[Any], tuple[NDArray[Any], NDArray[Any]], float]:
    """Return all pixels as one image with gaps of NaN, the line of the frames, and the limit."""
    array = to_array(pictures).astype(float)
    side = math.isqrt(array.shape[-1] // 2) if array.ndim == 2 else 0
    if array.size == 0 or 2 * side**2 != array.shape[-1]:
        raise ValueError(f"pictures must have shape (n, 2 side²) with no 0, got {array.shape}")
    if columns < 1 or len(array) % columns:
        raise ValueError(f"columns must divide the number of pictures, {len(array)}, got {columns}")
    if limit is None:
        limit = float(np.abs(array).max()) or 1.0
    if not limit > 0:
        raise ValueError(f"limit must be positive, got {limit}")
    rows = len(array) // columns
    halves = array.reshape(rows, columns, 2, side, side)
    cells = np.full((rows, columns, side + 2, 2 * side + 4), np.nan)
    cells[:, :, :side, :side] = halves[:, :, 0]
    cells[:, :, :side, side + 1 : 2 * side + 1] = halves[:, :, 1]
    image = cells.transpose(0, 2, 1, 3).reshape(rows * (side + 2), -1)[:-2, :-3]
    return image, _frames(rows, columns, side), limit


def _frames(rows: int, columns: int, side: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return one line, broken by NaN, round every half."""
    left = (np.arange(columns)[:, None] * (2 * side + 4) + np.array([0, side + 1])).ravel()
    low = np.arange(rows) * (side + 2)
    corner_x, corner_y = (part.ravel()[:, None] for part in np.meshgrid(left, low))
    x = corner_x + side * np.array([0, 1, 1, 0, 0, np.nan])
    y = corner_y + side * np.array([0, 0, 1, 1, 0, np.nan])
    return x.ravel(), y.ravel()
