"""Where the book is, and which chapters it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.errors import BuildError, UsageError, unknown
from ssl_theory.publishing.repository import Repository, repository
from ssl_theory.theorems import Theorem, theorems

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Chapter:
    """An output-free notebook of the book.

    Attributes:
        name: Its file's stem, the name on the command line.
        path: Where the notebook is.
        place: The same relative to the book's folder, without the ending, as in the table of contents.
    """

    name: str
    path: Path
    place: str

    @property
    def title(self) -> str:
        """The first heading."""
        for cell in notebooks.read(self.path)["cells"]:
            for line in notebooks.source(cell).splitlines():
                if cell["cell_type"] == "markdown" and line.startswith("# "):
                    return line[2:].strip()
        return self.name

    @property
    def theorem_ids(self) -> list[str]:
        """The theorems that it proves."""
        return [theorem.id for theorem in known_theorems().values() if theorem.chapter == self.name]


@dataclass(frozen=True)
class Book:
    """The book's source: a checkout, or the notebooks that came with the installed package.

    Attributes:
        folder: The folder with _toc.yml, the pages and the notebooks.
        checkout: The folder above it if it is a checkout, which alone can be built; else None.
    """

    folder: Path
    checkout: Path | None

    def require_checkout(self) -> Path:
        """Return the checkout.

        Raises:
            UsageError: If there is none.
        """
        if self.checkout is None:
            raise UsageError(
                "this command needs the repository, where the book is built; run it inside a checkout"
            )
        return self.checkout

    @property
    def repository(self) -> Repository | None:
        """Where the source lives, if this is a checkout whose _config.yml says so."""
        if self.checkout is None:
            return None
        return repository((self.checkout / "_config.yml").read_text(encoding="utf-8"))

    @property
    def toc(self) -> dict[str, Any]:
        """The table of contents; BuildError if its file is damaged."""
        path = self.folder / "_toc.yml"
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BuildError(f"{path} is damaged: {' '.join(str(error).split())}") from error
        if not isinstance(loaded, dict) or "root" not in loaded:
            raise BuildError(f"{path} is damaged: it names no root page")
        return loaded

    def files(self) -> list[str]:
        """Return all that the table of contents names, in its order, without endings."""
        return list(_files(self.toc))

    def chapters(self) -> dict[str, Chapter]:
        """Return the chapters of the table of contents by name, in its order.

        Raises:
            UsageError: If two chapters share a name.
        """
        found: dict[str, Chapter] = {}
        for place in self.files():
            path = self.folder / f"{place}.ipynb"
            if not path.exists():
                continue
            if path.stem in found:
                raise UsageError(f"two chapters are called {path.stem}: {found[path.stem].place} and {place}")
            found[path.stem] = Chapter(path.stem, path, place)
        return found

    def chapter(self, name: str) -> Chapter:
        """Return one chapter.

        Raises:
            UsageError: If there is none of this name.
        """
        chapters = self.chapters()
        if name not in chapters:
            raise unknown("chapter", name, chapters)
        return chapters[name]


def known_theorems() -> dict[str, Theorem]:
    """Return all theorems by id.

    Raises:
        BuildError: If a file of theorems is damaged.
    """
    try:
        return theorems()
    except ValueError as error:
        raise BuildError(str(error)) from error


def find_book(start: Path | None = None) -> Book:
    """Return the book of the checkout around `start`, of the one the package lives in, or the packaged one.

    Args:
        start: A folder; the working directory if None.

    Raises:
        UsageError: If there is no book.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents, PACKAGE.parent):
        if (folder / "_config.yml").exists() and (folder / "book" / "_toc.yml").exists():
            return Book(folder / "book", folder)
    if (PACKAGE / "_book" / "_toc.yml").exists():
        return Book(PACKAGE / "_book", None)
    raise UsageError("there is no book here: neither a checkout nor notebooks in the installed package")


def _files(node: object) -> Iterator[str]:
    """Yield every file named in a table of contents, in order."""
    if isinstance(node, list):
        for item in node:
            yield from _files(item)
    elif isinstance(node, dict):
        yield from (str(node[key]) for key in ("root", "file") if key in node)
        for key in ("parts", "chapters", "sections"):
            yield from _files(node.get(key, []))
