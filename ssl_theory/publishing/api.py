"""The library's reference: which public names there are, where, and which chapters use them.

All of it is read from the source, so that nothing of the library is imported before Sphinx does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import PACKAGE, Chapter

FOLDER = "api"
LIBRARY = PACKAGE.name
HIDDEN = ("publishing", "validation", "_book")  # the machinery of the book, and checks of arguments


@dataclass(frozen=True)
class Room:
    """A part of the library with a page of its own.

    Attributes:
        name: The page's file name.
        title: Its title.
        about: What is in it.
        modules: Modules and packages below the library, with all that they contain.
    """

    name: str
    title: str
    about: str
    modules: tuple[str, ...]


ROOMS = (
    Room(
        "networks",
        "Networks",
        "Deep ReLU networks with their Jacobians and connections, and gradient flow on their weights.",
        ("networks", "flow"),
    ),
    Room("losses", "Losses", "Contrastive losses and their pair weights.", ("losses",)),
    Room("views", "Views", "Objects and their augmentations.", ("views",)),
    Room(
        "operators",
        "Operators",
        "What a loss does to the weights of a layer: exact matrices, products without them, and spectra.",
        ("operators",),
    ),
    Room(
        "inspection",
        "Inspection",
        "Your own encoder and views: what a loss does to its weights, and what its outputs are worth.",
        ("inspection",),
    ),
    Room(
        "hltm",
        "Latent trees",
        "Trees of hidden causes, what they predict, and the networks that mirror them.",
        ("hltm",),
    ),
    Room("images", "Images", "Data sets, augmentations, encoders and their evaluation.", ("images",)),
    Room(
        "training",
        "Training",
        "One training loop: devices, checkpoints, progress, several processes.",
        ("training",),
    ),
    Room("experiments", "Experiments", "What runs for minutes and leaves a table.", ("experiments",)),
    Room(
        "checks",
        "Checks",
        "Theorems as data, the record of every check, and the slow programs that checks compare with.",
        ("checks", "chapter", "theorems", "reference"),
    ),
    Room(
        "figures",
        "Figures and controls",
        "One look for all figures, and controls that work in the page and in Jupyter.",
        ("display", "controls"),
    ),
)


@dataclass
class Module:
    """What the source of one module defines.

    Attributes:
        name: Its full name.
        about: The first line of its docstring.
        defined: Public names with their kind: "function", "class" or "data".
        values: The values of constants, as written.
        imported: Names that it imports from the library, with the module and the name there.
        exported: `__all__`, if there is one.
    """

    name: str
    about: str
    defined: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    exported: list[str] | None = None


@cache
def modules() -> dict[str, Module]:
    """Return the modules of the library that are documented, by full name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE).with_suffix("")
        parts = [part for part in inside.parts if part != "__init__"]
        if parts and parts[0] not in HIDDEN and not any(part.startswith("_") for part in parts):
            module = _read(".".join((LIBRARY, *parts)), path)
            found[module.name] = module
    return found


def origin(module: str, name: str) -> tuple[str, str] | None:
    """Return the module that defines what another offers under a name, or None if nothing public does."""
    known = modules().get(module)
    if known is None or f"{module}.{name}" in modules():
        return None
    if name in known.defined:
        return module, name
    if name in known.imported:
        return origin(*known.imported[name])
    return None


@cache
def public() -> dict[tuple[str, str], str]:
    """Return where each public name is documented: the full name to import, by defining module and name.

    A package offers what its `__all__` lists; everything else is offered by the module that defines it.
    """
    found: dict[tuple[str, str], str] = {}
    for module in modules().values():
        for name in module.exported or []:
            where = origin(module.name, name)
            if where is not None and where[0].startswith(f"{module.name}."):
                found.setdefault(where, f"{module.name}.{name}")
    for module in modules().values():
        for name in module.defined:
            if module.exported is None or name in module.exported:
                found.setdefault((module.name, name), f"{module.name}.{name}")
    return found


def used_names(notebook: Mapping[str, Any]) -> set[str]:
    """Return the documented names of the library that a notebook's code uses."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells if notebooks.INSTALL not in notebooks.tags(cell)]
    tree = ast.parse("\n".join(sources))
    return {public()[place] for place in _used(tree) if place in public()}


def users(chapters: Iterable[Chapter]) -> dict[str, list[Chapter]]:
    """Return the chapters that use each documented name."""
    found: dict[str, list[Chapter]] = {}
    for chapter in chapters:
        for name in used_names(notebooks.read(chapter.path)):
            found.setdefault(name, []).append(chapter)
    return found


def place(room: Room) -> str:
    """Return the path of a room's page in the book, without its ending."""
    return f"{FOLDER}/{room.name}"


def page(room: Room, users: Mapping[str, list[Chapter]]) -> str:
    """Return the page of a room.

    Args:
        room: The room.
        users: The chapters that use each name.

    Returns:
        Markdown.
    """
    own = [module for module in modules().values() if _room_of(module.name) is room]
    parts = [f"# {room.title}", room.about]
    for module in own:
        names = {full: where for where, full in public().items() if full.rpartition(".")[0] == module.name}
        if names:
            parts += [f"## {module.name.removeprefix(f'{LIBRARY}.')}", module.about, "```{eval-rst}"]
            parts.append(f".. py:currentmodule:: {module.name}")
            parts += [_entry(full, where, users.get(full, [])) for full, where in names.items()]
            parts += ["```"]
    return "\n\n".join(parts) + "\n"


def contents() -> str:
    """Return a Markdown list of the rooms, for the page that leads to them."""
    return "\n".join(f"* {{doc}}`{room.name}`: {room.about}" for room in ROOMS)


def homeless() -> list[str]:
    """Return the modules that no room contains."""
    return [name for name in modules() if _room_of(name) is None]


def _room_of(module: str) -> Room | None:
    top = module.split(".")[1]
    return next((room for room in ROOMS if top in room.modules), None)


def _entry(full: str, where: tuple[str, str], users: list[Chapter]) -> str:
    module = modules()[where[0]]
    kind = module.defined[where[1]]
    lines = [f".. auto{kind}:: {full}"] if kind != "data" else [f".. py:data:: {where[1]}"]
    if kind == "data" and module.values[where[1]]:
        lines.append(f"   :value: {module.values[where[1]]}")
    if kind == "class":
        lines += ["   :members:", "   :special-members: __call__"]
    if users:
        links = ", ".join(f":doc:`{chapter.name} </{chapter.place}>`" for chapter in users)
        lines += ["", "   .. container:: used-in", "", f"      Used in {links}."]
    return "\n".join(lines)


def _read(name: str, path: Path) -> Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = Module(name, (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " "))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            module.defined[node.name] = "class" if isinstance(node, ast.ClassDef) else "function"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(LIBRARY):
            for alias in node.names:
                module.imported[alias.asname or alias.name] = (node.module or package, alias.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "__all__":
                module.exported = ast.literal_eval(node.value)
            for constant in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(constant, ast.Name) and constant.id.isupper() and constant.id[0] != "_":
                    module.defined[constant.id] = "data"
                    module.values[constant.id] = "" if target is not constant else ast.unparse(node.value)
    return module


def _used(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the definitions that code refers to, by import or as an attribute of an imported module."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == LIBRARY:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules():
                    aliases[alias.asname or alias.name] = inner
                elif (where := origin(node.module or "", alias.name)) is not None:
                    yield where
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in modules() and alias.asname:
                    aliases[alias.asname] = alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            where = origin(aliases[node.value.id], node.attr)
            if where is not None:
                yield where
