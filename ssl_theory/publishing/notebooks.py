"""The canonical form of a notebook: no outputs, no traces of a run, stable ids."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

INJECTED = "injected-parameters"
INSTALL = "install"  # the cell that installs the library where it is missing

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_KEPT = ("mystnb", "tags")


def read(path: Path) -> dict[str, Any]:
    """Return a notebook's JSON."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def dump(notebook: dict[str, Any]) -> str:
    """Return a notebook's text as it is written to files."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def tags(cell: dict[str, Any]) -> list[str]:
    """Return the tags of a cell."""
    found: list[str] = cell["metadata"].get("tags", [])
    return found


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
        kept = {key: cell["metadata"][key] for key in _KEPT if cell["metadata"].get(key)}
        source = "".join(cell["source"]).rstrip("\n").splitlines(keepends=True)
        clean = {"cell_type": cell["cell_type"], "id": f"cell-{len(cells):02d}", "metadata": kept}
        if cell["cell_type"] == "code":
            clean |= {"execution_count": None, "outputs": []}
        cells.append(clean | {"source": source})
    return dump({"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5})


def scrub(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return an executed notebook without times, paths and traces of the machine that ran it."""
    cells: list[dict[str, Any]] = []
    for cell in notebook["cells"]:
        metadata = {key: cell["metadata"][key] for key in _KEPT if cell["metadata"].get(key)}
        if INJECTED in tags(cell):
            metadata["tags"] = [INJECTED, "remove-cell"]
        outputs = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
        ran = {"outputs": outputs} if cell["cell_type"] == "code" else {}
        cells.append(cell | {"id": f"cell-{len(cells):02d}", "metadata": metadata} | ran)
    return notebook | {"cells": cells, "metadata": _METADATA}


def python_warnings(notebook: dict[str, Any]) -> list[str]:
    """Return the Python warnings among the messages of an executed notebook, each once."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    text = "\n".join("".join(output["text"]) for output in outputs if output.get("name") == "stderr")
    return list(dict.fromkeys(re.findall(r"\b\w*Warning: .*", text)))


def not_canonical(folder: Path, *, fix: bool = False, install: str | None = None) -> list[Path]:
    """Return the notebooks below a folder that are not in canonical form, after mending them if asked to."""
    wrong = []
    for path in sorted(folder.rglob("*.ipynb")):
        text = canonical(read(path), install)
        if text != path.read_text(encoding="utf-8"):
            wrong.append(path)
            if fix:
                path.write_text(text, encoding="utf-8")
    return wrong
