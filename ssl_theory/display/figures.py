"""One theme for every figure of the book, and the plots that more than one chapter uses.

Figures are drawn as SVG on opaque, soft white paper, with the letters of the pages, and two runs of the same
code give the same bytes; what a dark page shows is made from them (`ssl_theory.display.dark`). Colours stay
apart for colour-blind readers (Okabe and Ito's set, doi:10.1038/nmeth.1618).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.core.getipython import get_ipython
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogFormatterSciNotation, NullLocator
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ssl_theory.display import fonts

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY = PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#6B6B6B",
)
INK = "#2B2F36"
PAPER = "#FBFAF7"
DIVERGING, SEQUENTIAL = "RdBu_r", "paper_to_blue"  # names of matplotlib colour maps

SVG_METADATA = {"Date": None, "Creator": None}
DECADES = 100  # ratio of a logarithmic axis' ends from which on its marks between decades have no numbers
DENSE = 400  # more marks than this are rasterised: the SVG would outweigh the page

_RAISED = str.maketrans("−0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

colormaps.register(LinearSegmentedColormap.from_list(SEQUENTIAL, [PAPER, BLUE]), force=True)

_STYLE: dict[str, Any] = {
    "axes.edgecolor": "#9AA0A8",
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.wspace": 0.04,
    "figure.dpi": 144,
    "figure.facecolor": PAPER,
    "figure.figsize": (5.8, 3.4),
    "figure.hooks": ["ssl_theory.display.figures:prepare"],
    "font.family": [fonts.FAMILY, "DejaVu Sans"],  # the latter for signs that the former lacks
    "font.size": 10,
    "grid.color": "#E4E2DC",
    "grid.linewidth": 0.7,
    "image.cmap": SEQUENTIAL,
    "image.interpolation": "nearest",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "mathtext.fontset": "cm",
    "patch.linewidth": 0.6,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "path",
    "svg.hashsalt": "ssl-theory",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 9,
    "ytick.color": INK,
    "ytick.labelsize": 9,
}


class _Powers(LogFormatterSciNotation):
    """Numbers of a logarithmic axis in letters, 2×10⁻³; as formulas they take a third of a figure's time."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        text = super().__call__(x, pos).removeprefix(r"$\mathdefault{").removesuffix("}$")
        base, _, power = text.replace(r"\times", "×").replace("-", "−").partition("^")
        return base + power.strip("{}").translate(_RAISED)


class _Layout(ConstrainedLayoutEngine):
    """The layout of every figure; it drops the marks between decades, which the look does not show.

    They would be placed and measured nevertheless: a fifth of the time of a figure.
    """

    def execute(self, fig: Figure) -> None:
        for axis in (axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)):
            if axis.get_scale() in ("log", "symlog"):
                _simplify(axis)
        super().execute(fig)


def _simplify(axis: Axis) -> None:
    """Have a logarithmic axis draw no more than is seen."""
    low, high = sorted(map(abs, axis.get_view_interval()))
    if axis.get_scale() == "log" and high > DECADES * low:
        axis.set_minor_locator(NullLocator())
    for formatter, put in (
        (axis.get_major_formatter(), axis.set_major_formatter),
        (axis.get_minor_formatter(), axis.set_minor_formatter),
    ):
        if type(formatter) is LogFormatterSciNotation:
            put(_Powers())


def prepare(figure: Figure) -> None:
    """Give a new figure the layout of the book; matplotlib calls it once the theme is set."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.set_layout_engine(_Layout())
    if "inline" in plt.get_backend():  # the cell's end shows its figures: none is drawn before for a window
        plt.uninstall_repl_displayhook()


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG, laid out and drawn once; `savefig` draws it a second time to lay it out."""
    text, canvas, dpi = io.StringIO(), figure.canvas, figure.dpi
    try:
        FigureCanvasSVG(figure).print_svg(text, metadata=SVG_METADATA)
    finally:
        figure.set_canvas(canvas)
        figure.dpi = dpi
    return text.getvalue()


def use_theme() -> None:
    """Set the book's look for every figure drawn afterwards; in a notebook, draw them as SVG."""
    fonts.install()
    sns.set_theme(context="notebook", style="whitegrid", palette=PALETTE, rc=_STYLE)
    if (shell := get_ipython()) is not None and shell.display_formatter is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")
        shell.display_formatter.formatters["image/svg+xml"].for_type(Figure, as_svg)


def to_array(values: ArrayLike | Tensor) -> NDArray[Any]:
    """Return `values`, a tensor on any device or anything array-like, as a NumPy array of any shape."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots()[1] if ax is None else ax


def image_grid(
    images: ArrayLike | Tensor,
    titles: Sequence[str] = (),
    *,
    columns: int = 6,
    label: str = "weight",
    shared_scale: bool = False,
) -> Figure:
    """Show signed images, such as eigen-directions, in a grid: white is 0, red positive, blue negative.

    Args:
        images: Real images, shape (n, height, width).
        titles: One line above each image; empty for none, else n of them.
        columns: Images in a row.
        label: What a pixel holds, with its unit; written on the colour bar.
        shared_scale: Whether one colour scale, symmetric about 0, serves all images. Otherwise each has
            its own, and the colour bar counts in units of the image's largest absolute value.

    Returns:
        The figure.

    Raises:
        ValueError: If `images` is not of rank 3 or empty, if there are not as many titles as images, or if
            `columns` is below 1.
    """
    array = to_array(images)
    if array.ndim != 3 or array.size == 0:
        raise ValueError(f"images must have shape (n, height, width) with no 0, got {array.shape}")
    if titles and len(titles) != len(array):
        raise ValueError(
            f"titles must be empty or one for each of the {len(array)} images, got {len(titles)}"
        )
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    largest = np.abs(array).max(axis=(1, 2), keepdims=True)
    scale = largest.max() if shared_scale else 1.0
    shown = array if shared_scale else array / np.where(largest > 0, largest, 1.0)

    columns = min(columns, len(array))
    rows = -(-len(array) // columns)
    side = 6.0 / max(columns, 4)
    size = (side * columns, (side + 0.3 * bool(titles)) * rows + 0.6)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for axis, image, title in zip(grid.flat, shown, titles or [""] * len(array), strict=False):
        drawn = axis.imshow(image, cmap=DIVERGING, vmin=-scale, vmax=scale)
        axis.set_title(title, fontsize=9)
    for axis in grid.flat:
        axis.set_axis_off()
    bar = figure.colorbar(drawn, ax=grid, location="bottom", shrink=0.6, pad=0.04, aspect=40)
    bar.set_label(label if shared_scale else f"{label} / largest in image")
    bar.outline.set_visible(False)
    return figure


def loglog_slope(
    x: ArrayLike | Tensor,
    y: ArrayLike | Tensor,
    slope: float,
    *,
    label: str | None = None,
    xlabel: str = "$s$",
    ylabel: str = "size",
    ax: Axes | None = None,
) -> Axes:
    """Plot y against x on logarithmic axes, with a line of the predicted slope through the points' centre.

    Args:
        x: Positive abscissae, shape (n,).
        y: Positive ordinates, shape (n,).
        slope: Predicted d log y / d log x; only the height of the line is taken from the points.
        label: Name of the points in the legend.
        xlabel: Symbol and unit of x.
        ylabel: Symbol and unit of y.
        ax: Where to draw; a new figure if None.

    Returns:
        The axes.

    Raises:
        ValueError: If x and y differ in shape, are not of rank 1, or hold an entry that is not positive.
    """
    abscissae, ordinates = to_array(x), to_array(y)
    if abscissae.ndim != 1 or abscissae.shape != ordinates.shape:
        raise ValueError(f"x and y must share a shape (n,), got {abscissae.shape} and {ordinates.shape}")
    if not (np.all(abscissae > 0) and np.all(ordinates > 0)):
        raise ValueError("x and y must be positive on logarithmic axes, got an entry that is not")
    ax = _axes(ax)
    (points,) = ax.loglog(abscissae, ordinates, "o", label=label)
    centre = np.exp(np.mean(np.log(ordinates) - slope * np.log(abscissae)))
    ends = np.array([abscissae.min(), abscissae.max()])
    named = f"slope {slope:g}".replace("-", "−")
    ax.loglog(ends, centre * ends**slope, "--", color=points.get_color(), lw=1.2, label=named)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return ax


def error_cases(
    errors: Mapping[str, ArrayLike | Tensor],
    tolerance: float,
    *,
    own: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show the error of every case of a check, one strip of points for each claim, beside its tolerance.

    An error of exactly 0 has no logarithm; it is drawn at a tenth of float64's rounding unit.

    Args:
        errors: For each claim its cases' errors, non-negative and without unit, shape (n,); or (n, 2), such
            as `Check.errors`, with those of the wrong version in the second column, drawn in grey.
        tolerance: The largest error that passes.
        own: Tolerances of the claims that have one of their own.
        ax: Where to draw; a new figure if None.

    Returns:
        The axes.

    Raises:
        ValueError: If there is no claim, an error is negative or NaN, a tolerance is not positive, or `own`
            names an unknown claim.
    """
    if not errors:
        raise ValueError("errors must hold at least one claim, got none")
    tolerances = dict.fromkeys(errors, tolerance) | dict(own or {})
    if unknown := sorted(set(tolerances) - set(errors)):
        raise ValueError(f"own must name claims among {list(errors)}, got {unknown}")
    for name, limit in tolerances.items():
        if not limit > 0:
            raise ValueError(f"tolerance must be positive, got {limit} for {name!r}")
    unit = np.finfo(np.float64).eps / 2
    if ax is None:
        ax = plt.subplots(figsize=(5.8, 1.1 + 0.45 * len(errors)))[1]
    spread = np.random.default_rng(0)  # only shifts points that would hide each other
    for row, (name, cases) in enumerate(errors.items()):
        values = to_array(cases)
        if not np.all(values >= 0):
            raise ValueError(f"errors[{name!r}] must be non-negative, got {values.min()}")
        columns = values.T if values.ndim == 2 else values.ravel()[None]
        own_colour = PALETTE[row % (len(PALETTE) - 1)]  # never grey
        for column, colour in reversed(list(zip(columns, (own_colour, GREY), strict=False))):
            height = row + spread.uniform(-0.25, 0.25, len(column))
            shown = np.maximum(column, unit / 10)
            alpha = 0.3 if colour == GREY else 0.55
            style = {"color": colour, "alpha": alpha, "ms": 3.5, "mew": 0}
            ax.plot(shown, height, "o", rasterized=values.size > DENSE, **style)
    limits = list(tolerances.values())
    rows = np.arange(len(limits))
    ax.vlines(limits, rows - 0.5, rows + 0.5, colors=VERMILION, linestyles="--", lw=1.2)
    ax.annotate(
        "tolerance",
        (limits[0], -0.5),
        (0, 3),
        textcoords="offset points",
        ha="center",
        color=VERMILION,
        fontsize=8.5,
    )
    ax.set_xscale("log")
    ax.set_yticks(range(len(errors)), list(errors))
    ax.set(ylim=(len(errors) - 0.5, -0.95), xlabel="error of one case (relative, no unit)")
    ax.grid(visible=False, axis="y")
    return ax
