"""A map of the results, which one uses which, as a picture whose boxes are links, and as a table."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.theorems import Theorem, theorems

BOX, HIGH, GAP, LANE, DROP = 128.0, 82.0, 10.0, 8.0, 46.0
# pixels: a box, its height, gaps, a passing arrow, a drop
LETTERS, LINES = 19, 4  # of a title in a box
WIDEST = 4  # boxes side by side, as many as a column of text has room for

# An arrow stands out while one of its ends is pointed at or has the focus.
SCRIPT = """<script>
(() => {
  const map = document.currentScript.parentElement;
  const mark = (event, on) => {
    const link = event.target.closest("a");
    if (link) map.querySelectorAll(`[data-from="${link.id}"], [data-to="${link.id}"]`).forEach(
      (arrow) => arrow.classList.toggle("near", on));
  };
  for (const name of ["mouseover", "focusin"]) map.addEventListener(name, (event) => mark(event, true));
  for (const name of ["mouseout", "focusout"]) map.addEventListener(name, (event) => mark(event, false));
})();
</script>"""

Graph = dict[str, tuple[str, ...]]
Point = tuple[float, float]


def results(chapters: Iterable[Chapter]) -> dict[str, tuple[Theorem, Chapter]]:
    """Return the theorems of some chapters, by id, in the order of the book."""
    known = theorems().values()
    return {t.id: (t, chapter) for chapter in chapters for t in known if t.chapter == chapter.name}


def family(theorem: str) -> str:
    """Return the main result that a result belongs to: T3 of T3.growth."""
    return theorem.split(".")[0]


def main_graph(found: Mapping[str, tuple[Theorem, Chapter]]) -> Graph:
    """Return which main results each main result uses, without what follows from the rest.

    A part of a main result stands for it. What is used comes earlier in the book.
    """
    order = {name: place for place, name in enumerate(name for name in found if name == family(name))}
    graph = {
        name: {family(used) for used in found[name][0].uses if order.get(family(used), len(order)) < place}
        for name, place in order.items()
    }
    behind: dict[str, set[str]] = {}
    for name in order:
        behind[name] = graph[name].union(*(behind[used] for used in graph[name]))
    return {
        name: tuple(
            used for used in order if used in near and not any(used in behind[other] for other in near)
        )
        for name, near in graph.items()
    }


def main_map(chapters: Iterable[Chapter]) -> str:
    """Return HTML with a picture of the main results, an arrow from each to those that use it.

    Args:
        chapters: The chapters whose results are shown, in the order of the book.

    Returns:
        A block of HTML without empty lines, for a page in the book's top folder.
    """
    found = results(chapters)
    graph = main_graph(found)
    layers, paths = _layered(graph)
    _untangle(layers, paths)
    place = _places(layers)
    width = max((sum(_wide(name) + GAP for name in layer) for layer in layers), default=0.0) + GAP
    height = len(layers) * (HIGH + DROP) - DROP + 2 * GAP
    shapes = [_arrow(path, place) for path in paths]
    shapes += [_box(*found[name], *place[name]) for name in graph]
    count = sum(map(len, graph.values()))
    label = f"Map of {len(graph)} main results, with {count} arrows from a result to those that use it"
    return _block(width, height, label, shapes)


def uses_table(chapters: Iterable[Chapter]) -> str:
    """Return a Markdown table of all results: what each uses, and what uses it."""
    found = results(chapters)

    def refer(names: Sequence[str]) -> str:
        known = [found[name][0] for name in names if name in found]
        return ", ".join(f"{{prf:ref}}`{theorem.id} <{theorem.label}>`" for theorem in known) or "–"

    lines = ["| result | uses | is used by |", "| :--- | :--- | :--- |"]
    for name, (theorem, _) in found.items():
        users = [other for other, (user, _) in found.items() if name in user.uses]
        lines.append(f"| {refer([name])} {theorem.title} | {refer(theorem.uses)} | {refer(users)} |")
    return "\n".join(lines)


def sharpened(chapters: Iterable[Chapter]) -> str:
    """Return a Markdown table of the results that restrict or correct the paper, with what it says."""
    own = [theorem for theorem, _ in results(chapters).values() if theorem.relation == "sharpens"]
    rows = [f"| {{prf:ref}}`{theorem.label}` {theorem.title} | {theorem.paper} |" for theorem in own]
    return "\n".join(["| result | in the paper |", "| :--- | :--- |", *rows])


def _layered(graph: Graph) -> tuple[list[list[str]], list[list[str]]]:
    """Return the names by rank, and each arrow as the names it runs through, one for each rank it passes.

    A rank is below those of all that is used, and holds no more boxes than fit.
    """
    rank: dict[str, int] = {}
    for name, used in graph.items():
        rank[name] = 1 + max((rank[other] for other in used), default=-1)
        while list(rank.values()).count(rank[name]) > WIDEST:
            rank[name] += 1
    layers: list[list[str]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for name in graph:
        layers[rank[name]].append(name)
    paths = []
    for name, used in graph.items():
        for other in used:
            passing = {level: f"{other}>{name}>{level}" for level in range(rank[other] + 1, rank[name])}
            for level, place in passing.items():
                layers[level].append(place)
            paths.append([other, *passing.values(), name])
    return layers, paths


def _untangle(layers: list[list[str]], paths: Sequence[Sequence[str]], sweeps: int = 12) -> None:
    """Sort each layer by where the neighbours of its members are, so that few arrows cross."""
    steps = [step for path in paths for step in pairwise(path)]
    for sweep in range(sweeps):
        for fixed, layer in pairwise(layers if sweep % 2 == 0 else layers[::-1]):
            where = {name: (place + 0.5) / len(fixed) for place, name in enumerate(fixed)}
            middle = {}
            for place, name in enumerate(layer):
                ends = [other for step in steps if name in step for other in step if other in where]
                own = (place + 0.5) / len(layer)
                middle[name] = sum(where[end] for end in ends) / len(ends) if ends else own
            layer.sort(key=lambda name: middle[name])


def _wide(name: str) -> float:
    return LANE if ">" in name else BOX


def _places(layers: Sequence[Sequence[str]]) -> dict[str, Point]:
    """Return the middle of the upper edge of every member, the layers centred one below the other."""
    widths = [sum(_wide(name) + GAP for name in layer) for layer in layers]
    found = {}
    for level, layer in enumerate(layers):
        x = GAP + (max(widths) - widths[level]) / 2
        for name in layer:
            found[name] = (x + _wide(name) / 2, float(GAP + level * (HIGH + DROP)))
            x += _wide(name) + GAP
    return found


def _arrow(path: Sequence[str], place: Mapping[str, Point]) -> str:
    (x, y), *rest = [place[name] for name in path]
    drawn = f"M{x:.0f} {y + HIGH:.0f}"
    for left, top in rest:
        bend = y + HIGH + DROP / 2
        drawn += f"C{x:.0f} {bend:.0f} {left:.0f} {bend:.0f} {left:.0f} {top:.0f}"
        if (left, top) != rest[-1]:
            drawn += f"V{top + HIGH:.0f}"
        x, y = left, top
    ends = f'data-from="map-{html.escape(path[0])}" data-to="map-{html.escape(path[-1])}"'
    return f'<path class="arrow" {ends} d="{drawn}" marker-end="url(#map-head)"/>'


def _box(theorem: Theorem, chapter: Chapter, x: float, y: float) -> str:
    lines = textwrap.wrap(theorem.title, LETTERS, max_lines=LINES, placeholder=" …")
    first = y + 18 + 7 * (LINES - len(lines))
    texts = [f'<text class="name" x="{x:.0f}" y="{first:.0f}">{html.escape(theorem.id)}</text>']
    texts += [
        f'<text x="{x:.0f}" y="{first + 14 * place:.0f}">{html.escape(line)}</text>'
        for place, line in enumerate(lines, 1)
    ]
    box = f'<rect x="{x - BOX / 2:.0f}" y="{y:.0f}" width="{BOX:.0f}" height="{HIGH:.0f}" rx="8"/>'
    address = html.escape(f"{chapter.place}.html#{theorem.label}")
    return f'<a id="map-{html.escape(theorem.id)}" href="{address}">{box}{"".join(texts)}</a>'


def _block(width: float, height: float, label: str, shapes: Sequence[str]) -> str:
    head = '<marker id="map-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    head += 'orient="auto"><path d="M0 0L8 4L0 8z"/></marker>'
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    drawing = "\n".join([f"<defs>{head}</defs>", *shapes])
    return (
        f'<div class="theorem-map main-map" role="region" aria-label="{html.escape(label)}">\n'
        f'<svg {size} role="group" aria-label="{html.escape(label)}">\n{drawing}\n</svg>\n{SCRIPT}\n</div>'
    )
