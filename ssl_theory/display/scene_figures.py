"""Scenes drawn by matplotlib: live in Jupyter, and on paper."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image

from ssl_theory.display.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    SEQUENTIAL,
    SKY,
    VERMILION,
)
from ssl_theory.display.scenes import Scene, around, extents

__all__ = ["draw_scene", "still"]

WIDTH = 7.0  # inches
PNG_DPI, CSS_DPI = 144, 96

_COLOURS = {
    "blue": BLUE, "vermilion": VERMILION, "green": GREEN, "purple": PURPLE, "orange": ORANGE, "sky": SKY,
    "grey": GREY, "ink": INK,
}  # fmt: skip
_DASHES = {"solid": "-", "dashed": "--", "dotted": ":"}
_SHAPES = {"circle": "o", "square": "s", "diamond": "D", "plus": "P", "cross": "X"}
_SCALES = {
    "diverging": LinearSegmentedColormap.from_list("diverging", [BLUE, PAPER, VERMILION]),
    "sequential": colormaps[SEQUENTIAL],
}
Data = Mapping[str, Any]


def draw_scene(scene: Scene) -> Figure:
    """Return a figure of a scene."""
    data = scene.data()
    count, widths = len(data["panels"]), data["widths"]
    share = min(1.0, 0.55 + 0.25 * (count - 1)) if count < 3 else 1.0
    size = (WIDTH * max(share, 0.8), data["height"] / CSS_DPI + 0.7)
    figure, grid = plt.subplots(1, count, figsize=size, width_ratios=widths, squeeze=False)
    for ax, panel in zip(grid[0], data["panels"], strict=True):
        _draw_panel(ax, panel)
    return figure


def still(scene: Scene, alt: str) -> str:
    """Return a scene as an <img> that carries its own data, a PNG with a palette."""
    figure, png = draw_scene(scene), io.BytesIO()
    figure.dpi = PNG_DPI
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = (round(CSS_DPI * inches) for inches in figure.get_size_inches())
    plt.close(figure)
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(128).save(png, format="png")
    data = base64.b64encode(png.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" width="{width}" height="{height}">'


def _draw_panel(ax: Axes, panel: Data) -> None:
    for axis in "xy":  # before the marks: a grid's cells are equal on the page, not in numbers
        getattr(ax, f"set_{axis}scale")("log" if panel[f"{axis}log"] else "linear")
    for order, mark in enumerate(panel["marks"]):
        _DRAW[mark["kind"]](ax, mark, 2 + order)
    for axis, ticks in (("x", panel["xticks"]), ("y", panel["yticks"])):
        limits = panel[f"{axis}lim"]
        bars = axis == "y" and any(mark["kind"] == "bars" for mark in panel["marks"])
        limits = limits or around(extents(panel, axis), panel[f"{axis}log"], bars)
        getattr(ax, f"set_{axis}lim")(*limits)
        if ticks is not None:
            pairs = [tick if isinstance(tick, list) else [tick, f"{tick:g}"] for tick in ticks]
            getattr(ax, f"set_{axis}ticks")([place for place, _ in pairs], [text for _, text in pairs])
            getattr(ax, f"{axis}axis").set_minor_formatter(NullFormatter())
    ax.set(xlabel=panel["x"], ylabel=panel["y"], title=panel["title"])
    if panel["equal"]:
        ax.set_aspect("equal")
    if not panel["axes"]:
        ax.set_axis_off()
    if ax.get_legend_handles_labels()[1]:
        ax.legend(
            loc="lower left", bbox_to_anchor=(0, 1.0 if not panel["title"] else 1.09), ncols=2, fontsize=8
        )


def _numbers(value: Any) -> Any:
    return np.array(value, dtype=float) if isinstance(value, list) else value


def _colour(value: Any) -> Any:
    return [_COLOURS[name] for name in value] if isinstance(value, list) else _COLOURS[value]


def _each(count: int, value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] * count


def _line(ax: Axes, mark: Data, order: int) -> None:
    style = {"ls": _DASHES[mark["dash"]], "lw": mark["width"], "color": _colour(mark["colour"])}
    ax.plot(_numbers(mark["x"]), _numbers(mark["y"]), label=mark["label"] or None, zorder=order, **style)


def _points(ax: Axes, mark: Data, order: int) -> None:
    area = (_numbers(mark["size"]) * 72 / CSS_DPI) ** 2
    look = {"c": _colour(mark["colour"]), "s": area, "marker": _SHAPES[mark["shape"]], "lw": 0}
    ax.scatter(_numbers(mark["x"]), _numbers(mark["y"]), label=mark["label"] or None, zorder=order, **look)


def _bars(ax: Axes, mark: Data, order: int) -> None:
    style = {"color": _colour(mark["colour"]), "width": mark["width"], "bottom": _numbers(mark["base"])}
    ax.bar(_numbers(mark["x"]), _numbers(mark["height"]), label=mark["label"] or None, zorder=order, **style)


def _area(ax: Axes, mark: Data, order: int) -> None:
    x = _numbers(mark["x"])
    low, high = (np.broadcast_to(_numbers(mark[end]), np.shape(x)) for end in ("low", "high"))
    style = {"color": _colour(mark["colour"]), "alpha": mark["opacity"], "lw": 0}
    known = ~(np.isnan(x) | np.isnan(low) | np.isnan(high))
    ax.fill_between(x, low, high, where=known.tolist(), label=mark["label"] or None, zorder=order, **style)


def _rule(ax: Axes, mark: Data, order: int) -> None:
    style = {"color": _colour(mark["colour"]), "ls": _DASHES[mark["dash"]], "lw": mark["width"]}
    draw, places = (ax.axvline, mark["x"]) if mark["y"] is None else (ax.axhline, mark["y"])
    for k, place in enumerate(places if isinstance(places, list) else [places]):
        if place is not None:
            draw(place, label=(mark["label"] or None) if k == 0 else None, zorder=order, **style)


def _text(ax: Axes, mark: Data, order: int) -> None:
    count = len(mark["x"]) if isinstance(mark["x"], list) else 1
    parts = [_each(count, mark[name]) for name in ("x", "y", "text", "colour")]
    for x, y, text, colour in zip(*parts, strict=True):
        ax.text(x, y, str(text), color=_COLOURS[colour], fontsize=8.5, ha="center", va="center", zorder=order)


def _arrows(ax: Axes, mark: Data, order: int) -> None:
    count = len(mark["x"]) if isinstance(mark["x"], list) else 1
    parts = [_each(count, mark[name])[:count] for name in ("x", "y", "dx", "dy", "colour")]
    for k, (x, y, dx, dy, colour) in enumerate(zip(*parts, strict=True)):
        look = {
            "arrowstyle": "-|>",
            "color": _COLOURS[colour],
            "lw": mark["width"],
            "shrinkA": 0,
            "shrinkB": 0,
        }
        if None not in (x, y, dx, dy):
            ax.annotate("", (x + dx, y + dy), (x, y), arrowprops=look, zorder=order)
        if k == 0 and mark["label"]:
            ax.plot([], [], color=_COLOURS[colour], label=mark["label"])


def _grid(ax: Axes, mark: Data, order: int) -> None:
    x_0, y_0, x_1, y_1 = mark["box"]
    values = np.array(mark["values"], dtype=float)
    look = {"cmap": _SCALES[mark["scale"]], "vmin": mark["low"], "vmax": mark["high"], "zorder": order}
    shown: ScalarMappable
    if "log" in (ax.get_xscale(), ax.get_yscale()):
        spaced: dict[str, Callable[..., Any]] = {"log": np.geomspace, "linear": np.linspace}
        x = spaced[ax.get_xscale()](x_0, x_1, values.shape[1] + 1)
        y = spaced[ax.get_yscale()](y_0, y_1, values.shape[0] + 1)
        shown = ax.pcolormesh(x, y, values[::-1], **look)
    else:
        shown = ax.imshow(values, extent=(x_0, x_1, y_0, y_1), aspect="auto", **look)
    _bar(ax, shown, mark["label"])


def _nodes(ax: Axes, mark: Data, order: int) -> None:
    x, y, parents = mark["x"], mark["y"], mark["parents"]
    for node, (parent, width) in enumerate(zip(parents, _each(len(parents), mark["widths"]), strict=True)):
        if parent >= 0:
            style = {"lw": 3.2 * abs(width), "ls": "--" if width < 0 else "-", "color": GREY}
            ax.plot([x[parent], x[node]], [y[parent], y[node]], zorder=order, **style)
    scale = ScalarMappable(Normalize(mark["low"], mark["high"]), _SCALES[mark["scale"]])
    values = np.array(_each(len(parents), mark["values"]), dtype=float)
    faces = np.where(np.isnan(values)[:, None], 1.0, scale.to_rgba(values))
    edges = [VERMILION if node in mark["rings"] else INK for node in range(len(parents))]
    widths = [2.2 if node in mark["rings"] else 0.7 for node in range(len(parents))]
    ax.scatter(x, y, s=150, c=faces, edgecolors=edges, linewidths=widths, zorder=order + 0.1)
    for node, text in enumerate(_each(len(parents), mark["text"])):
        ax.text(x[node], y[node], str(text), ha="center", va="center", fontsize=7, zorder=order + 0.2)
    _bar(ax, scale, mark["label"])


def _bar(ax: Axes, shown: ScalarMappable, label: str) -> None:
    if label:
        bar = ax.figure.colorbar(
            shown, ax=ax, location="bottom", shrink=0.7, aspect=30, pad=0.03, label=label
        )
        bar.outline.set_visible(False)


def _handle(ax: Axes, mark: Data, order: int) -> None:
    """Draw nothing: only the page's script lets a reader drag."""


_DRAW: dict[str, Callable[[Axes, Data, int], None]] = {
    "line": _line, "points": _points, "bars": _bars, "area": _area, "rule": _rule, "text": _text,
    "arrows": _arrows, "grid": _grid, "nodes": _nodes, "handle": _handle,
}  # fmt: skip
