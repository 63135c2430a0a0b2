"""Small books for the tests of the runner."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from ssl_theory.checks import MIME, STATUS, Record
from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import Book, Chapter
from ssl_theory.theorems import claims

PARAMETERS = 'profile = "quick"\nseed = 0\nscale = 1.5\nshown = True\ndevice = "cpu"'
SIGNALS = (pytest.param(signal.SIGINT, marks=pytest.mark.alone), signal.SIGTERM, signal.SIGKILL)


def code(source: str, *tags: str) -> dict[str, Any]:
    metadata = {"tags": list(tags)} if tags else {}
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": []}


def text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def record(claim: str, **changes: Any) -> dict[str, Any]:
    """Return the record of a check that holds, apart from the changes."""
    known, stated = claims()[claim]
    found = Record(
        id=claim,
        theorem=known.id,
        chapter=known.chapter,
        statement=known.statement,
        checked=stated.what,
        kind="exact",
        status=STATUS["exact"],
        error=2e-15,
        tolerance=1e-12,
        reason="",
        control="a wrong version",
        control_error=0.5,
        cases=3,
        empty=0,
        passed=True,
        profile="quick",
        seed=0,
        device="cpu",
        versions={"python": "3"},
    )
    return asdict(found) | changes


def checked(claim: str, **changes: Any) -> dict[str, Any]:
    """Return an executed cell that carries this record."""
    shown = {"output_type": "display_data", "metadata": {}, "data": {MIME: record(claim, **changes)}}
    return code("1") | {"outputs": [shown]}


def write_chapter(folder: Path, place: str, cells: Sequence[str]) -> Chapter:
    path = folder / f"{place}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    body = [text(f"# The chapter {path.stem}"), code(PARAMETERS, "parameters"), *map(code, cells)]
    path.write_text(notebooks.canonical({"cells": body}), encoding="utf-8")
    return Chapter(path.stem, path, place)


def write_book(root: Path, chapters: Mapping[str, Sequence[str]], config: str = "title: A book\n") -> Book:
    """Return a new checkout with these chapters (place: code cells) and a welcome page."""
    folder = root / "book"
    folder.mkdir(parents=True)
    (root / "_config.yml").write_text(config, encoding="utf-8")
    listed = [f"  - file: {place}" for place in chapters]
    toc = ["format: jb-book", "root: welcome", *(["chapters:", *listed] if listed else [])]
    (folder / "_toc.yml").write_text("\n".join(toc) + "\n", encoding="utf-8")
    (folder / "welcome.md").write_text("# Welcome\n", encoding="utf-8")
    for place, cells in chapters.items():
        write_chapter(folder, place, cells)
    return Book(folder, root)
