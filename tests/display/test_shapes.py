"""Drawn pictures of two halves show what they were given, in figures and in scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ssl_theory.display.scenes import Grid, Line, Scene
from ssl_theory.display.shapes import draw_shapes, shapes_panel
from ssl_theory.views import two_shapes

pytestmark = pytest.mark.usefixtures("theme")


def numbered(rows: int, columns: int, side: int) -> np.ndarray:
    """Return pictures whose pixels are all different."""
    return np.arange(1.0, rows * columns * 2 * side**2 + 1).reshape(rows * columns, -1)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
def test_every_half_stands_in_its_own_frame(rows: int, columns: int, side: int) -> None:
    pictures = numbered(rows, columns, side)
    grid, frames = shapes_panel(pictures, columns).marks
    assert isinstance(grid, Grid)
    assert isinstance(frames, Line)
    image, corners = np.array(grid.values), np.stack([frames.x, frames.y], 1).reshape(-1, 6, 2)
    assert grid.box == (0, 0, image.shape[1], image.shape[0])
    assert len(corners) == rows * columns * 2
    assert np.count_nonzero(~np.isnan(image)) == pictures.size
    halves = pictures.reshape(rows, columns, 2, side, side)
    found = []
    for corner in corners:
        (left, low), (right, top) = corner[0].astype(int), corner[2].astype(int)
        assert (right - left, top - low) == (side, side)
        found.append(image[len(image) - top : len(image) - low, left:right])
    # frames go row by row from below, pictures from above
    expected = halves[::-1].reshape(-1, side, side)
    assert np.array_equal(np.stack(found), expected)


def test_figures_show_the_same_as_scenes() -> None:
    views = two_shapes()[::4, :3].flatten(0, 1)
    ax = draw_shapes(views, 3, title="three views of four objects")
    grid, frames = shapes_panel(views, 3).marks
    assert isinstance(grid, Grid)
    assert isinstance(frames, Line)
    (image,), (line,) = ax.images, ax.lines
    drawn = np.ma.filled(image.get_array(), np.nan)
    assert np.array_equal(drawn, np.array(grid.values), equal_nan=True)
    assert np.array_equal(line.get_xydata(), np.stack([frames.x, frames.y], 1), equal_nan=True)
    assert ax.get_title() == "three views of four objects"
    assert image.get_clim() == (grid.low, grid.high)


def test_colours_reach_to_the_largest_size_unless_told() -> None:
    pictures = torch.tensor([[0.5, -2.0]])
    assert draw_shapes(pictures).images[0].get_clim() == (-2, 2)
    assert draw_shapes(pictures, limit=0.8).images[0].get_clim() == (-0.8, 0.8)
    assert draw_shapes(0 * pictures).images[0].get_clim() == (-1, 1)


def test_pictures_make_a_scene() -> None:
    panel = shapes_panel(two_shapes()[0, :2], 2, limit=1.0, title="views")
    assert Scene([panel]).data()["panels"][0]["title"] == "views"


@pytest.mark.parametrize("shape", [(3, 12), (50,), (0, 50), (2, 0), (1, 2, 50), (1, 51)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"pictures must have shape \(n, 2 side²\) with no 0, got"):
        draw_shapes(torch.zeros(shape))


@pytest.mark.parametrize("columns", [0, 2, 4])
def test_rows_must_be_full(columns: int) -> None:
    with pytest.raises(ValueError, match=f"columns must divide the number of pictures, 3, got {columns}"):
        shapes_panel(torch.zeros(3, 50), columns)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_limits_must_be_positive(limit: float) -> None:
    with pytest.raises(ValueError, match="limit must be positive, got"):
        draw_shapes(torch.zeros(1, 50), limit=limit)
