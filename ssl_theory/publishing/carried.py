"""Data that a built page carries for the script of the book."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.theorems import theorems

__all__ = ["as_script", "carry", "carry_titles"]

END = "</body>"
SEARCH = "search.html"


def as_script(name: str, data: Mapping[str, Any]) -> str:
    """Return data as a script that does nothing, under an id."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False).replace("</", r"<\/")
    return f'<script type="application/json" id="{name}">{text}</script>'


def carry(page: Path, name: str, data: Mapping[str, Any]) -> None:
    """Put data into a built page, at its end, under an id."""
    before, end, after = page.read_text(encoding="utf-8").rpartition(END)
    if not end:
        before, after = after, ""
    page.write_text(f"{before}{as_script(name, data)}\n{end}{after}", encoding="utf-8")


def carry_titles(site: Path, chapters: Iterable[Chapter]) -> None:
    """Tell the page of the search which chapter states which theorems, so that it comes first for them.

    Theorems are told by their titles and by their ids.
    """
    page = site / SEARCH
    known = theorems().values()
    titles = {
        c.place: [name for t in known if t.chapter == c.name for name in (t.title, t.id)] for c in chapters
    }
    if page.exists():
        carry(page, "theorem-titles", {place: own for place, own in titles.items() if own})
