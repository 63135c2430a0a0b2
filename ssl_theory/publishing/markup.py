"""A Sphinx extension that mends the HTML of pages: for screen readers, and where folded code is."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

PARAMETERS = re.compile(r"<dl>\n((?:<dd>(?:(?!</?dl).)*</dd>\n)+)</dl>", re.S)

FOLD = re.compile(
    r'<summary aria-label="Toggle hidden content">\s*<p class="collapsed admonition-title">(.*?) · '
    r"(\d+ lines?)</p>.*?</summary>",
    re.S,
)
CODE = re.compile(r'<div class="cell([^"]*\btag_code-[^"]*)">')


def mended(body: str) -> str:
    """Return a page's HTML in which lists are lists and folded code says what it is.

    A signature over several lines comes as a list of definitions without a term, and the entries of the
    bibliography do not say that they are items of a list. What folds code away names itself twice, neither of
    which a screen reader reads; a cell's tags code-… become ids that links lead to.
    """
    body = FOLD.sub(r'<summary>\1 <span class="lines">\2</span></summary>', body)
    body = CODE.sub(_with_ids, body)
    body = PARAMETERS.sub(lambda found: f'<span class="sig-lines">{_spans(found[1])}</span>', body)
    return body.replace('role="doc-biblioentry"', 'role="listitem"')


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
