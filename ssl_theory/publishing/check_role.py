"""A Sphinx role for pages: {check}`T1.shared` leads to the line of the chapter that shows this check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from ssl_theory.publishing.check_lines import check_anchor
from ssl_theory.theorems import claims


def check(
    name: str,
    source: str,
    claim: str,
    line: int,
    inliner: Any,
    options: dict[str, Any] | None = None,
    content: Sequence[str] = (),
) -> tuple[list[Any], list[Any]]:
    """Return a link to a check, with docutils' arguments of a role; an error if no theorem claims it."""
    known = claims().get(claim)
    env = inliner.document.settings.env
    folder = Path(env.srcdir)
    found = list(folder.rglob(f"{known[0].chapter}.ipynb")) if known else []
    if not found:
        message = inliner.reporter.error(f"no theorem claims the check {claim!r}", line=line)
        return [inliner.problematic(source, source, message)], [message]
    place = found[0].relative_to(folder).with_suffix("").as_posix()
    address = f"{env.app.builder.get_relative_uri(env.docname, place)}#{check_anchor(claim)}"
    return [nodes.reference(source, claim, refuri=address, internal=True)], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the role with Sphinx.

    Returns:
        That pages may be read and written in parallel.
    """
    app.add_role("check", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
