"""What references to a label read, by the rules of the built book: Theorem T3, (3.4), Figure 3.2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import Book
from ssl_theory.theorems import theorems

__all__ = ["authors", "labels"]

ROW = {"theorem": "theorem", "lemma": "theorem", "corollary": "theorem", "proposition": "theorem"}
MARKS = re.compile(
    r"^[ ]*`{3,}\{prf:(?P<kind>(?!proof)\w+)\}[ ]?(?P<title>[^\n]*)\n(?:[ ]*:label: (?P<box>\S+))?"
    r"|^[ ]*`{3,}\{exercise\}[ ]?(?P<task>[^\n]*)\n(?:[ ]*:label: (?P<exercise>\S+))?"
    r"|\$\$ \((?P<equation>[\w-]+)\)"
    r"|^\((?P<target>[\w-]+)\)=\n+#+ (?P<heading>[^\n]*)",
    re.M,
)
BIBLIOGRAPHY = re.compile(r"@\w+\{(?P<key>[^,\s]+),(?P<fields>.*?)\n\}", re.S)


def labels(book: Book) -> dict[str, str]:
    """Return what a reference to each label of the book reads.

    Raises:
        BuildError: If a notebook or the table of contents is damaged.
    """
    numbers = dict(_chapters(book.toc))
    found: dict[str, str] = {}
    for place in book.files():
        path = book.folder / f"{place}.ipynb"
        if path.exists():
            found |= dict(_of_chapter(notebooks.read(path), numbers.get(place, "")))
        elif (page := path.with_suffix(".md")).exists():
            found |= {
                m["target"]: m["heading"] for m in MARKS.finditer(page.read_text("utf-8")) if m["target"]
            }
    return found


def authors(folder: Path) -> dict[str, str]:
    """Return the author and the year of each entry of the book's bibliography, by key."""
    path = folder / "references.bib"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return {m["key"]: _named(m["fields"]) for m in BIBLIOGRAPHY.finditer(text)}


def _chapters(toc: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the chapters of numbered parts with their numbers."""
    number = 0
    for part in toc.get("parts", []):
        for chapter in part.get("chapters", []) if part.get("numbered") else []:
            number += 1
            yield chapter["file"], f"{number}."


def _of_chapter(notebook: Mapping[str, Any], chapter: str) -> Iterator[tuple[str, str]]:
    names = {theorem.label: theorem.id for theorem in theorems().values()}
    count = Counter[str]()

    def number(row: str) -> str:
        count[row] += 1
        return f"{chapter}{count[row]}"

    for cell in notebook["cells"]:
        figure = cell.get("metadata", {}).get("mystnb", {}).get("figure", {}).get("name")
        if figure:
            yield figure, f"Figure {number('figure')}"
        for mark in MARKS.finditer(notebooks.source(cell)) if cell["cell_type"] == "markdown" else ():
            if mark["kind"]:
                label, kind = mark["box"] or "", mark["kind"]
                yield label, f"{kind.title()} {names.get(label) or number(ROW.get(kind, kind))}"
            elif mark["task"] is not None:
                yield mark["exercise"] or "", f"Exercise {number('exercise')}"
            elif mark["equation"]:
                yield mark["equation"], f"({number('equation')})"
            else:
                yield mark["target"], mark["heading"]


def _named(fields: str) -> str:
    """Return "Tian et al. (2020)" from the fields of an entry."""

    def field(name: str) -> str:
        match = re.search(rf"\b{name} = \{{(.*?)\}},?\n", fields + "\n", re.S)
        return re.sub(r"[{}]|\\.", "", match[1]) if match else ""

    people = [name.split(",")[0].strip() for name in re.split(r"\s+and\s+", field("author"))]
    told = " and ".join(people) if len(people) < 3 else f"{people[0]} et al."
    return f"{told or field('title')} ({field('year')})"
