"""The ledger as a picture: how far each error lies from its tolerance, on a logarithmic axis."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_theory.checks import STATUS

Entry = Mapping[str, Any]

# Dark marks on the light card that figures have in both colour schemes; the shapes differ, too.
MARKS = {
    "exact": ("#0072b2", '<circle cx="{x}" cy="{y}" r="3.4"/>'),
    "sampled": ("#00785a", '<rect x="{left}" y="{top}" width="6.4" height="6.4"/>'),
    "slope": ("#8a4c9c", '<path d="M{x} {top}l3.9 6.6h-7.8z"/>'),
    "fails": ("#b34e00", '<path d="M{x} {top}l3.8 3.4l-3.8 3.4l-3.8 -3.4z"/>'),
}
LOWEST, HIGHEST = -9, 9  # powers of ten beyond which, as for 0, marks stand at the edge
LEFT, RIGHT, WIDTH = 128.0, 545.0, 560  # pixels: where the axis begins and ends; the whole
TOP, ROW, SPREAD = 66, 40, 34  # pixels: the first line, the distance of lines, the most that marks spread
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class _Axis:
    """The horizontal axis, from 10^low to 10^high, with room at the left edge for what is smaller."""

    low: int
    high: int

    def place(self, value: float) -> float:
        """Return where a power of ten stands."""
        if value < self.low:
            return LEFT + 8
        share = (min(value, self.high) - self.low) / (self.high - self.low)
        return LEFT + 24 + (RIGHT - LEFT - 24) * share


def picture(entries: Sequence[Entry], chapters: Sequence[str]) -> str:
    """Return an SVG with a line for each chapter and a mark for each of its checks.

    Args:
        entries: The ledger.
        chapters: Names of the chapters, in the order of the book.

    Returns:
        The text of the SVG, the same whenever the records are the same.
    """
    shown = [name for name in chapters if any(entry["chapter"] == name for entry in entries)]
    powers = [power(entry) for entry in entries]
    low = max(LOWEST, math.floor(min([p for p in powers if p > -math.inf], default=-1)))
    high = min(HIGHEST, max(1, math.ceil(max([p for p in powers if p < math.inf], default=0))))
    bottom = float(TOP + ROW * len(shown))
    axis = _Axis(low, high)
    parts = [*_legend(), *_grid(axis, bottom)]
    for place, name in enumerate(shown):
        y = TOP + ROW * (place + 0.5)
        own = [entry for entry in entries if entry["chapter"] == name]
        parts.append(
            f'<text x="{LEFT - 12:.0f}" y="{y + 5:.1f}" text-anchor="end">{html.escape(name)}</text>'
        )
        parts += _line(own, y, axis)
    size = f'width="{WIDTH}" height="{bottom + 56:.0f}" viewBox="0 0 {WIDTH} {bottom + 56:.0f}"'
    style = 'font-family="DejaVu Sans, Arial, sans-serif" font-size="13" fill="#222"'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{body}\n</svg>\n'


def power(entry: Entry) -> float:
    """Return log10 of the error in units of its tolerance: -inf if the error, inf if the tolerance is 0."""
    if not entry["error"]:
        return -math.inf
    return math.log10(entry["error"] / entry["tolerance"]) if entry["tolerance"] else math.inf


def description(entries: Sequence[Entry]) -> tuple[str, str]:
    """Return the alternative text and the caption of the picture."""
    held = [entry for entry in entries if entry["status"] != STATUS["fails"]]
    broken = [entry for entry in entries if entry["status"] == STATUS["fails"]]
    nearest = max((power(entry) for entry in held), default=-math.inf)
    least = min((power(entry) for entry in broken), default=math.inf)
    alternative = (
        "A logarithmic axis of error divided by tolerance, with a line for each chapter and a mark for each "
        f"check. The {len(held)} checks of what must hold lie left of 1, the largest at {10**nearest:.2g}"
    )
    if broken:
        alternative += (
            f"; the {len(broken)} of what must fail lie right of 1, the smallest at {10**least:.2g} times"
        )
    caption = (
        "Error over tolerance, one mark for each check. What must hold stays left of 1; where an assumption "
        "is dropped on purpose, the error must exceed the stated amount and lies right of 1. At the edges: "
        "errors of exactly 0, and what the axis has no room for."
    )
    return alternative + ".", caption


def _line(own: Sequence[Entry], y: float, axis: _Axis) -> list[str]:
    """Return the marks of one chapter, moved apart where they would hide each other."""
    columns: dict[int, list[Entry]] = {}
    for entry in own:
        columns.setdefault(round(axis.place(power(entry)) / 5), []).append(entry)
    marks = []
    for column, stack in sorted(columns.items()):
        apart = min(7.5, SPREAD / max(1, len(stack) - 1))
        for place, entry in enumerate(sorted(stack, key=lambda e: list(STATUS.values()).index(e["status"]))):
            marks.append(_mark(entry, 5.0 * column, y + apart * (place - (len(stack) - 1) / 2)))
    return marks


def _mark(entry: Entry, x: float, y: float) -> str:
    kind = next(kind for kind, status in STATUS.items() if status == entry["status"])
    colour, shape = MARKS[kind]
    at = {"x": f"{x:.1f}", "y": f"{y:.1f}", "left": f"{x - 3.2:.1f}", "top": f"{y - 3.4:.1f}"}
    return f'<g fill="{colour}" fill-opacity="0.8">{shape.format(**at)}</g>'


def _legend() -> list[str]:
    parts = []
    for place, (kind, status) in enumerate(STATUS.items()):
        x, y = 20.0 + 230 * (place % 2), 18.0 + 20 * (place // 2)
        parts.append(_mark({"status": status}, x, y - 4))
        parts.append(
            f'<text x="{x + 10}" y="{y}">{"fails as predicted" if kind == "fails" else status}</text>'
        )
    return parts


def _grid(axis: _Axis, bottom: float) -> list[str]:
    wide = axis.high - axis.low
    step = 1 if wide <= 8 else 2 if wide <= 16 else 4
    parts = []
    for value in range(axis.low, axis.high + 1):
        if value % step == 0:
            x = axis.place(float(value))
            name = "1" if value == 0 else "10" + str(value).translate(SUPERSCRIPTS)
            parts.append(f'<path d="M{x:.1f} {TOP}V{bottom:.0f}" stroke="#ddd"/>')
            parts.append(f'<text x="{x:.1f}" y="{bottom + 20:.0f}" text-anchor="middle">{name}</text>')
    one, middle = axis.place(0.0), (LEFT + RIGHT) / 2
    parts.append(f'<path d="M{one:.1f} {TOP - 6}V{bottom:.0f}" stroke="#222" stroke-width="1.6"/>')
    parts.append(
        f'<text x="{middle:.1f}" y="{bottom + 44:.0f}" text-anchor="middle">error / tolerance</text>'
    )
    return parts
