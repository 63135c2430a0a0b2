"""The ledger as a picture: how far each check's error, and that of its control, lies from the tolerance."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_theory.publishing.child import command

Entry = Mapping[str, Any]

EDGES = 1e-9, 1e15  # marks beyond stand at the edge, as does an error of 0


def ratios(entry: Entry) -> tuple[float, float]:
    """Return the errors of statement and control in units of the tolerance, cut off at the edges.

    A tolerance of 0, which intervals have, leaves a statement that holds at the lower edge.
    """
    unit = entry["tolerance"] or EDGES[0]
    low, high = (min(max(entry[key] / unit, EDGES[0]), EDGES[1]) for key in ("error", "control_error"))
    return low, high


def picture(entries: Sequence[Entry], chapters: Sequence[str]) -> str:
    """Return an SVG with a line for each chapter and two marks for each of its checks.

    Args:
        entries: The ledger.
        chapters: Names of the chapters, in the order of the book.

    Returns:
        The text of the SVG, the same whenever the records are the same.
    """
    import matplotlib.pyplot as plt

    from ssl_theory.display.figures import BLUE, INK, VERMILION, as_svg, use_theme

    use_theme()
    shown = [name for name in chapters if any(entry["chapter"] == name for entry in entries)]
    figure, axis = plt.subplots(figsize=(7.2, 1.6 + 0.36 * len(shown)))
    looks = {"the statement": (BLUE, "o"), "its control": (VERMILION, "D")}
    for place, (name, (colour, mark)) in enumerate(looks.items()):
        x = [ratios(entry)[place] for entry in entries]
        y = [shown.index(entry["chapter"]) + _spread(k) for k, entry in enumerate(entries)]
        axis.plot(x, y, mark, color=colour, ms=3.2, alpha=0.55, mew=0, label=name)
    axis.axvline(1, color=INK, lw=1.2)
    axis.set(xscale="log", xlim=(EDGES[0] / 3, EDGES[1] * 3), xlabel="error / tolerance")
    axis.set(ylim=(max(len(shown), 1) - 0.5, -0.5))
    axis.set_yticks(range(len(shown)), shown)
    axis.grid(visible=False, axis="y")
    figure.legend(loc="outside upper center", ncols=2)
    plt.close(figure)
    return as_svg(figure)


def picture_by(warm: Path | None, entries: Sequence[Entry], chapters: Sequence[str]) -> str:
    """Return the picture, drawn by a process that a warm one splits off; by this one if there is none.

    Args:
        warm: Where the warm process is asked.
        entries: The ledger.
        chapters: Names of the chapters, in the order of the book.

    Returns:
        The text of the SVG.

    Raises:
        subprocess.CalledProcessError: If that process fails.
    """
    if warm is None:
        return picture(entries, chapters)
    told = json.dumps({"entries": entries, "chapters": chapters})
    asked = command("ssl_theory.publishing.ledger_picture", warm)
    return subprocess.run(asked, input=told, capture_output=True, check=True, encoding="utf-8").stdout


def main() -> int:
    """Draw the ledger that stdin holds as JSON to stdout.

    Returns:
        The exit code.
    """
    sys.stdout.write(picture(**json.load(sys.stdin)))
    return 0


def description(entries: Sequence[Entry]) -> tuple[str, str]:
    """Return the alternative text and the caption of the picture."""
    held = [ratios(entry) for entry in entries if entry["kind"] != "fails"]
    broken = [ratios(entry) for entry in entries if entry["kind"] == "fails"]
    nearest, least = max((e for e, _ in held), default=math.nan), min((c for _, c in held), default=math.nan)
    alternative = (
        "A logarithmic axis of error divided by tolerance, with a line for each chapter and two marks for "
        f"each check. The {len(held)} statements that must hold lie left of 1, the largest at {nearest:.2g}; "
        f"their controls lie right of it, the smallest at {least:.2g} times the tolerance"
    )
    if broken:
        alternative += f". In {len(broken)} checks an assumption is dropped, and the two change sides"
    caption = (
        "Error over tolerance: one blue mark for each statement, one orange diamond for its control, the "
        "nearest wrong version under the same code. What must hold stays left of 1 and its control right of "
        "it; where an assumption is dropped on purpose it is the other way round. At the edges: errors of "
        "exactly 0, and what the axis has no room for."
    )
    return alternative + ".", caption


def _spread(k: int) -> float:
    """Return where the k-th mark stands within its line, so that neighbours do not hide each other."""
    golden = (5**0.5 - 1) / 2
    return 0.7 * (golden * k % 1 - 0.5)


if __name__ == "__main__":
    sys.exit(main())
