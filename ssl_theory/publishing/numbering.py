"""A Sphinx extension that names a theorem in its box and in references as everywhere else: Theorem T3.

sphinx-proof numbers all statements of a chapter in one row, 3.1, 3.2, and so on. Those that the book keeps as
data have a name already; lemmas and remarks are then numbered among themselves. The extension also gives each
proof the id of its target, and none the id "proof", which a page could have once only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from ssl_theory.theorems import theorems

Numbers = Mapping[str, tuple[Any, ...]]


def named(numbers: Numbers, names: Mapping[str, str]) -> dict[str, tuple[Any, ...]]:
    """Return the numbers of one page's statements by id, in their order, with names where there are some.

    Args:
        numbers: Such as (3, 4), the chapter and the place in its row.
        names: Names by id.
    """
    found: dict[str, tuple[Any, ...]] = {}
    count = 0
    for name, number in numbers.items():
        count += name not in names
        found[name] = (names[name],) if name in names else (*number[:-1], count)
    return found


def _rename(app: Sphinx, env: BuildEnvironment) -> list[str]:
    names = {theorem.label: theorem.id for theorem in theorems().values()}
    for kinds in env.toc_fignumbers.values():
        for kind in kinds.keys() & {"theorem", "definition", "remark"}:
            kinds[kind] = named(kinds[kind], names)
    return []


def _place_proofs(app: Sphinx, doctree: nodes.document) -> None:
    for proof in doctree.findall(lambda node: node.tagname == "proof_node"):
        proof[0]["ids"] = proof["ids"]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx.

    Returns:
        That pages may be read and written in parallel.
    """
    app.connect("doctree-read", _place_proofs)
    app.connect("env-get-updated", _rename, priority=900)  # after Sphinx has numbered everything
    return {"parallel_read_safe": True, "parallel_write_safe": True}
