"""One page with every figure and control of the built book, small, to look at the book's look as a whole."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from ssl_theory.publishing.composed import article, shell, title, within

__all__ = ["figure_sheet"]

FIGURE = re.compile(r"<figure\b.*?</figure>", re.S)
LABEL = re.compile(r'\bid="([^"]+)"')
HEAD = """<style>
body { padding: 1rem; }
.sheet { display: flex; flex-wrap: wrap; gap: 1rem; margin-bottom: 2rem; }
.sheet > section { width: 704px; zoom: 0.5; }
.sheet > section > p { font-size: 1.4rem; margin: 0; }
.sheet figcaption { display: -webkit-box; overflow: hidden;
  -webkit-box-orient: vertical; -webkit-line-clamp: 4; }
h2 { font-size: 1.1rem; margin: 0; }
.sheet figure { margin-block: 0.3rem; }
@media (max-width: 26rem) { .sheet > section { width: 358px; zoom: 1; } }
</style>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)");
const set = () => (document.documentElement.dataset.theme = dark.matches ? "dark" : "light");
dark.addEventListener("change", set);
set();
</script>
"""


def figure_sheet(site: Path, places: Sequence[str], root: str) -> tuple[str, int]:
    """Return the page, and how many figures and controls it shows.

    Args:
        site: The folder of the built pages.
        places: The pages to look through, without endings.
        root: Where they are, seen from the sheet.

    Raises:
        UsageError: If the book is not built.
    """
    parts, count = list[str](), 0
    for place in places:
        text = article(site, place)
        shown = [_shown(found[0], place, count + n, root) for n, found in enumerate(FIGURE.finditer(text), 1)]
        count += len(shown)
        if shown:
            heading = f'<h2><a href="{root}{place}.html">{html.escape(title(text) or place)}</a></h2>'
            parts.append(f'{heading}\n<div class="sheet">{"".join(shown)}</div>')
    body = f'<main class="bd-article">\n<h1>{count} figures and controls</h1>\n{"".join(parts)}\n</main>'
    return shell(site, "All figures", body, root=root, head=HEAD), count


def _shown(figure: str, place: str, number: int, root: str) -> str:
    label = LABEL.search(figure.partition(">")[0])
    name = label[1] if label else "control" if "ssl-control" in figure.partition(">")[0] else "figure"
    address = f"{root}{place}.html" + (f"#{label[1]}" if label else "")
    shown = within(figure.replace(' loading="lazy"', ""), place, {place: f"figure-{number}--"}, root)
    return f'<section><p><a href="{address}">{html.escape(name)}</a></p>{shown}</section>'
