"""How to cite one statement of the book: an entry for BibTeX, with what CITATION.cff says about the book."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ssl_theory.publishing.errors import BuildError
from ssl_theory.theorems import Theorem

__all__ = ["CONTENT", "Citation", "citation", "entry", "fold"]

FILE = "CITATION.cff"
CONTENT = "content-of-this-build"  # stands for the hash of the content until that is known
TEX = {"\\": r"\textbackslash{}", "β": r"$\beta$", "’": "'", "–": "--"} | {c: f"\\{c}" for c in "&%$#_{}"}


@dataclass(frozen=True)
class Citation:
    """What is cited of a book besides the statement.

    Attributes:
        title: The book's title.
        authors: Its authors, as BibTeX writes them.
        version: Its version.
        url: Where it is, or where its source is; empty if that is not known.
        year: When this version was released; empty before that.
    """

    title: str
    authors: tuple[str, ...]
    version: str
    url: str = ""
    year: str = ""


def citation(folder: Path, home: str = "") -> Citation | None:
    """Return how a book wants to be cited, or None if it does not say.

    Args:
        folder: The checkout, whose CITATION.cff is read.
        home: The address of the source, where the file names none.

    Raises:
        BuildError: If the file is damaged, or lacks title, authors or version.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Citation(
            title=str(told["title"]),
            authors=tuple(map(_author, told["authors"])),
            version=str(told["version"]),
            url=str(told.get("url") or told.get("repository-code") or home),
            year=str(told.get("date-released") or "")[:4],
        )
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(
            f"{path} is damaged: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error


def entry(theorem: Theorem, kind: str, book: Citation) -> str:
    """Return the entry of one statement for BibTeX.

    Args:
        theorem: The statement.
        kind: What the book calls it: theorem, proposition, …
        book: The book.
    """
    fields = {
        "author": " and ".join(book.authors),
        "title": f"{{{kind.capitalize()} {theorem.id}: {_tex(theorem.title)}}}",
        "howpublished": f"In: {_tex(book.title)}",
        "year": book.year,
        "note": f"Version {_tex(book.version)}, content {CONTENT}",
        "url": book.url,
    }
    width = max(map(len, fields))
    lines = [f"  {name:{width}} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{ssl-theory-{theorem.label},", *lines, "}"])


def fold(theorem: Theorem, kind: str, book: Citation) -> str:
    """Return HTML that folds the entry away; the page's script adds a button that copies it."""
    text = html.escape(entry(theorem, kind, book), quote=False)
    text = text.replace("{", "&#123;").replace("}", "&#125;")  # {{…}} would be filled in by MyST
    named = f'cite<span class="visually-hidden"> {kind.capitalize()} {theorem.id}</span>'
    return f'<details class="cite"><summary>{named}</summary><pre>{text}</pre></details>'


def _author(author: Mapping[str, Any]) -> str:
    if "name" in author:
        return f"{{{_tex(author['name'])}}}"
    return f"{_tex(author['family-names'])}, {_tex(author['given-names'])}"


def _tex(text: str) -> str:
    return "".join(TEX.get(sign, sign) for sign in text)
