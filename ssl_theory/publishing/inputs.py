"""What the outputs of a chapter depend on, read from the source, and a hash of it.

A chapter depends on its notebook, on the modules that it imports and those that they import, on its own file
of theorems, on the stored tables that it reads, on the program that executes it, and on installed versions.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import PACKAGE, Chapter

LIBRARY = PACKAGE.name
THEOREMS, TABLES = f"{LIBRARY}.theorems", "results"
EXECUTION = (
    "execute",
    "notebooks",
    "split",
    "warm",
    "worker",
)  # the modules of this package that outputs pass through
APART = ("book", "cluster", "experiments", "lab", "pdf", "test")  # extras that no chapter uses
DYNAMIC = frozenset({"import_module", "__import__"})


@dataclass(frozen=True)
class Source:
    """What a piece of Python code says.

    Attributes:
        imported: Full names of what it may import: modules, and names in them.
        names: All identifiers.
        texts: All strings, those in f-strings included.
    """

    imported: frozenset[str]
    names: frozenset[str]
    texts: frozenset[str]


def key(chapter: Chapter, parameters: Mapping[str, Any]) -> str:
    """Return a hash of everything that the outputs of a chapter depend on.

    Raises:
        BuildError: If the notebook is damaged.
    """
    digest = hashlib.sha256(json.dumps([versions(), dict(parameters)], sort_keys=True).encode())
    for name, path in sorted(inputs(chapter).items()):
        digest.update(f"{name}\n{_hash(path, *_moment(path))}\n".encode())
    return digest.hexdigest()


def inputs(chapter: Chapter) -> dict[str, Path]:
    """Return the files that a chapter depends on, each with a name.

    Raises:
        BuildError: If the notebook is damaged.
    """
    own = _code(notebooks.read(chapter.path))
    modules = _modules()
    reached = _reached(own, modules)
    found = {"chapter": chapter.path} | {name: modules[name] for name in reached}
    found |= {f"publishing.{name}": PACKAGE / "publishing" / f"{name}.py" for name in EXECUTION}
    data = [path for name in reached for path in _data(modules[name])]
    found |= {path.relative_to(PACKAGE).as_posix(): path for path in data}
    theorems = sorted((PACKAGE / "theorems").glob("*.toml"))
    if own is not None and not {f"{THEOREMS}.theorems", f"{THEOREMS}.claims"} & own.imported:
        theorems = [path for path in theorems if path.stem == chapter.name]
    found |= {f"theorems/{path.name}": path for path in theorems}
    used = [source for name in reached if (source := _source(modules[name])) is not None]
    return {name: path for name, path in (found | _tables(chapter, own, used)).items() if path.exists()}


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of all that the library, and so a chapter, is built on."""
    apart = re.compile(rf"extra == .(?:{'|'.join(APART)})\b")
    direct = [name for name in requires("ssl-theory") or [] if not apart.search(name)]
    found = {"python": platform.python_version()}
    for requirement in direct:
        package = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def _code(notebook: Mapping[str, Any]) -> Source | None:
    """Return what a notebook's code says, or None if it is not plain Python."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    own = [notebooks.source(cell) for cell in cells if notebooks.INSTALL not in notebooks.tags(cell)]
    return _parsed("\n".join(own), "")


def _modules() -> dict[str, Path]:
    """Return the files of the library by the names of their modules, without how it is published."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in ("publishing", "_book"):
            found[".".join((LIBRARY, *(part for part in parts if part != "__init__")))] = path
    return found


def _reached(own: Source | None, modules: Mapping[str, Path]) -> set[str]:
    """Return the modules that code may import, directly or not: all if that cannot be read from it."""
    if own is None or own.names & DYNAMIC:
        return set(modules)
    reached: set[str] = set()
    new = _named(own, modules)
    while new:
        reached |= new
        sources = [_source(modules[name]) for name in new]
        if any(source is None or source.names & DYNAMIC for source in sources):
            return set(modules)
        new = {name for source in sources if source for name in _named(source, modules)} - reached
    return reached


def _named(source: Source, modules: Mapping[str, Path]) -> set[str]:
    """Return the modules that code names, in imports or in texts, with the packages around them."""
    found: set[str] = set()
    for name in source.imported | source.texts:
        parts = name.split(".") if name.startswith(LIBRARY) else []
        found |= {".".join(parts[:length]) for length in range(1, len(parts) + 1)} & modules.keys()
    return found


def _data(module: Path) -> Iterator[Path]:
    """Yield the files of a package that are not Python, which its modules may read."""
    if module.name == "__init__.py" and module.parent.name != "theorems":
        yield from (
            p for p in sorted(module.parent.iterdir()) if p.is_file() and p.suffix not in (".py", ".pyc")
        )


def _tables(chapter: Chapter, own: Source | None, used: Iterable[Source]) -> dict[str, Path]:
    """Return the stored tables that a chapter reads: all that begin like a text of its code."""
    book = chapter.path.parents[len(Path(chapter.place).parts) - 1]
    stored = {f"{TABLES}/{path.name}": path for path in sorted((book / TABLES).glob("*.csv"))}
    if own is not None and not any(TABLES in source.texts for source in (own, *used)):
        return {}
    first = {text.split("-")[0] for text in own.texts} if own is not None else set()
    named = {name: path for name, path in stored.items() if path.stem.split("-")[0] in first}
    return named or stored


def _source(path: Path) -> Source | None:
    return _read(path, *_moment(path))


def _moment(path: Path) -> tuple[int, int]:
    """Return what changes with a file's content, so that nothing is read twice."""
    about = path.stat()
    return about.st_mtime_ns, about.st_size


@lru_cache(maxsize=1024)
def _hash(path: Path, moment: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@lru_cache(maxsize=1024)
def _read(path: Path, moment: int, size: int) -> Source | None:
    inside = path.relative_to(PACKAGE).with_suffix("").parts
    package = ".".join((LIBRARY, *inside[:-1]))
    return _parsed(path.read_text(encoding="utf-8", errors="replace"), package)


@lru_cache(maxsize=1024)
def _parsed(text: str, package: str) -> Source | None:
    """Return what code in a package says, or None if it is not plain Python."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return None
    imported: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            around = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            start = ".".join([*around, *([node.module] if node.module else [])])
            imported |= {f"{start}.{alias.name}" for alias in node.names}
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    texts = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return Source(frozenset(imported), frozenset(names), frozenset(texts))
