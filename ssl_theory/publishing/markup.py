"""A Sphinx extension that mends HTML which a screen reader would read out wrongly."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

PARAMETERS = re.compile(r"<dl>\n((?:<dd>(?:(?!</?dl).)*</dd>\n)+)</dl>", re.S)


def mended(body: str) -> str:
    """Return a page's HTML in which lists are lists.

    A signature over several lines comes as a list of definitions without a term, and the entries of the
    bibliography do not say that they are items of a list.
    """
    body = PARAMETERS.sub(lambda found: f'<span class="sig-lines">{_spans(found[1])}</span>', body)
    return body.replace('role="doc-biblioentry"', 'role="listitem"')


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
