"""Pictures as plain data: panels of marks, drawn by matplotlib or by the script of the book's pages.

Numbers and texts that change with a control may stand apart, in `Scene.values`: a mark then names them, as in
`Line("@time", "@norm")`, and a text holds them in braces, as in "median {median:.2f}". Colours go by the
names of the palette, "blue", "vermilion", "green", "purple", "orange", "sky" and "grey", and "ink", that of
the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ssl_theory.display.labels import fill, mathematics

__all__ = [
    "COLOURS", "Area", "Arrows", "Bars", "Grid", "Handle", "Line", "Nodes", "Panel", "Points", "Rule",
    "Scene", "Text", "plain",
]  # fmt: skip

COLOURS = ("blue", "vermilion", "green", "purple", "orange", "sky", "grey", "ink")
DASHES = ("solid", "dashed", "dotted")
SHAPES = ("circle", "square", "diamond", "plus", "cross")
SCALES = ("diverging", "sequential")

Real = float | int
Numbers = Any
"""A number, one for each item of a mark, or the "@name" of such values: sequence, array or tensor."""
Words = str | Sequence[str]
"""A text, a name of a colour, one for each item, or the "@name" of such values."""


@dataclass(frozen=True)
class Mark:
    """Anything drawn in a panel."""

    alike: ClassVar[tuple[str, ...]] = ()
    """Fields with one number for each item, or one for all."""

    def data(self) -> dict[str, Any]:
        """Return the mark as plain data."""
        kind = {"kind": type(self).__name__.lower()}
        return kind | {part.name: plain(getattr(self, part.name)) for part in fields(self)}


@dataclass(frozen=True)
class Line(Mark):
    """A line through points; NaN breaks it."""

    x: Numbers
    y: Numbers
    colour: str = "blue"
    dash: str = "solid"
    width: Real = 1.8
    label: str = ""
    alike = ("x", "y")


@dataclass(frozen=True)
class Points(Mark):
    """Points; `size` is their diameter in pixels."""

    x: Numbers
    y: Numbers
    colour: Words = "blue"
    shape: str = "circle"
    size: Numbers = 6.0
    label: str = ""
    alike = ("x", "y", "size", "colour")


@dataclass(frozen=True)
class Bars(Mark):
    """Upright bars, from `base` to `base + height`."""

    x: Numbers
    height: Numbers
    colour: Words = "blue"
    width: Real = 0.8
    base: Numbers = 0.0
    label: str = ""
    alike = ("x", "height", "base", "colour")


@dataclass(frozen=True)
class Area(Mark):
    """What lies between two curves; NaN breaks it."""

    x: Numbers
    low: Numbers
    high: Numbers
    colour: str = "blue"
    opacity: Real = 0.25
    label: str = ""
    alike = ("x", "low", "high")


@dataclass(frozen=True)
class Rule(Mark):
    """Lines across the panel: upright ones at `x`, level ones at `y`; one of the two is None."""

    x: Numbers = None
    y: Numbers = None
    colour: str = "grey"
    dash: str = "dashed"
    width: Real = 1.2
    label: str = ""


@dataclass(frozen=True)
class Text(Mark):
    """Short texts, centred at their places."""

    x: Numbers
    y: Numbers
    text: Words
    colour: Words = "ink"
    alike = ("x", "y", "text", "colour")


@dataclass(frozen=True)
class Arrows(Mark):
    """Arrows from (x, y) to (x + dx, y + dy)."""

    x: Numbers
    y: Numbers
    dx: Numbers
    dy: Numbers
    colour: Words = "blue"
    width: Real = 2.2
    label: str = ""
    alike = ("x", "y", "dx", "dy", "colour")


@dataclass(frozen=True)
class Grid(Mark):
    """A matrix as squares of colour, its first row on top, that fills the box (x_0, y_0, x_1, y_1)."""

    values: Numbers
    low: Real = -1.0
    high: Real = 1.0
    box: tuple[Real, Real, Real, Real] = (0.0, 0.0, 1.0, 1.0)
    scale: str = "diverging"
    label: str = ""


@dataclass(frozen=True)
class Nodes(Mark):
    """A tree: nodes with a value as their colour (NaN: white), edges to their parents.

    `widths` are those of the edge above each node, between −1 and 1, dashed where negative; `rings` marks
    nodes; `text` is written in them. A click on a node in `click` flips its entry of the input `toggles`.
    """

    x: Numbers
    y: Numbers
    parents: Sequence[int]
    values: Numbers
    widths: Numbers = 0.3
    low: Real = -1.0
    high: Real = 1.0
    scale: str = "diverging"
    label: str = ""
    text: Words = ""
    rings: Sequence[int] = ()
    click: Sequence[int] = ()
    toggles: str = ""
    alike = ("x", "y", "parents", "values", "widths")


@dataclass(frozen=True)
class Handle(Mark):
    """A dot to be dragged: along the curve (x, y) of the positions of one input, or across two inputs.

    `along` names an input, and x and y hold its place for every position. Or `along` and `across` name two, x
    holds the places of the first and y those of the second.
    """

    x: Numbers
    y: Numbers
    along: str
    across: str = ""
    colour: str = "vermilion"


@dataclass(frozen=True)
class Panel:
    """Marks in one frame.

    Attributes:
        marks: Drawn in this order.
        x: Symbol and unit below the frame; mathematics between dollar signs.
        y: Symbol and unit above the frame's axis.
        title: What is shown.
        xlim: Ends of the axis; None for those of the data, in a control of all its positions.
        ylim: Likewise; ends in descending order turn the axis over.
        xlog: Whether the axis is logarithmic.
        ylog: Likewise.
        xticks: Numbers, or pairs of number and text; None for round numbers.
        yticks: Likewise.
        axes: Whether axes are drawn.
        equal: Whether a unit is equally long in both directions.
    """

    marks: Sequence[Mark]
    x: str = ""
    y: str = ""
    title: str = ""
    xlim: tuple[Real, Real] | None = None
    ylim: tuple[Real, Real] | None = None
    xlog: bool = False
    ylog: bool = False
    xticks: Sequence[Any] | None = None
    yticks: Sequence[Any] | None = None
    axes: bool = True
    equal: bool = False

    def data(self) -> dict[str, Any]:
        """Return the panel as plain data."""
        found = {part.name: plain(getattr(self, part.name)) for part in fields(self) if part.name != "marks"}
        return found | {"marks": [mark.data() for mark in self.marks]}


@dataclass(frozen=True)
class Scene:
    """One picture: panels side by side, one below the other where the page is narrow.

    Attributes:
        panels: At least one.
        values: What marks and texts name; plain numbers, texts, or arrays.
        widths: Relative widths of the panels; None for equal ones.
        height: Of a panel in pixels.

    Raises:
        TypeError: If a panel or mark is none.
        ValueError: If an array does not fit its mark, a colour, shape or other name is unknown, a named value
            is missing, or limits do not suit an axis.
    """

    panels: Sequence[Panel]
    values: Mapping[str, Any] = field(default_factory=dict)
    widths: Sequence[Real] | None = None
    height: int = 250

    def __post_init__(self) -> None:
        """Check all of it, so that an error shows where the picture is made."""
        if not self.panels:
            raise ValueError("panels must hold at least one panel, got none")
        for panel in self.panels:
            if not isinstance(panel, Panel):
                raise TypeError(f"panels must hold panels, got {type(panel).__name__}")
            for mark in panel.marks:
                if not isinstance(mark, Mark):
                    raise TypeError(f"marks must hold marks, got {type(mark).__name__}")
        if self.widths is not None and len(self.widths) != len(self.panels):
            raise ValueError(f"widths must hold {len(self.panels)} numbers, got {len(self.widths)}")
        for panel in self.data()["panels"]:
            _check_panel(panel)

    def template(self) -> dict[str, Any]:
        """Return the scene as plain data, in which values are named."""
        widths = [1.0] * len(self.panels) if self.widths is None else plain(self.widths)
        return {"height": self.height, "widths": widths, "panels": [panel.data() for panel in self.panels]}

    def data(self) -> dict[str, Any]:
        """Return the scene as plain data, values in their places: numbers, texts, lists and dictionaries."""
        values = {name: plain(value) for name, value in self.values.items()}
        found: dict[str, Any] = _put(self.template(), values)
        return found


def plain(value: Any) -> Any:
    """Return arrays, tensors and sequences as lists, NaN as None, all else as it is."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isinf(value).any():
        boxed = value.astype(object)
        boxed[np.isnan(value)] = None
        return boxed.tolist()
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, (list, tuple, range)):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        if math.isinf(value):
            raise ValueError(f"values must be finite or NaN, got {value}")
        return None
    return value


def extents(panel: Mapping[str, Any], axis: str) -> list[Any]:
    """Return the numbers of a panel that its axis "x" or "y" must show, from plain data."""
    found: list[Any] = []
    for mark in panel["marks"]:
        found += [number for number in _shown(mark, axis) if number is not None]
    return [number for number in found if number > 0] if panel[f"{axis}log"] else found


def around(numbers: Sequence[Any], log: bool, lift: bool = False) -> tuple[float, float]:
    """Return limits a little beyond some numbers; from 0 on if they are not negative and `lift` says so."""
    if not numbers:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = min(numbers), max(numbers)
    if log:
        margin = max((high / low) ** 0.05, 1.05)
        return low / margin, high * margin
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return (0.0 if lift and low >= 0 else low - margin), high + margin


def _shown(mark: Mapping[str, Any], axis: str) -> Iterator[Any]:
    kind = mark["kind"]
    if kind == "grid":
        x_0, y_0, x_1, y_1 = mark["box"]
        yield from (x_0, x_1) if axis == "x" else (y_0, y_1)
    elif kind == "bars":
        places, heights, base = np.broadcast_arrays(*(_array(mark[k]) for k in ("x", "height", "base")))
        half = mark["width"] / 2
        yield from [*(places - half), *(places + half)] if axis == "x" else [*base, *(base + heights)]
    elif kind == "area" and axis == "y":
        yield from [*_list(mark["low"]), *_list(mark["high"])]
    else:
        yield from _list(mark[axis])
        if kind == "arrows":
            yield from _array(mark[axis]) + _array(mark[f"d{axis}"])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _array(value: Any) -> NDArray[Any]:
    return np.array(_list(value), dtype=float)


def _put(data: Any, values: Mapping[str, Any]) -> Any:
    """Return plain data with named values in their places."""
    if isinstance(data, dict):
        return {key: _put(part, values) for key, part in data.items()}
    if isinstance(data, list):
        named = any(isinstance(part, (str, list, dict)) for part in data)
        return [_put(part, values) for part in data] if named else data
    if not isinstance(data, str):
        return data
    if data.startswith("@"):
        if data[1:] not in values:
            raise ValueError(f"marks may name {list(values)}, got {data!r}")
        return values[data[1:]]
    return fill(data, values)


def _check_panel(panel: Mapping[str, Any]) -> None:
    for axis in "xy":
        limits, log = panel[f"{axis}lim"], panel[f"{axis}log"]
        if limits is not None and (len(limits) != 2 or limits[0] == limits[1] or (log and min(limits) <= 0)):
            kind = "positive" if log else "different"
            raise ValueError(f"{axis}lim must be two {kind} numbers, got {limits}")
    for text in (panel["x"], panel["y"], panel["title"]):
        mathematics(text)
    for mark in panel["marks"]:
        _check_mark(mark)


def _check_mark(mark: Mapping[str, Any]) -> None:
    kind = mark["kind"]
    for name, allowed in (("colour", COLOURS), ("dash", DASHES), ("shape", SHAPES), ("scale", SCALES)):
        for given in _list(mark.get(name)):
            if given not in allowed:
                raise ValueError(f"{name} of {kind} must be one of {list(allowed)}, got {given!r}")
    lengths = {name: len(mark[name]) for name in _KINDS[kind].alike if isinstance(mark[name], list)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"fields of {kind} must be of one length, got {lengths}")
    if kind == "rule" and (mark["x"] is None) == (mark["y"] is None):
        raise ValueError("rule must have either x or y")
    if kind == "grid":
        rows = mark["values"]
        if (
            not isinstance(rows, list)
            or not rows
            or len({len(_list(row)) for row in rows}) != 1
            or not rows[0]
        ):
            raise ValueError("values of grid must be a matrix that is not empty")
    if kind == "nodes":
        parents = mark["parents"]
        if any(not -1 <= parent < node for node, parent in enumerate(parents)):
            raise ValueError(f"parents of nodes must come before their children, got {parents}")
        for name in ("rings", "click"):
            if any(not 0 <= node < len(parents) for node in mark[name]):
                raise ValueError(f"{name} of nodes must be among {len(parents)} nodes, got {mark[name]}")
    if kind == "handle" and not mark["across"] and len(mark["x"]) != len(mark["y"]):
        raise ValueError(f"handle must have as many x as y, got {len(mark['x'])} and {len(mark['y'])}")


_KINDS = {
    kind.__name__.lower(): kind
    for kind in (Line, Points, Bars, Area, Rule, Text, Arrows, Grid, Nodes, Handle)
}
