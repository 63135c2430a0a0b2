"""What a chapter's page has around the notebook: reading time, relations to the paper, how to open it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_theory.publishing import citing, notebooks, parameters
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.check_lines import check_anchor, code_anchor, slug, with_lines
from ssl_theory.publishing.citing import Citation
from ssl_theory.publishing.folding import folded
from ssl_theory.publishing.proofs import anchored, proof_anchor
from ssl_theory.publishing.reading import reading_minutes
from ssl_theory.publishing.repository import Repository
from ssl_theory.theorems import Theorem, theorems

STATEMENT = re.compile(
    r"^(?P<fence>`{3,})\{prf:(?P<kind>\w+)\}[^\n]*\n:label: (?P<label>\S+)\n.*?(?=^(?P=fence)$)", re.M | re.S
)

BREAKS = re.compile(r"^## (Where it breaks[^\n]*)$", re.M)


def framed(
    notebook: dict[str, Any],
    chapter: Chapter,
    entries: Sequence[Mapping[str, Any]],
    home: Repository | None,
    book: Citation | None = None,
) -> dict[str, Any]:
    """Return an executed notebook as the book shows it.

    Args:
        notebook: The executed notebook.
        chapter: Its chapter.
        entries: The ledger.
        home: Where the source lives, if that is known.
        book: How the book is cited, if it says so.

    Returns:
        The notebook with an opening line, folded code, lines for its checks, what belongs to each theorem in
        its box, and a closing section.
    """
    own = [theorem for theorem in theorems().values() if theorem.chapter == chapter.name]
    if home is not None:
        notebook = notebooks.with_install(notebook, home.install)
    cells = folded(with_lines(notebook["cells"], "../" * chapter.place.count("/") + "ledger.html"))
    prose = [place for place, cell in enumerate(cells) if cell["cell_type"] == "markdown"]
    texts, proved = anchored([notebooks.source(cells[place]) for place in prose])
    for place, text in zip(prose, texts, strict=True):
        cells[place] = cells[place] | {"source": _related(text, own, entries, proved, book)}
    if cells and cells[0]["cell_type"] == "markdown":
        facts = _facts(notebook, chapter, own, entries, proved)
        cells[0] = cells[0] | {"source": _opening(cells[0]["source"], facts)}
        cells.append(_text("open-this-chapter", _closing(notebook, chapter, home)))
    return notebook | {"cells": cells}


def _related(
    prose: str,
    own: Sequence[Theorem],
    entries: Sequence[Mapping[str, Any]],
    proved: set[str],
    book: Citation | None,
) -> str:
    """Return Markdown with the relation to the paper, links, and how to cite, in the box of each theorem."""
    known = {theorem.label: theorem for theorem in own}

    def add(found: re.Match[str]) -> str:
        theorem = known.get(found["label"])
        if theorem is None:
            return found[0]
        cited = citing.fold(theorem, found["kind"], book) if book else ""
        return f"{found[0]}\n{_relation(theorem, entries, proved, cited)}\n"

    return STATEMENT.sub(add, prose)


def _relation(theorem: Theorem, entries: Sequence[Mapping[str, Any]], proved: set[str], cited: str) -> str:
    told = f"**{theorem.relation.capitalize()} the paper:** {theorem.paper}."
    count = sum(entry["theorem"] == theorem.id for entry in entries)
    links = _links(theorem, entries, proved)
    if count:
        links.append(f"{{ref}}`{count_of(count, 'check')} in the ledger <ledger-{theorem.label}>`")
    links.append(f'<a class="copy-link" href="#{theorem.label}">link</a>')
    parts = [told, " · ".join(links), *([cited] if cited else [])]
    return ":::{div} relation\n" + "\n\n".join(parts) + "\n:::"


def _links(theorem: Theorem, entries: Sequence[Mapping[str, Any]], proved: set[str]) -> list[str]:
    """Return links from a theorem to its proof, its first check, the code of that and how to run it again."""
    found = []
    if theorem.label in proved:
        found.append(f"{{ref}}`proof <{proof_anchor(theorem.label)}>`")
    if any(entry["theorem"] == theorem.id for entry in entries):
        found.append(f'<a href="#{check_anchor(theorem.claims[0].id)}">check</a>')
        found.append(f'<a href="#{code_anchor(theorem.id)}">code</a>')
    return [*found, f"{{ref}}`re-run <open-{theorem.chapter}>`"]


def _facts(
    notebook: dict[str, Any],
    chapter: Chapter,
    own: Sequence[Theorem],
    entries: Sequence[Mapping[str, Any]],
    proved: set[str],
) -> str:
    parts = [f"About {reading_minutes(notebook)} minutes to read"]
    count = sum(entry["chapter"] == chapter.name for entry in entries)
    if count:
        parts.append(
            f"**holds:** {count_of(count, 'check')} with {'its control' if count == 1 else 'their controls'}"
        )
    first = min(own, key=lambda theorem: "." in theorem.id, default=None)
    *links, again = _links(first, entries, proved) if first else [f"{{ref}}`re-run <open-{chapter.name}>`"]
    parts += [*links, *_limits(notebook), again]
    return f":::{{div}} chapter-facts\n{' · '.join(parts)}\n:::"


def _limits(notebook: dict[str, Any]) -> list[str]:
    """Return a link to the section that says where the theorem ends, if there is one."""
    prose = (notebooks.source(c) for c in notebook["cells"] if c["cell_type"] == "markdown")
    found = next(filter(None, map(BREAKS.search, prose)), None)
    return [f'<a href="#{slug(found[1])}">where it breaks</a>'] if found else []


def _opening(prose: str, facts: str) -> str:
    """Return the first cell with a line below its title."""
    return re.sub(r"\A(# [^\n]*\n?)", lambda found: f"{found[1].rstrip()}\n\n{facts}\n", prose, count=1)


def _closing(notebook: dict[str, Any], chapter: Chapter, home: Repository | None) -> str:
    used = parameters.used(notebook)
    values = " ".join(f"-p {shlex.quote(f'{name}={value}')}" for name, value in used.items())
    top = "../" * chapter.place.count("/")
    words = {"Colab": "where the first cell installs the library", "Binder": "where everything is installed"}
    offers = home.links(chapter.place) if home else {}
    links = ", or ".join(f"[{name}]({address}), {words[name]}" for name, address in offers.items())
    cloud = f"**In the cloud:** {links}.\n\n" if links else ""
    source = f", or [its source]({home.source(chapter.place)}), which holds no outputs" if home else ""
    return f"""\
(open-{chapter.name})=
## Open this chapter

{cloud}**Download** <a href="{top}_sources/{chapter.place}.ipynb" download>the notebook as it
ran for this page</a>{source}.

**On your machine**, where the library is installed, this command runs the chapter again with the parameters
of this page. Change a value and it is your own experiment: another `seed` draws everything random anew.

```bash
ssl-theory run {chapter.name} {values} -o {chapter.name}.ipynb
```
"""


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless there is one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _text(name: str, source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}
