"""The canonical form of a notebook: no outputs, no traces of a run, stable ids."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.files import write_whole

INJECTED = "injected-parameters"
INSTALL = "install"  # the cell that installs the library where it is missing

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_KEPT = ("mystnb", "tags")


def read(path: Path) -> dict[str, Any]:
    """Return a notebook's JSON.

    Raises:
        BuildError: If the file holds no notebook of format 4; its name and what is wrong are told.
    """
    data = path.read_bytes()
    try:
        notebook = json.loads(data.decode("utf-8-sig"))  # some editors begin a file with a mark
    except ValueError as error:
        raise BuildError(f"{path} is not a notebook: {_flaw(data, error)}") from error
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        old = isinstance(notebook, dict) and "worksheets" in notebook
        why = "it is of format 3; jupyter nbconvert --to notebook makes it one of format 4" if old else ""
        raise BuildError(f"{path} is not a notebook: {why or 'it has no list of cells'}")
    for number, cell in enumerate(notebook["cells"], 1):
        if not _sound(cell):
            raise BuildError(f"{path} is not a notebook: cell {number} is damaged")
    return notebook


def _flaw(data: bytes, error: ValueError) -> str:
    """Return what is wrong with a file that is no JSON."""
    if data.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS; git lfs pull fetches the file"
    if re.search(rb"^(<<<<<<<|>>>>>>>) ", data, re.M):
        return "it holds the marks of a merge conflict"
    if isinstance(error, UnicodeDecodeError):
        return "it is not in UTF-8"
    return f"{error}" if data.strip() else "it is empty"


def _sound(cell: Any) -> bool:
    """Return whether a cell has a known type, and source, tags and outputs of the types they should have."""
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        return False
    source, data, outputs = cell.get("source", ""), cell.get("metadata", {}), cell.get("outputs", [])
    lines = isinstance(source, str) or (isinstance(source, list) and all(isinstance(s, str) for s in source))
    tagged = isinstance(data, dict) and isinstance(data.get("tags", []), list)
    shown = isinstance(outputs, list) and all(isinstance(o, dict) and "output_type" in o for o in outputs)
    return lines and tagged and shown


def dump(notebook: dict[str, Any]) -> str:
    """Return a notebook's text as it is written to files."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def tags(cell: dict[str, Any]) -> list[str]:
    """Return the tags of a cell."""
    found: list[str] = cell.get("metadata", {}).get("tags", [])
    return found


def source(cell: dict[str, Any]) -> str:
    """Return the text of a cell, which files hold whole or line by line."""
    return "".join(cell.get("source", ""))


def outputs(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all outputs of a notebook, in its order."""
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def with_install(notebook: dict[str, Any], install: str) -> dict[str, Any]:
    """Return a notebook whose second cell, hidden in the book, has this source and alone is tagged so."""
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": INSTALL,
        "metadata": {"tags": [INSTALL, "remove-cell"]},
        "outputs": [],
        "source": install.splitlines(keepends=True),
    }
    others = [cell for cell in notebook["cells"] if INSTALL not in tags(cell)]
    return notebook | {"cells": [*others[:1], cell, *others[1:]]}


def canonical(notebook: dict[str, Any], install: str | None = None) -> str:
    """Return the canonical text: what the notebook's source is, executed or not.

    Outputs, counts, injected parameters and all metadata but tags and captions are dropped; ids count cells.

    Args:
        notebook: Its JSON.
        install: Source of the cell that installs the library; None leaves such a cell, or its absence, alone.

    Returns:
        The text.
    """
    if install is not None:
        notebook = with_install(notebook, install)
    cells: list[dict[str, Any]] = []
    for cell in notebook["cells"]:
        if INJECTED in tags(cell):
            continue
        kept = _kept(cell)
        lines = source(cell).rstrip("\n").splitlines(keepends=True)
        clean = {"cell_type": cell["cell_type"], "id": f"cell-{len(cells):02d}", "metadata": kept}
        if cell["cell_type"] == "code":
            clean |= {"execution_count": None, "outputs": []}
        cells.append(clean | {"source": lines})
    return dump({"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5})


def scrub(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return an executed notebook without times, paths and traces of the machine that ran it."""
    cells: list[dict[str, Any]] = []
    for cell in notebook["cells"]:
        metadata = _kept(cell)
        if INJECTED in tags(cell):
            metadata["tags"] = [INJECTED, "remove-cell"]
        shown = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
        ran = {"outputs": shown} if cell["cell_type"] == "code" else {}
        cells.append(cell | {"id": f"cell-{len(cells):02d}", "metadata": metadata} | ran)
    return notebook | {"cells": cells, "metadata": _METADATA}


def python_warnings(notebook: dict[str, Any]) -> list[str]:
    """Return the Python warnings among the messages of an executed notebook, each once."""
    told = [output["text"] for output in outputs(notebook) if output.get("name") == "stderr"]
    text = "\n".join(map("".join, told))
    return list(dict.fromkeys(re.findall(r"\b\w*Warning: .*", text)))


def missing_figures(notebook: dict[str, Any]) -> list[str]:
    """Return the figures that cells of an executed notebook announce and do not show, by name."""
    found = []
    for cell in notebook["cells"]:
        announced = cell.get("metadata", {}).get("mystnb", {}).get("figure")
        kinds = [mime for output in cell.get("outputs", []) for mime in output.get("data", {})]
        if announced and not any(mime.startswith("image/") for mime in kinds):
            found.append(announced.get("name", "a figure without a name"))
    return found


def _kept(cell: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata that belong to a cell's source."""
    metadata = cell.get("metadata", {})
    return {key: metadata[key] for key in _KEPT if metadata.get(key)}


def not_canonical(folder: Path, *, fix: bool = False, install: str | None = None) -> list[Path]:
    """Return the notebooks below a folder that are not in canonical form, after mending them if asked to."""
    wrong = []
    for path in sorted(folder.rglob("*.ipynb")):
        text = canonical(read(path), install)
        if text.encode() != path.read_bytes():
            wrong.append(path)
            if fix:
                write_whole(path, text)
    return wrong
