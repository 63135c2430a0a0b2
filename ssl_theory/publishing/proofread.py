"""Reads the built pages as a reader would, for markup that stayed raw; Sphinx lets it pass without a word."""

from __future__ import annotations

import re
from pathlib import Path

from lxml import etree, html

from ssl_theory.publishing.errors import BuildError

__all__ = ["raw_markup", "require_proofread"]

# What is not prose: code, formulas that MathJax will typeset, and what is never shown.
QUIET = {"math", "tex2jax_process", "sig", "headerlink"}  # classes: formulas, signatures, marks
SILENT = {"code", "pre", "script", "style", "noscript", "title", "svg", "annotation"}
NOT_PROSE = etree.XPath(
    " | ".join(
        [f".//{name}" for name in sorted(SILENT)]
        + [f".//*[contains(concat(' ', normalize-space(@class), ' '), ' {name} ')]" for name in sorted(QUIET)]
    )
)

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


def raw_markup(page: str) -> list[str]:
    """Return what stayed raw in the article of a page, each with the words around it.

    Args:
        page: HTML.

    Returns:
        Excerpts; empty for a sound page.
    """
    words = []
    for article in html.document_fromstring(page).iter("article"):
        for element in NOT_PROSE(article):
            element.drop_tree()
        words.append(article.text_content())
    prose = re.sub(r"\s+", " ", "".join(words))
    return [prose[max(0, m.start() - 40) : m.end() + 40].strip() for m in RAW.finditer(prose)]


def require_proofread(folder: Path) -> None:
    """Raise BuildError naming each page with raw markup in its text, and the words around it.

    Args:
        folder: That of the built pages.
    """
    found = {
        path.relative_to(folder).as_posix(): excerpts
        for path in sorted(folder.rglob("*.html"))
        if not path.relative_to(folder).parts[0].startswith("_")
        and (excerpts := raw_markup(path.read_text(encoding="utf-8")))
    }
    if found:
        told = [f"{page}: … {excerpt} …" for page, excerpts in found.items() for excerpt in excerpts[:5]]
        raise BuildError("raw markup in the text of pages:\n    " + "\n    ".join(told))
