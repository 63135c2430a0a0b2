from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from ssl_theory import theorems as data
from ssl_theory.publishing import maps, notebooks
from ssl_theory.publishing.catalogue import Chapter, find_book
from ssl_theory.theorems import Theorem, dependencies, theorems

BOOK = find_book(Path(__file__))
CHAPTERS = list(BOOK.chapters().values())
DIRECTIVE = re.compile(r"^(`{3,})\{prf:(\w+)\}([^\n]*)\n(.*?)^\1$", re.M | re.S)
REFERENCE = re.compile(r"\{prf:ref\}`(?:[^`<]*<)?([\w-]+)>?`")
OF = re.compile(r"(?:\bof(?: part \d+ of)?|\bprove) \{prf:ref\}`([\w-]+)`", re.I)


def theorem(name: str, *uses: str) -> Theorem:
    first = next(iter(theorems().values()))
    return replace(first, id=name, title=f"The title of {name}", chapter="one", uses=uses, claims=())


def written(*listed: Theorem) -> tuple[dict[str, tuple[Theorem, Chapter]], list[Chapter]]:
    chapter = Chapter("one", Path("one.ipynb"), "part/one")
    return {t.id: (t, chapter) for t in listed}, [chapter]


def drawing(block: str) -> ET.Element:
    return ET.fromstring(re.search(r"<svg.*</svg>", block, re.S)[0])  # type: ignore[index]


def arrows(block: str) -> set[tuple[str, str]]:
    shapes = [path for path in drawing(block).iter("path") if path.get("data-from")]
    return {(path.attrib["data-from"][4:], path.attrib["data-to"][4:]) for path in shapes}


def boxes(block: str) -> list[tuple[float, ...]]:
    sides = ("x", "y", "width", "height")
    return [tuple(float(box.attrib[side]) for side in sides) for box in drawing(block).iter("rect")]


def test_a_main_result_stands_for_its_parts_and_what_others_imply_is_left_out() -> None:
    found, _ = written(
        theorem("A"),
        theorem("A.part", "A"),
        theorem("B", "A.part"),
        theorem("C", "A", "B"),
        theorem("D", "E"),
        theorem("E"),
    )
    assert maps.main_graph(found) == {"A": (), "B": ("A",), "C": ("B",), "D": (), "E": ()}


def test_what_sharpens_the_paper_is_told_with_what_the_paper_says(monkeypatch: pytest.MonkeyPatch) -> None:
    sharp = replace(theorem("A"), relation="sharpens", paper="what it says")
    found, chapters = written(sharp, replace(theorem("B"), relation="extends"))
    monkeypatch.setattr(maps, "theorems", lambda: {name: t for name, (t, _) in found.items()})
    assert maps.sharpened(chapters).splitlines()[2:] == ["| {prf:ref}`a` The title of A | what it says |"]
    monkeypatch.undo()
    known = [t for t in theorems().values() if t.relation == "sharpens"]
    assert maps.sharpened(CHAPTERS).count("{prf:ref}") == len(known) > 5


def test_the_picture_links_every_main_result_and_draws_every_use(monkeypatch: pytest.MonkeyPatch) -> None:
    found, chapters = written(
        theorem("A"),
        theorem("B", "A"),
        theorem("C", "B"),
        theorem("C.x", "A", "C"),
        theorem("D", "Z.none"),
        theorem("E<", "A", "C"),
    )
    monkeypatch.setattr(maps, "theorems", lambda: {name: t for name, (t, _) in found.items()})
    main = maps.main_map(chapters)
    assert arrows(main) == {("A", "B"), ("B", "C"), ("C", "E<")}
    links = {f"part/one.html#{t.label}" for t, _ in found.values()}
    assert {a.get("href") for a in drawing(main).iter("a")} == links - {"part/one.html#c-x"}
    assert "\n\n" not in main, "an empty line would end the HTML"
    assert "".join(drawing(main).itertext()).count("E<") == 2  # name and title
    assert "5 main results, with 3 arrows" in main
    table = maps.uses_table(chapters)
    assert "| {prf:ref}`C.x <c-x>` The title of C.x | {prf:ref}`A <a>`, {prf:ref}`C <c>` | – |" in table
    assert "{prf:ref}`B <b>`, {prf:ref}`C.x <c-x>`, {prf:ref}`E< <e<>` |" in table


def test_a_map_without_results_is_empty_but_sound() -> None:
    assert not boxes(maps.main_map([]))
    assert not arrows(maps.main_map([]))


def test_boxes_of_the_book_do_not_overlap_and_arrows_go_down() -> None:
    block = maps.main_map(CHAPTERS)
    _, _, width, height = map(float, drawing(block).attrib["viewBox"].split())
    for x, y, w, h in boxes(block):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
    for (x, y, w, h), (left, top, _, _) in combinations(boxes(block), 2):
        assert abs(x - left) >= w or abs(y - top) >= h
    layers, paths = maps._layered(maps.main_graph(maps.results(CHAPTERS)))
    assert all(sum(">" not in name for name in layer) <= maps.WIDEST for layer in layers)
    rank = {name: level for level, layer in enumerate(layers) for name in layer}
    assert all(rank[b] == rank[a] + 1 for path in paths for a, b in pairwise(path))
    assert block == maps.main_map(CHAPTERS)


def test_untangling_takes_crossings_away() -> None:
    graph = {"A": (), "B": (), "C": (), "x": ("C",), "y": ("B",), "z": ("A",)}
    layers, paths = maps._layered(graph)
    maps._untangle(layers, paths)
    places = [layers[0].index(b) for b in ("C", "B", "A")], [layers[1].index(b) for b in ("x", "y", "z")]
    assert places[0] == places[1]


def statements(chapter: Chapter) -> Iterator[tuple[str, str | None, str]]:
    """Yield each statement and proof of a chapter: its kind, its label or whom it proves, and its text."""
    last = None
    for cell in notebooks.read(chapter.path)["cells"]:
        if cell["cell_type"] != "markdown":
            continue
        for _, kind, _, body in DIRECTIVE.findall("".join(cell["source"])):
            label = re.search(r"^:label: (\S+)$", body, re.M)
            if kind == "proof":
                named = OF.search(body[:90])
                yield kind, named[1] if named else last, body
            elif label:
                last = label[1]
                yield kind, last, body


def referred(chapter: Chapter) -> dict[str, set[str]]:
    """Return the theorems that the proofs of a chapter refer to, also by way of lemmas, by label."""
    own = {t.label for t in theorems().values() if t.chapter == chapter.name}
    near: dict[str, set[str]] = {}
    for kind, label, body in statements(chapter):
        near.setdefault(label or "", set())
        if kind == "proof" or label not in own:
            near[label or ""] |= set(REFERENCE.findall(body))
    known = {t.label: t.id for t in theorems().values()}

    def reach(label: str, seen: frozenset[str]) -> set[str]:
        found = set()
        for other in near.get(label, set()) - seen - {label}:
            found |= {known[other]} if other in known else reach(other, seen | {label})
        return found

    return {known[label]: reach(label, frozenset()) - {known[label]} for label in own}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_what_a_proof_refers_to_is_what_its_theorem_uses(chapter: Chapter) -> None:
    graph = dependencies()
    for name, cited in referred(chapter).items():
        assert cited <= set(graph[name]), f"add to uses of {name} in theorems/{chapter.name}.toml"


def test_dependencies_come_in_order_and_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    order = list(dependencies())
    assert set(order) == set(theorems())
    assert all(order.index(used) < order.index(name) for name in order for used in theorems()[name].uses)
    for listed, message in (
        ([theorem("A", "B")], "do not exist are used: A uses B"),
        ([theorem("A", "B"), theorem("B", "A")], "in a circle: "),
        ([theorem("A", "A")], "in a circle: A → A"),
    ):
        monkeypatch.setattr(data, "theorems", lambda listed=listed: {t.id: t for t in listed})
        with pytest.raises(ValueError, match=message):
            dependencies()
