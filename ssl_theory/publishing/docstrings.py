"""A Sphinx extension that lets autodoc read the library's docstrings.

They are plain text in Google style, with formulas in Unicode and names in single backticks. What
reStructuredText would take for markup in them, K_l* or |x|, is escaped; a name in backticks becomes a link
where something of that name is documented. Signatures show annotations as the source writes them, so that a
shape reads Float[Tensor, "N A n_0"].
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

from sphinx.application import Sphinx

from ssl_theory.publishing import api

MARKUP = re.compile(r"[\\*|]|_(?!\w)")  # the last: what ends a name with _ refers to a label
ALIAS = re.compile(r"(?<![\w.\"'])[A-Z]\w*(?![\w\"'])")


def plain(line: str) -> str:
    """Return a line in which nothing but backticks is markup."""
    spans = re.split(r"(``.*?``|`[^`]*`)", line)
    return "".join(
        span if place % 2 else MARKUP.sub(lambda found: "\\" + found[0], span)
        for place, span in enumerate(spans)
    )


def signature(subject: Any) -> tuple[str, str] | None:
    """Return the arguments and the result of a function or class as the source annotates them, if it does."""
    try:
        found = inspect.signature(subject)
    except (TypeError, ValueError):
        return None
    names = vars(sys.modules.get(subject.__module__, sys)) if hasattr(subject, "__module__") else {}
    own = [p for p in found.parameters.values() if p.name not in ("self", "cls")]
    parameters = [
        p.replace(annotation=_Shown(_words(p.annotation, names)), default=_default(p.default)) for p in own
    ]
    result = "" if inspect.isclass(subject) else _words(found.return_annotation, names)
    return str(inspect.Signature(parameters)), result


class _Shown(str):
    """Text that a signature shows as it is."""

    def __repr__(self) -> str:
        return str(self)


def _words(annotation: Any, names: dict[str, Any]) -> str:
    """Return an annotation with the aliases of shapes written out."""
    if annotation is inspect.Parameter.empty:
        return ""

    def spell(found: re.Match[str]) -> str:
        value = names.get(found[0])
        return str(value.__name__) if isinstance(value, type) and hasattr(value, "dim_str") else found[0]

    annotation = getattr(annotation, "__forward_arg__", annotation)  # of a NamedTuple
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r', " +', ', "', ALIAS.sub(spell, text).replace("'", '"'))


def _default(value: Any) -> Any:
    if value is inspect.Parameter.empty:
        return value
    return _Shown(getattr(value, "__name__", re.sub(r" at 0x\w+", "", repr(value))))


def _escape(app: Sphinx, what: str, name: str, subject: Any, options: Any, lines: list[str]) -> None:
    if lines and lines[0].startswith("Alias for field number"):  # of a NamedTuple, whose class tells them
        lines.clear()
    code = False
    for place, line in enumerate(lines):
        code = line.lstrip().startswith(">>>") or (code and bool(line.strip()))  # up to an empty line
        lines[place] = line if code else plain(line)


def _sign(
    app: Sphinx, what: str, name: str, subject: Any, options: Any, arguments: str | None, result: str | None
) -> tuple[str | None, str | None] | None:
    return signature(subject) if arguments else None


def _no_edit(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Take the button that suggests an edit from pages that have no source of their own."""
    if page in {api.place(room) for room in api.ROOMS}:
        context["page_source_suffix"] = ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx.

    Returns:
        That pages may be read and written in parallel.
    """
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.connect("autodoc-process-docstring", _escape, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", _sign)
    app.connect("html-page-context", _no_edit, priority=100)  # before the theme's buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}
