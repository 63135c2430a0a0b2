"""A Sphinx extension that hands a chapter's glued figures to the pages; controls and dark pictures for pages.

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
PICTURE = re.compile(r'<img\b(?=[^>]*\bsrc="(?P<src>[^":]*_images/[^"/]+\.svg)")(?![^>]*\bonly-)[^>]*>')
FRAME = 18  # pixels that book.css puts around, left and right together
SIZE = re.compile(r'<svg\b[^>]*?\swidth="([\d.]+)(pt|px|)"[^>]*?\sheight="([\d.]+)(?:pt|px|)"')


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


def give_dark_pictures(made: Path) -> None:
    """Give every picture of the built pages a second one, for the dark, of which a reader loads one.

    Args:
        made: The folder of the built pages.

    Raises:
        BuildError: If the colours of a picture cannot be read.
    """
    sizes = {path.name: _write_dark(path) for path in sorted(made.glob("_images/*.svg"))}
    for page in sorted(made.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        both = PICTURE.sub(lambda found: _both(found, sizes), text)
        if both != text:
            page.write_text(both, encoding="utf-8")


def _both(found: re.Match[str], sizes: Mapping[str, str]) -> str:
    """Return an <img> and its twin; the span keeps the theme from hiding the caption with either."""
    size = sizes[found["src"].rpartition("/")[2]]
    light = found[0].replace("<img", f'<img loading="lazy"{size}', 1)
    twin = light.replace(found["src"], found["src"].removesuffix(".svg") + "-dark.svg")
    return f"<span>{_of_class(light, 'only-light')}{_of_class(twin, 'only-dark')}</span>"


def _of_class(image: str, name: str) -> str:
    if 'class="' in image:
        return image.replace('class="', f'class="{name} ', 1)
    return image.replace("<img", f'<img class="{name}"', 1)


def _write_dark(path: Path) -> str:
    """Write the dark twin of a picture.

    Returns:
        The size of both as attributes, so that a page does not move while they load.
    """
    from ssl_theory.display.dark import darkened  # only where pages are made: it brings matplotlib and torch

    svg = path.read_text(encoding="utf-8")
    try:
        path.with_name(f"{path.stem}-dark.svg").write_text(darkened(svg), encoding="utf-8")
    except ValueError as error:
        raise BuildError(f"{path.name} cannot be shown in the dark: {error}") from error
    size = SIZE.search(svg)
    if size is None:
        return ""
    pixels = [round(float(size[place]) * (4 / 3 if size[2] == "pt" else 1)) + FRAME for place in (1, 3)]
    return f' width="{pixels[0]}" height="{pixels[1]}"'


def _finish(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        give_dark_pictures(Path(app.outdir))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx.

    Returns:
        That pages may be read and written in parallel.
    """
    app.connect("builder-inited", lambda app: write_pictures(Path(app.srcdir)))
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
