"""Reads the built pages as a reader would, for markup that stayed raw; Sphinx lets it pass without a word."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from ssl_theory.publishing.errors import BuildError

__all__ = ["raw_markup", "require_proofread"]

# What is not prose: code, formulas that MathJax will typeset, and what is never shown.
QUIET = {"math", "tex2jax_process", "sig", "headerlink"}  # classes: formulas, signatures, marks
SILENT = {"code", "pre", "script", "style", "noscript", "title", "svg", "annotation"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}

RAW = re.compile(
    r"\\[A-Za-z]{2,}"  # a TeX command
    r"|\$[^$\n]{0,80}\$|\$\$"  # mathematics that was not recognised
    r"|\$(?=[\\A-Za-z(])"  # one half of it
    r"|\{(?:eq|ref|doc|numref|cite|glue|prf:ref|term|check|sub-ref)(?::[\w:]*)?\}"  # a role
    r"|\(\?\?\?\)|\[\?\?\?\]"
    r"|:::|```"
    r"|(?<![\w.])\d[\d.]*e[+−-]?\d+\b"  # a number as Python writes it
    r"|(?<![A-Za-z\d./])[A-Za-zΑ-Ωα-ωℓ][\u0300-\u036f]*(?:_|\^(?!\())[\w{(⋆⊥*+−-]"  # a formula in plain text
    r"|\b(?:eq|fig|sec|t\d+)-[a-z]+(?:-[a-z]+)+\b(?=\))"  # a label where a number belongs
)


class _Prose(HTMLParser):
    """Collects the words of an article."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[bool] = []  # for each open element whether it is silent
        self._silent = 0
        self._article = 0
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        classes = (dict(attrs).get("class") or "").split()
        silent = tag in SILENT or not QUIET.isdisjoint(classes)
        self._open.append(silent)
        self._silent += silent
        self._article += tag == "article" or bool(self._article)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID or not self._open:
            return
        self._silent -= self._open.pop()
        self._article -= bool(self._article)

    def handle_data(self, data: str) -> None:
        if self._article and not self._silent:
            self.words.append(data)


def raw_markup(page: str) -> list[str]:
    """Return what stayed raw in the article of a page, each with the words around it.

    Args:
        page: HTML.

    Returns:
        Excerpts; empty for a sound page.
    """
    reader = _Prose()
    reader.feed(page)
    prose = re.sub(r"\s+", " ", "".join(reader.words))
    return [prose[max(0, m.start() - 40) : m.end() + 40].strip() for m in RAW.finditer(prose)]


def require_proofread(html: Path) -> None:
    """Raise BuildError naming each page with raw markup in its text, and the words around it.

    Args:
        html: The folder of the built pages.
    """
    found = {
        path.relative_to(html).as_posix(): excerpts
        for path in sorted(html.rglob("*.html"))
        if not path.relative_to(html).parts[0].startswith("_")
        and (excerpts := raw_markup(path.read_text(encoding="utf-8")))
    }
    if found:
        told = [f"{page}: … {excerpt} …" for page, excerpts in found.items() for excerpt in excerpts[:5]]
        raise BuildError("raw markup in the text of pages:\n    " + "\n    ".join(told))
