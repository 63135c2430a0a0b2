"""What a chapter's page has around the notebook: reading time, relations to the paper, how to open it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_theory.checks import MIME
from ssl_theory.publishing import notebooks, parameters
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.repository import Repository
from ssl_theory.theorems import Theorem, theorems

# Seconds that reading takes: a word, a formula in a line, a formula of its own, a line of code.
WORD, INLINE, DISPLAY, CODE = 0.25, 1.5, 15.0, 1.5
STEP = 5  # minutes to which the sum is rounded

STATEMENT = re.compile(
    r"^(?P<fence>`{3,})\{prf:\w+\}[^\n]*\n:label: (?P<label>\S+)\n.*?(?=^(?P=fence)$)", re.M | re.S
)


def framed(
    notebook: dict[str, Any],
    chapter: Chapter,
    entries: Sequence[Mapping[str, Any]],
    home: Repository | None,
) -> dict[str, Any]:
    """Return an executed notebook as the book shows it.

    The records of its checks, a type that Sphinx does not know, become anchors of the lines that show them.

    Args:
        notebook: The executed notebook.
        chapter: Its chapter.
        entries: The ledger.
        home: Where the source lives, if that is known.

    Returns:
        The notebook with an opening line, the relation of each theorem to the paper, and a closing section.
    """
    own = [theorem for theorem in theorems().values() if theorem.chapter == chapter.name]
    if home is not None:
        notebook = notebooks.with_install(notebook, home.install)
    cells = [_anchored(cell) for cell in notebook["cells"]]
    for cell in cells:
        if cell["cell_type"] == "markdown":
            cell["source"] = _related("".join(cell["source"]), own, entries)
    if cells and cells[0]["cell_type"] == "markdown":
        cells[0]["source"] = _opening(cells[0]["source"], _facts(notebook, chapter, own, entries))
        cells.append(_text("open-this-chapter", _closing(notebook, chapter, home)))
    _anchor_once(cells)
    return notebook | {"cells": cells}


def reading_minutes(notebook: dict[str, Any]) -> int:
    """Return how long a chapter takes to read, from its words, formulas and visible lines of code."""
    prose = "\n\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown")
    prose, displayed = re.subn(r"\$\$.*?\$\$", " ", prose, flags=re.S)
    prose, inline = re.subn(r"\$[^$]+\$", " ", prose)
    words = len(re.findall(r"[^\W\d_][\w'’-]*", prose))
    seconds = WORD * words + INLINE * inline + DISPLAY * displayed + CODE * _lines_of_code(notebook)
    return max(STEP, STEP * round(seconds / 60 / STEP))


def check_anchor(claim: str) -> str:
    """Return the id of the line that shows a check, on the page of its chapter."""
    return "check-" + re.sub(r"[^a-z0-9]+", "-", claim.lower())


def _lines_of_code(notebook: dict[str, Any]) -> int:
    folded = {"hide-input", "remove-input", "remove-cell", notebooks.INSTALL, notebooks.INJECTED}
    shown = [c for c in notebook["cells"] if c["cell_type"] == "code" and not folded & {*notebooks.tags(c)}]
    return sum(bool(line.strip()) for c in shown for line in "".join(c["source"]).splitlines())


def _anchored(cell: dict[str, Any]) -> dict[str, Any]:
    """Return a cell whose records of checks have become ids in the HTML of their lines."""
    outputs = []
    for output in cell.get("outputs", []):
        data = dict(output.get("data", {}))
        record = data.pop(MIME, None)
        if record is not None and "text/html" in data:
            shown = "".join(data["text/html"])
            data["text/html"] = shown.replace("<p ", f'<p id="{check_anchor(record["id"])}" ', 1)
        outputs.append(output | {"data": data} if data or "data" in output else output)
    return cell | ({"outputs": outputs} if "outputs" in cell else {})


def _anchor_once(cells: Sequence[dict[str, Any]]) -> None:
    """Take the ids of checks away where a claim is checked a second time."""
    seen: set[str] = set()
    for output in [output for cell in cells for output in cell.get("outputs", [])]:
        shown = output.get("data", {}).get("text/html")
        found = re.match(r'<p id="(check-[\w-]+)" ', shown) if isinstance(shown, str) else None
        if found and found[1] in seen:
            output["data"]["text/html"] = "<p " + shown[found.end() :]
        elif found:
            seen.add(found[1])


def _related(prose: str, own: Sequence[Theorem], entries: Sequence[Mapping[str, Any]]) -> str:
    """Return Markdown with the relation to the paper in the box of each theorem."""
    known = {theorem.label: theorem for theorem in own}

    def add(found: re.Match[str]) -> str:
        theorem = known.get(found["label"])
        return found[0] if theorem is None else f"{found[0]}\n{_relation(theorem, entries)}\n"

    return STATEMENT.sub(add, prose)


def _relation(theorem: Theorem, entries: Sequence[Mapping[str, Any]]) -> str:
    count = sum(entry["theorem"] == theorem.id for entry in entries)
    checks = f" {{ref}}`{count_of(count, 'check')} <ledger-{theorem.label}>` in the ledger." if count else ""
    told = f"**{theorem.relation.capitalize()} the paper:** {theorem.paper}.{checks}"
    return f":::{{div}} relation\n{told}\n:::"


def _facts(
    notebook: dict[str, Any],
    chapter: Chapter,
    own: Sequence[Theorem],
    entries: Sequence[Mapping[str, Any]],
) -> str:
    parts = [f"About {reading_minutes(notebook)} minutes to read"]
    if own:
        count = sum(entry["chapter"] == chapter.name for entry in entries)
        parts.append(f"{count_of(len(own), 'result')}, {count_of(count, 'check')}")
    parts.append(f"{{ref}}`open or re-run it <open-{chapter.name}>`")
    return f":::{{div}} chapter-facts\n{' · '.join(parts)}\n:::"


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
