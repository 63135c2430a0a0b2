"""A chapter in Markdown that Jupyter and Colab show as it is meant, without an extension.

Theorems, proofs and exercises become quoted blocks with their numbers, solutions fold, and references,
citations and the numbers that code handed to the text are written out.
"""

from __future__ import annotations

import ast
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from ssl_theory.checks import MIME
from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import Book, Chapter
from ssl_theory.publishing.check_lines import check_line
from ssl_theory.publishing.folding import GLUED
from ssl_theory.publishing.labels import authors, labels
from ssl_theory.publishing.pictures import SVG
from ssl_theory.publishing.typeset import typeset_numbers, unicode_number
from ssl_theory.theorems import claims

__all__ = ["Known", "known", "plain"]

FENCE = re.compile(r"^(?P<space>[ ]*)(?P<fence>`{3,}|:{3,})\{(?P<name>[\w:-]+)\}[ ]*(?P<title>.*)$")
ROLE = re.compile(r"\{(?P<role>[\w:]+)\}`(?P<said>[^`]+)`")
EQUATION = re.compile(r"\$\$(?P<tex>.*?)\$\$(?:[ ]*\((?P<label>[\w-]+)\))?", re.S)
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$]+\$", re.S)
TARGET = re.compile(r"^\([\w-]+\)=\n", re.M)
GAP = re.compile(r' style="min-height:\d+px"')  # what a control's script fills


@dataclass(frozen=True)
class Known:
    """What references lead to.

    Attributes:
        labels: What a reference to each label reads.
        authors: Author and year of each source.
        titles: The titles of the chapters, by name.
        chapter: The name of the chapter that refers.
        values: What its code handed to its text.
    """

    labels: Mapping[str, str]
    authors: Mapping[str, str]
    titles: Mapping[str, str]
    chapter: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


def known(book: Book) -> Known:
    """Return what the references of a book lead to.

    Raises:
        BuildError: If one of its notebooks is damaged.
    """
    titles = {name: chapter.title for name, chapter in book.chapters().items()}
    return Known(labels(book), authors(book.folder), titles)


def plain(notebook: Mapping[str, Any], chapter: Chapter, known: Known) -> dict[str, Any]:
    """Return an executed notebook in plain Markdown.

    Args:
        notebook: The executed notebook.
        chapter: Its chapter.
        known: What the references of its book lead to.
    """
    known = replace(known, chapter=chapter.name, values=_values(notebook))
    cells: list[dict[str, Any]] = []
    for cell in notebook["cells"]:
        cells.append(_with_outputs(cell))
        figure = cell.get("metadata", {}).get("mystnb", {}).get("figure", {})
        if cell["cell_type"] == "markdown":
            cells[-1] = cell | {"source": _text(notebooks.source(cell), known)}
        elif figure.get("caption"):
            number = known.labels.get(figure.get("name", ""), "Figure")
            cells.append(_note(f"caption-{len(cells)}", f"*{number}.* {_text(figure['caption'], known)}"))
    said = f"*The chapter `{chapter.name}` as it ran: the numbers in the text are those of this run."
    if any(
        'class="ssl-control"' in "".join(o.get("data", {}).get("text/html", ""))
        for o in notebooks.outputs({"cells": cells})
    ):
        said += " Controls move once their cells have run here, or Jupyter trusts the notebook."
    return dict(notebook) | {"cells": [*cells[:1], _note("as-it-ran", f"{said}*"), *cells[1:]]}


def _values(notebook: Mapping[str, Any]) -> dict[str, str]:
    """Return what code handed to the text, as Python writes it."""
    found = {}
    for output in notebooks.outputs(dict(notebook)):
        name = output.get("metadata", {}).get("scrapbook", {}).get("name")
        if name:
            data = output.get("data", {})
            found[name] = "".join(data.get(f"{GLUED}text/plain", data.get("text/plain", "")))
    return found


def _with_outputs(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell without what it handed to the text; checks and tables as print has them."""
    if "outputs" not in cell:
        return dict(cell)
    shown = [output for output in cell["outputs"] if "scrapbook" not in output.get("metadata", {})]
    alt = cell.get("metadata", {}).get("mystnb", {}).get("image", {}).get("alt", "")
    return dict(cell) | {"outputs": [_output(output, alt) for output in shown]}


def _output(output: Mapping[str, Any], alt: str) -> dict[str, Any]:
    """Return an output that Jupyter shows although it does not trust a notebook from elsewhere.

    It then shows no SVG and runs no script: a figure becomes an image in HTML, a control leaves no gap.
    """
    data = output.get("data", {})
    shown = "".join(data.get("text/html", ""))
    if MIME in data:
        shown = check_line(data[MIME], "", anchor=False)
    elif SVG in data:
        picture = b64encode("".join(data[SVG]).encode()).decode()
        shown = f'<img alt="{escape(alt)}" src="data:{SVG};base64,{picture}">'
    elif "<td" in shown:
        shown = typeset_numbers(shown)
    elif 'class="ssl-control"' in shown:
        shown = GAP.sub("", shown)
    else:
        return dict(output)
    return dict(output) | {"data": {k: v for k, v in data.items() if k != SVG} | {"text/html": shown}}


def _text(markdown: str, known: Known) -> str:
    """Return Markdown without directives, roles and targets."""
    return "\n".join(_blocks(TARGET.sub("", markdown).split("\n"), known))


def _blocks(lines: Sequence[str], known: Known) -> list[str]:
    found: list[str] = []
    prose: list[str] = []
    place = 0
    while place < len(lines):
        opening = FENCE.match(lines[place])
        if opening is None:
            prose.append(lines[place])
            place += 1
            continue
        end = _end(lines, place, opening)
        found += _prose(prose, known) + _block(opening, lines[place + 1 : end], known)
        prose, place = [], end + 1
    return found + _prose(prose, known)


def _end(lines: Sequence[str], start: int, opening: re.Match[str]) -> int:
    """Return the line that closes a fence."""
    closing = opening["space"] + opening["fence"]
    return next((n for n in range(start + 1, len(lines)) if lines[n].rstrip() == closing), len(lines))


def _block(opening: re.Match[str], inside: Sequence[str], known: Known) -> list[str]:
    """Return a directive as Markdown."""
    name, title = opening["name"], opening["title"]
    options = dict(_option(line) for line in inside if re.match(r"\s*:[\w-]+:", line))
    content = _blocks([line for line in inside if not re.match(r"\s*:[\w-]+:", line)], known)
    while content and not content[0].strip():
        content = content[1:]
    said = known.labels.get(options.get("label", ""), name.split(":")[-1].title())
    if name == "solution":
        told = f"Solution to {known.labels.get(title, title)}"
        return ["<details>", f"<summary>{told}</summary>", "", *content, "", "</details>"]
    if name == "prf:proof":
        content = ["*Proof.* " + (content[0] if content else ""), *content[1:], "", "∎"]
    elif name.startswith("prf:") or name == "exercise":
        content = [f"**{said}{f' ({_inline(title, known)})' if title else ''}.**", "", *content]
    elif name in ("note", "tip", "important", "warning", "admonition"):
        content = [f"**{title or name.title()}.**", "", *content]
    else:
        return content
    return _quoted(content)


def _option(line: str) -> tuple[str, str]:
    _, key, value = line.strip().split(":", 2)
    return key, value.strip()


def _quoted(lines: Sequence[str]) -> list[str]:
    """Return lines as a quotation; a formula stays on one line, or the marks of lines would be typeset."""
    text = FORMULA.sub(lambda found: re.sub(r"\s*\n\s*", " ", found[0]), "\n".join(lines))
    return [f"> {line}".rstrip() for line in text.split("\n")]


def _prose(lines: Sequence[str], known: Known) -> list[str]:
    text = EQUATION.sub(lambda found: _equation(found, known), "\n".join(lines))
    return _inline(text, known).split("\n") if lines else []


def _equation(found: re.Match[str], known: Known) -> str:
    number = known.labels.get(found["label"] or "", "")
    tag = rf" \tag{{{number.strip('()')}}}" if number else ""
    return f"$${found['tex'].rstrip()}{tag}$$"


def _inline(text: str, known: Known) -> str:
    return ROLE.sub(lambda found: _role(found["role"], found["said"], known), text)


def _role(role: str, said: str, known: Known) -> str:
    """Return what a role shows."""
    if role == "glue:text":
        return _value(said, known.values)
    if role.startswith("cite"):
        return _cited(role, said, known.authors)
    named = re.fullmatch(r"(?P<text>[^<]*?)\s*<(?P<target>[^<>]+)>", said, re.S)
    target = named["target"] if named else said
    if named:
        return named["text"]
    if role == "doc":
        name = target.rpartition("/")[2]
        return f"*{known.titles[name]}*" if name in known.titles else name
    if role == "check":
        elsewhere = said in claims() and claims()[said][0].chapter != known.chapter
        return f"{said}, `{claims()[said][0].chapter}`" if elsewhere else said
    return said if role == "term" else known.labels.get(target, target)


def _value(said: str, values: Mapping[str, str]) -> str:
    """Return a value of the run in the format that the text asks for."""
    name, _, form = said.partition(":")
    if name not in values:
        return "…"
    try:
        value = ast.literal_eval(values[name])
    except (ValueError, SyntaxError):
        return values[name]
    return unicode_number(format(value, form))


def _cited(role: str, said: str, authors: Mapping[str, str]) -> str:
    entries = [authors.get(key.strip(), key.strip()) for key in said.split(",")]
    if role == "cite:t":
        return ", ".join(entries)
    bare = [re.sub(r" [(](.*)[)]$", r", \1", entry) for entry in entries]
    return f"({'; '.join(bare)})"


def _note(name: str, source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}
