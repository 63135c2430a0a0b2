"""The theme is deterministic and every shared plot shows what it was given."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure

from ssl_theory.display import figures

pytestmark = pytest.mark.usefixtures("theme")


def svg(figure: Figure) -> bytes:
    return figures.as_svg(figure).encode()


def figure_of(ax: Axes) -> Figure:
    figure = ax.figure
    assert isinstance(figure, Figure)
    return figure


def test_two_runs_draw_the_same_bytes():
    images = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    first, second = (svg(figures.image_grid(images, ["a", "b", "c"])) for _ in range(2))
    assert first == second
    assert b"<dc:date>" not in first


def test_palette_is_made_of_distinct_colours():
    assert len(set(figures.PALETTE)) == len(figures.PALETTE)
    cycle = [mpl.colors.to_hex(entry["color"]).upper() for entry in mpl.rcParams["axes.prop_cycle"]]
    assert cycle == [colour.upper() for colour in figures.PALETTE]


def test_background_is_opaque_in_the_saved_picture():
    figure = figure_of(figures.loglog_slope([1.0, 2.0], [1.0, 2.0], 1.0))
    assert figure.get_facecolor() == mpl.colors.to_rgba(figures.PAPER)
    assert f"fill: {figures.PAPER.lower()}".encode() in svg(figure)


def test_to_array_detaches():
    value = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert figures.to_array(value).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("shared", [True, False])
def test_image_grid_shows_zero_as_the_middle_colour(shared: bool):
    images = np.stack([np.full((2, 3), 0.5), np.array([[0, -4.0, 1], [0, 2, 0]]), np.zeros((2, 3))])
    figure = figures.image_grid(images, columns=2, shared_scale=shared)
    drawn = [ax.images[0] for ax in figure.axes if ax.images]
    assert len(drawn) == 3
    for image, original in zip(drawn, images, strict=True):
        low, high = image.get_clim()
        assert low == -high == (-4.0 if shared else -1.0)
        expected = original if shared or not original.any() else original / np.abs(original).max()
        np.testing.assert_array_equal(image.get_array(), expected)


def test_image_grid_hides_the_frames_of_empty_places():
    figure = figures.image_grid(np.ones((4, 2, 2)), list("abcd"), columns=3)
    bars = [ax for ax in figure.axes if any(isinstance(c, QuadMesh) for c in ax.collections)]
    assert len(figure.axes) == 6 + len(bars)
    assert [ax.get_title() for ax in figure.axes[:4]] == list("abcd")
    assert not any(ax.axison for ax in figure.axes[:6])


@pytest.mark.parametrize("slope", [1.0, 2.0, -0.5])
def test_slope_line_passes_through_exact_powers(slope: float):
    x = np.geomspace(1e-3, 10, 7)
    ax = figures.loglog_slope(x, 3 * x**slope, slope, label="θ", xlabel="$s$", ylabel="$\\|\\theta\\|$")
    line = ax.lines[1]
    assert line.get_label() == {1.0: "slope 1", 2.0: "slope 2", -0.5: "slope −0.5"}[slope]
    np.testing.assert_allclose(line.get_ydata(), 3 * np.asarray(line.get_xdata()) ** slope, rtol=1e-12)
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_slope_line_does_not_follow_points_of_another_slope():
    x = np.geomspace(1e-3, 1, 5)
    low, high = figures.loglog_slope(x, x, 2.0).lines[1].get_ydata()
    assert np.log(high / low) / np.log(1e3) == pytest.approx(2.0)


def drawn_tolerances(ax: Axes) -> list[float]:
    """Return the tolerance drawn in each row, from the top."""
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    return [float(segment[0, 0]) for segment in lines.get_segments()]


def test_claim_may_have_a_tolerance_of_its_own():
    ax = figures.error_cases({"a": [1e-15], "b": [1e-11], "c": [0.0]}, 1e-12, own={"b": 1e-10})
    assert drawn_tolerances(ax) == [1e-12, 1e-10, 1e-12]


def test_error_cases_shows_every_case_and_the_tolerance():
    errors = {"exact zero": np.zeros(3), "rounding": torch.tensor([1e-16, 1e-15])}
    ax = figures.error_cases(errors, 1e-12)
    zero, rounding = ax.lines
    assert np.all(np.asarray(zero.get_xdata()) > 0)
    assert np.asarray(rounding.get_xdata()).tolist() == pytest.approx([1e-16, 1e-15])
    assert drawn_tolerances(ax) == [1e-12, 1e-12]
    assert [text.get_text() for text in ax.get_yticklabels()] == list(errors)


def test_error_cases_draws_the_wrong_version_in_grey():
    grey, own = figures.error_cases({"a": [(1e-15, 0.5), (1e-16, 0.25)]}, 1e-12).lines
    assert grey.get_color() == figures.GREY
    assert np.asarray(grey.get_xdata()).tolist() == [0.5, 0.25]
    assert np.asarray(own.get_xdata()).tolist() == [1e-15, 1e-16]


def test_dense_layers_are_rasterised():
    many = figures.error_cases({"a": np.full(figures.DENSE + 1, 1e-15)}, 1e-12).lines[0]
    few = figures.error_cases({"a": np.full(figures.DENSE, 1e-15)}, 1e-12).lines[0]
    assert many.get_rasterized()
    assert not few.get_rasterized()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures.image_grid(np.ones((2, 2))), r"images must have shape .*got \(2, 2\)"),
        (lambda: figures.image_grid(np.ones((0, 2, 2))), r"images must .*got \(0, 2, 2\)"),
        (lambda: figures.image_grid(np.ones((2, 2, 2)), ["a"]), "titles must be empty or .*2 images, got 1"),
        (lambda: figures.image_grid(np.ones((2, 2, 2)), columns=0), "columns must be at least 1, got 0"),
        (lambda: figures.loglog_slope([1.0], [1.0, 2.0], 2), r"x and y must share a shape"),
        (lambda: figures.loglog_slope([1.0, 2.0], [1.0, 0.0], 2), "x and y must be positive"),
        (lambda: figures.error_cases({}, 1e-12), "errors must hold at least one claim"),
        (lambda: figures.error_cases({"a": [1.0]}, 0.0), "tolerance must be positive, got 0"),
        (lambda: figures.error_cases({"a": [1.0]}, 1.0, own={"a": -1.0}), "tolerance must .* -1.0 for 'a'"),
        (
            lambda: figures.error_cases({"a": [1.0]}, 1.0, own={"b": 1.0}),
            r"own must name claims among \['a'\]",
        ),
        (lambda: figures.error_cases({"a": [float("nan")]}, 1e-12), r"errors\['a'\] must be non-negative"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("low", "high", "marks"), [(1e-3, 1e2, False), (1.0, 6.0, True)])
def test_marks_between_decades_are_kept_where_they_have_numbers(low: float, high: float, marks: bool) -> None:
    figure, (one, other) = plt.subplots(1, 2)
    one.set(xscale="log", xlim=(low, high))
    other.set(yscale="log", ylim=(high, low))  # also upside down
    svg(figure)
    for axis in (one.xaxis, other.yaxis):
        texts = [text.get_text() for text in axis.get_ticklabels(minor=True)]
        assert any(texts) is marks
    assert not other.xaxis.get_minorticklocs().size


def test_a_figure_that_wants_no_layout_gets_none() -> None:
    assert plt.figure(layout="none").get_layout_engine() is None
    assert type(plt.figure().get_layout_engine()).__name__ == "_Layout"


def test_svg_is_what_savefig_would_write_and_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figure_of(figures.loglog_slope([1.0, 20.0], [1e-3, 2.0], 1.0))
    saved = io.StringIO()
    figure.savefig(saved, format="svg", metadata=figures.SVG_METADATA)
    canvas, dpi, draw, drawn = figure.canvas, figure.dpi, Figure.draw, list[Figure]()
    monkeypatch.setattr(Figure, "draw", lambda self, renderer: (drawn.append(self), draw(self, renderer)))
    assert figures.as_svg(figure) == saved.getvalue()
    assert drawn == [figure]
    assert (figure.canvas, figure.dpi) == (canvas, dpi)


@pytest.mark.parametrize(
    ("scale", "limits", "texts"),
    [
        ("log", (1e-13, 1e-11), ["10⁻¹³", "10⁻¹²", "10⁻¹¹"]),
        ("log", (2e-3, 4e-3), ["2×10⁻³", "3×10⁻³", "4×10⁻³"]),
        ("symlog", (-100, 100), ["−10²", "−10¹", "−10⁰", "0", "10⁰", "10¹", "10²"]),
    ],
)
def test_numbers_of_logarithmic_axes_are_letters(scale: str, limits: tuple[float, float], texts: list[str]):
    figure, ax = plt.subplots()
    ax.set(xscale=scale, xlim=limits)
    svg(figure)
    shown = {t.get_text() for minor in (False, True) for t in ax.get_xticklabels(minor=minor)}
    assert shown >= set(texts)
    assert not any("$" in text for text in shown)


def test_numbers_that_a_figure_asks_for_are_left_alone() -> None:
    figure, ax = plt.subplots()
    ax.set(xscale="log", xlim=(1, 1000))
    ax.set_xticks([10], ["ten"])
    svg(figure)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["ten"]


def test_a_cell_draws_its_figures_once() -> None:
    program = """
import io, contextlib
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("from ssl_theory.display.figures import use_theme; use_theme()")
from matplotlib.figure import Figure
draw, drawn = Figure.draw, []
Figure.draw = lambda self, renderer: (drawn.append(type(renderer).__name__), draw(self, renderer))
with contextlib.redirect_stdout(io.StringIO()):
    shell.run_cell("import matplotlib.pyplot as plt; figure, ax = plt.subplots(); ax.plot([1, 2])")
print(*drawn)
"""
    environment = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert told.stdout.split() == ["MixedModeRenderer"], told.stderr
