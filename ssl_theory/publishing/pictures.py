"""A Sphinx extension that hands a chapter's glued figures to the pages; a chapter's control for another page.

MyST-NB can glue a figure only within the page that made it. Before Sphinx reads the book, this extension
writes each glued SVG to pictures/KEY.svg, where an ordinary figure directive, with its number, caption and
alternative text, finds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.folding import GLUED

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ASKED = re.compile(r"<!-- control: (\S+) -->")
SVG = "image/svg+xml"


def glued_pictures(notebook: dict[str, Any]) -> dict[str, str]:
    """Return the SVG text of every figure glued in an executed notebook, by key."""
    found = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            key = output.get("metadata", {}).get("scrapbook", {}).get("name")
            data = output.get("data", {})
            svg = data.get(GLUED + SVG, data.get(SVG))
            if key and svg:
                found[key] = svg if isinstance(svg, str) else "".join(svg)
    return found


def with_controls(page: str, executed: Mapping[str, Path]) -> str:
    """Return a page's Markdown with the first control of a chapter wherever it says `<!-- control: NAME -->`.

    Args:
        page: Markdown.
        executed: Executed notebooks by the names of their chapters; one that is not built has no control.

    Returns:
        Markdown with raw HTML.

    Raises:
        BuildError: If the chapter shows no control.
    """
    return ASKED.sub(lambda asked: _first_control(asked[1], executed), page)


def _first_control(name: str, executed: Mapping[str, Path]) -> str:
    if name not in executed:
        return ""
    for output in notebooks.outputs(notebooks.read(executed[name])):
        html = "".join(output.get("data", {}).get("text/html", ""))
        if html.startswith('<figure class="ssl-control">'):
            return f"`````{{raw}} html\n{html}\n`````"
    raise BuildError(f"a page asks for the control of {name}, which shows none")


def write_pictures(source: Path) -> None:
    """Write the glued figures of every notebook under `source` to its folder pictures/, if they changed."""
    folder = source / "pictures"
    for path in sorted(source.rglob("*.ipynb")):
        for key, svg in glued_pictures(json.loads(path.read_text(encoding="utf-8"))).items():
            folder.mkdir(exist_ok=True)
            target = folder / f"{key}.svg"
            if not target.exists() or target.read_text(encoding="utf-8") != svg:
                target.write_text(svg, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx.

    Returns:
        That pages may be read and written in parallel.
    """
    app.connect("builder-inited", lambda app: write_pictures(Path(app.srcdir)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
