"""Processor time of every chapter in the quick profile, and of its slow cells; prints JSON.

Each chapter runs in a kernel of its own, as `ssl-theory run` has it: what it imports counts as its own.
"""

from __future__ import annotations

import json
import tempfile
from itertools import pairwise
from pathlib import Path

from benchmarks.timing import rounded
from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import Chapter, find_book
from ssl_theory.publishing.execute import CELL_SECONDS, execute
from ssl_theory.publishing.folding import bar

SLOW = 0.5  # seconds from which on a cell is told


def spent(chapter: Chapter) -> tuple[float, dict[str, float]]:
    """Return the processor seconds of a chapter, and of each slow cell by what it says that it does."""
    steps: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        execute(
            chapter,
            Path(folder) / "out.ipynb",
            {},
            seconds=CELL_SECONDS["quick"],
            threads=1,
            progress=lambda cell, of, seconds: steps.append((cell, seconds)),
        )
    cells = notebooks.read(chapter.path)["cells"]
    told = {
        bar([(notebooks.source(cells[begin - 1]), False)]): after - before
        for (begin, before), (_, after) in pairwise(steps)
        if after - before >= SLOW
    }
    return steps[-1][1], told


def main() -> None:
    results: dict[str, float] = {}
    total = 0.0
    for chapter in find_book(Path(__file__)).chapters().values():
        seconds, cells = spent(chapter)
        total += seconds
        results[f"{chapter.name}, seconds of processor time"] = rounded(seconds)
        results |= {f"  {chapter.name}: {what}": rounded(value) for what, value in cells.items()}
    results["all chapters, seconds of processor time"] = rounded(total)
    print(json.dumps(results, ensure_ascii=False))


if __name__ == "__main__":
    main()
