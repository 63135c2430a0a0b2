"""A Sphinx extension that leads from a symbol, a term or a name to the page that explains it.

On each page the first formula in the prose that consists of one symbol of the notation page becomes a link to
its row there; the first use of a term of the glossary, to its entry; the first mention in code of a
documented name, to the library's reference; and theorems that the reference names, to their statements. It
works on the finished document tree: formulas, code, headings, captions and links keep what is inside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from ssl_theory.publishing.api import FOLDER
from ssl_theory.theorems import theorems

NOTATION = "notation"
EVERYDAY = ("negative", "positive")  # terms that are linked in the plural only: else they may be any sign
MEMBERS = {"method", "attribute", "property"}
CLOSED = (
    nodes.title, nodes.reference, nodes.literal_block, nodes.math_block, nodes.raw, nodes.caption, nodes.term,
    nodes.comment, nodes.target, nodes.label, nodes.citation, addnodes.desc_signature, addnodes.toctree,
)  # fmt: skip

Where = tuple[str, str, str]  # page, id there, a few words about it


def normal(tex: str) -> str:
    """Return TeX without what does not show: spaces, and braces around a single sign."""
    return re.sub(r"\{(\w|\\[a-zA-Z]+)\}", r"\1", re.sub(r"\s+|\\[ ,;!]", "", tex))


def symbols_of(tex: str) -> list[str]:
    """Return the symbols that a formula of the notation page's first column introduces, in normal form.

    Commas divide them and what follows an equals sign explains them. A bare letter means too many things.
    """
    found = []
    depth, start = 0, 0
    for place, sign in enumerate([*tex, ","]):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0 and (place == 0 or tex[place - 1] != "\\"):
            found.append(normal(re.split(r"=|\\in\b", tex[start:place])[0]))
            start = place + 1
    return [symbol for symbol in found if len(symbol) > 1]


def note_symbols(app: Sphinx, doctree: nodes.document) -> None:
    """Give each row of the notation page's tables an id, and remember which symbols it explains."""
    if app.env.docname != NOTATION:
        return
    places: dict[str, Where] = {}
    for row in doctree.findall(nodes.row):
        entries = list(row.findall(nodes.entry))
        symbols = [s for formula in entries[0].findall(nodes.math) for s in symbols_of(formula.astext())]
        new = [symbol for symbol in symbols if symbol not in places]
        if new:
            name = nodes.make_id(f"symbol {new[0]}")
            while any(name == other for _, other, _ in places.values()):
                name += "-"
            entries[0]["ids"].append(name)
            about = _opening_words(entries[1])
            places |= dict.fromkeys(new, (NOTATION, name, about))
    app.env.ssl_theory_symbols = places  # type: ignore[attr-defined]


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the links into one page."""
    reference = docname.startswith(f"{FOLDER}/")

    def refer(place: Where, inside: nodes.Node, kind: str) -> nodes.reference:
        page, name, about = place
        address = f"{app.builder.get_relative_uri(docname, page)}#{name}" if page != docname else f"#{name}"
        made = nodes.reference("", "", inside, internal=True, refuri=address, classes=[kind])
        if about:
            made["reftitle"] = about
        return made

    if docname != NOTATION and not reference:
        _link_symbols(doctree, getattr(app.env, "ssl_theory_symbols", {}), refer)
        _link_words(doctree, _glossary(app.env, docname), refer, "term-link", once=True)
    if reference:
        _link_words(doctree, _statements(app.env), refer, "theorem-link", once=False)
    else:
        _link_names(doctree, _library(app.env), refer, once=docname != NOTATION)


Refer = Callable[[Where, nodes.Node, str], nodes.reference]


def _open(node: nodes.Node, tables: bool = False) -> Iterator[nodes.Node]:
    """Yield what is below a node, in order, without what must stay as it is."""
    for child in list(node.children):
        closed = isinstance(child, CLOSED) or (isinstance(child, nodes.table) and not tables)
        if closed or (isinstance(child, nodes.Element) and "cell" in child.get("classes", ())):
            continue
        yield child
        if not isinstance(child, nodes.math | nodes.literal):
            yield from _open(child, tables)


def _link_symbols(doctree: nodes.document, places: Mapping[str, Where], refer: Refer) -> None:
    seen = set()
    for node in _open(doctree):
        if isinstance(node, nodes.math):
            symbol = normal(node.astext())
            if symbol in places and symbol not in seen:
                seen.add(symbol)
                node.parent.replace(node, refer(places[symbol], node.deepcopy(), "symbol-link"))


def _link_names(doctree: nodes.document, places: Mapping[str, Where], refer: Refer, *, once: bool) -> None:
    seen: set[str] = set()
    for node in _open(doctree, tables=True):
        if isinstance(node, nodes.literal):
            found = re.fullmatch(r"([\w.]+)(\(.*\))?", node.astext(), re.S)
            name = found[1].removeprefix("ssl_theory.") if found else ""
            if name in places and not (once and name in seen):
                seen.add(name)
                node.parent.replace(node, refer(places[name], node.deepcopy(), "name-link"))


def _link_words(
    doctree: nodes.document, places: Mapping[str, Where], refer: Refer, kind: str, *, once: bool
) -> None:
    if not places:
        return
    longest = sorted(places, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, longest))})(?![\w-])", re.I if once else 0)
    seen: set[Where] = set()
    lower = {word.lower(): word for word in places}
    for node in _open(doctree):
        if not isinstance(node, nodes.Text):
            continue
        parts: list[nodes.Node] = []
        end = 0
        for found in pattern.finditer(node.astext()):
            word = lower[found[1].lower()]
            if once and places[word] in seen:
                continue
            seen.add(places[word])
            parts.append(nodes.Text(node.astext()[end : found.start()]))
            parts.append(refer(places[word], nodes.inline("", found[0]), kind))
            end = found.end()
        if parts:
            node.parent.replace(node, [*parts, nodes.Text(node.astext()[end:])])


def _glossary(env: BuildEnvironment, docname: str) -> dict[str, Where]:
    """Return the terms of glossaries on other pages, with their plurals."""
    found: dict[str, Where] = {}
    for (kind, name), (page, anchor) in env.get_domain("std").objects.items():  # type: ignore[attr-defined]
        if kind == "term" and page != docname:
            forms = (f"{name}s",) if name in EVERYDAY else (name, f"{name}s")
            found |= dict.fromkeys(forms, (page, anchor, ""))
    return found


def _statements(env: BuildEnvironment) -> dict[str, Where]:
    """Return the theorems that are stated in the book, by id."""
    stated: Mapping[str, Any] = getattr(env, "proof_list", {})
    return {
        theorem.id: (stated[theorem.label]["docname"], theorem.label, theorem.title)
        for theorem in theorems().values()
        if theorem.label in stated
    }


def _library(env: BuildEnvironment) -> dict[str, Where]:
    """Return the documented names of the library, by every ending that means one of them only.

    What belongs to a class is named with it: a bare `model` in the text is the reader's.
    """
    found: dict[str, list[Where]] = {}
    for full, entry in env.get_domain("py").objects.items():  # type: ignore[attr-defined]
        if entry.aliased:  # the module that defines what a package offers
            continue
        parts = full.split(".")[1:]
        for start in range(len(parts) - (entry.objtype in MEMBERS)):
            place = (entry.docname, entry.node_id, full)
            found.setdefault(".".join(parts[start:]), []).append(place)
    return {name: places[0] for name, places in found.items() if len(places) == 1}


def _opening_words(node: nodes.Element) -> str:
    """Return the words of a table's cell up to its first formula."""
    words = []
    for child in node.findall(lambda n: isinstance(n, nodes.Text | nodes.math)):
        if isinstance(child, nodes.math):
            break
        if not isinstance(child.parent, nodes.math):
            words.append(child.astext())
    return re.sub(r"[\s,;:(]+$|\s(of|with|in|to)( layer)?\s*$", "", "".join(words)).replace("\n", " ")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx.

    Returns:
        That pages may be written, but not read, in parallel.
    """
    app.connect("doctree-read", note_symbols)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
