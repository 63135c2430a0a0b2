"""A Sphinx extension that mends the HTML of pages: screen readers, folded code, formulas in words."""

from __future__ import annotations

import html
import re
from typing import Any

from sphinx.application import Sphinx

from ssl_theory.publishing.typeset import typeset, typeset_page

PARAMETERS = re.compile(r"<dl>\n((?:<dd>(?:(?!</?dl).)*</dd>\n)+)</dl>", re.S)

FOLD = re.compile(
    r'<summary aria-label="Toggle hidden content">\s*<p class="collapsed admonition-title">(.*?) · '
    r"(\d+ lines?)</p>.*?</summary>",
    re.S,
)
CODE = re.compile(r'<div class="cell([^"]*\btag_code-[^"]*)">')


def mended(body: str) -> str:
    """Return a page's HTML in which lists are lists, folded code says what it is, and formulas are set.

    A signature over several lines comes as a list of definitions without a term, and the entries of the
    bibliography do not say that they are items of a list. What folds code away names itself twice, neither of
    which a screen reader reads; a cell's tags code-… become ids that links lead to.
    """
    body = FOLD.sub(_fold, body)
    body = CODE.sub(_with_ids, body)
    body = PARAMETERS.sub(lambda found: f'<span class="sig-lines">{_spans(found[1])}</span>', body)
    return typeset_page(body.replace('role="doc-biblioentry"', 'role="listitem"'))


def _fold(found: re.Match[str]) -> str:
    told = typeset(html.unescape(found[1]))
    return f'<summary>{told} <span class="lines">{found[2]}</span></summary>'


def _with_ids(found: re.Match[str]) -> str:
    names = re.findall(r"\btag_(code-[\w-]+)", found[1])
    rest = re.sub(r"\s*\btag_code-[\w-]+", "", found[1])
    return f'<div class="cell{rest}">' + "".join(f'<span id="{name}"></span>' for name in names)


def _spans(lines: str) -> str:
    return lines.replace("<dd>", "<span>").replace("</dd>", "</span>")


def _mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = mended(context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx.

    Returns:
        That pages may be read and written in parallel.
    """
    app.connect("html-page-context", _mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
