"""The line that shows a check on the page of its chapter, written from the record that the check left."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_theory.checks import MIME, evidence
from ssl_theory.publishing.typeset import typeset
from ssl_theory.theorems import claims

__all__ = ["check_anchor", "check_line", "code_anchor", "slug", "with_lines"]

Record = Mapping[str, Any]


def slug(text: str) -> str:
    """Return a text as the part of an address that Jupyter Book makes of a heading."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def check_anchor(claim: str) -> str:
    """Return the id of the line that shows a check, on the page of its chapter."""
    return f"check-{slug(claim)}"


def code_anchor(theorem: str) -> str:
    """Return the id of the code that checks a theorem's first claim, on the page of its chapter."""
    return f"code-{slug(theorem)}"


def check_line(record: Record, ledger: str, *, anchor: bool = True) -> str:
    """Return a check as a paragraph of HTML.

    Args:
        record: What the check left.
        ledger: Address of the ledger, where the check has a row; none if empty.
        anchor: Whether the line carries the id that links lead to.
    """
    name = check_anchor(record["id"])
    told = html.escape(record["id"])
    told = f'<a href="{ledger}#{name}">{told}</a>' if ledger else f"<b>{told}</b>"
    fails = record["kind"] == "fails"
    own = f'id="{name}" ' if anchor else ""
    said = "breaks as predicted, " if fails else ""
    return (
        f'<p {own}class="check"><span class="check-mark" aria-hidden="true">✓</span> '
        f"{told}: {said}{typeset(record['checked'])}. "
        f'<span class="check-numbers">{_broken(record) if fails else _held(record)}.</span></p>'
    )


def with_lines(cells: Sequence[dict[str, Any]], ledger: str) -> list[dict[str, Any]]:
    """Return cells whose records of checks have become lines, each claim's first with its id.

    A cell that checks the first claim of a theorem is tagged with the name of that code.

    Args:
        cells: Those of an executed notebook.
        ledger: Address of the ledger, as seen from the chapter's page.
    """
    seen: set[str] = set()
    return [_lined(cell, ledger, seen) for cell in cells]


def _lined(cell: dict[str, Any], ledger: str, seen: set[str]) -> dict[str, Any]:
    outputs, new = [], list[str]()
    for output in cell.get("outputs", []):
        record = output.get("data", {}).get(MIME)
        if record is None:
            outputs.append(output)
            continue
        line = check_line(record, ledger, anchor=record["id"] not in seen)
        outputs.append({"output_type": "display_data", "metadata": {}, "data": {"text/html": line}})
        if record["id"] not in seen and _leads(record["id"]):
            new.append(code_anchor(record["theorem"]))
        seen.add(record["id"])
    if not new:
        return cell | ({"outputs": outputs} if "outputs" in cell else {})
    metadata = dict(cell.get("metadata", {}))
    metadata["tags"] = [*metadata.get("tags", []), *new]
    return cell | {"outputs": outputs, "metadata": metadata}


def _leads(claim: str) -> bool:
    """Return whether a claim is the first of its theorem."""
    return claim in claims() and claims()[claim][0].claims[0].id == claim


def _held(record: Record) -> str:
    unit = " standard errors" if record["kind"] == "sampled" else ""
    told = [
        typeset(f"Error {record['error']:.2g} ≤ {record['tolerance']:.2g}") + unit,
        f"control, {_control(record)}",
        f"{record['cases']:,} case{'' if record['cases'] == 1 else 's'}",
    ]
    return "; ".join([*told, *evidence(record), html.escape(record["status"])])


def _broken(record: Record) -> str:
    of = f" in {record['cases']:,} of {record['of']:,} cases" if (record["of"] or 0) > 1 else ""
    off = typeset(f"{record['error']:.2g}")
    return f"Outside the assumptions it is off by {off} or more{of}; back inside, {_control(record)}"


def _control(record: Record) -> str:
    return typeset(f"{record['control']}: {record['control_error']:.2g}")
