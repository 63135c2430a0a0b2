"""The letters of figures, those of the pages: Inter, in this package, so that all machines draw the same."""

from __future__ import annotations

from pathlib import Path

from matplotlib.font_manager import FontEntry, fontManager

__all__ = ["FAMILY", "install"]

FAMILY = "Inter of the book"  # a name of its own, lest an Inter of the machine, of another version, is taken
FACES = {
    ("normal", 400): "Inter-Regular.ttf",
    ("italic", 400): "Inter-Italic.ttf",
    ("normal", 600): "Inter-SemiBold.ttf",
    ("normal", 700): "Inter-SemiBold.ttf",  # what is asked for as bold
}


def install() -> None:
    """Let matplotlib find the family `FAMILY` in this process; what it keeps on disk is left alone."""
    if any(entry.name == FAMILY for entry in fontManager.ttflist):
        return
    for (style, weight), name in FACES.items():
        path = Path(__file__).with_name(name)
        face = FontEntry(
            str(path), name=FAMILY, style=style, weight=weight, stretch="normal", size="scalable"
        )
        fontManager.ttflist.append(face)
