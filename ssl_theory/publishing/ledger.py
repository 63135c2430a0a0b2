"""The ledger: all checks that the executed chapters recorded, compared with all that the book claims."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ssl_theory.checks import MIME, Theorem, theorems
from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.errors import BuildError

MARKER = "<!-- ledger -->"

Entry = dict[str, Any]


def records(notebook: Path) -> list[Entry]:
    """Return the checks that an executed notebook carries, in its order."""
    outputs = [output for cell in notebooks.read(notebook)["cells"] for output in cell.get("outputs", [])]
    return [output["data"][MIME] for output in outputs if MIME in output.get("data", {})]


def collect(executed: Mapping[Chapter, Path]) -> list[Entry]:
    """Return all checks of the book, after comparing them with the claims.

    Args:
        executed: The chapters of the book, each with its executed notebook.

    Returns:
        The records, chapter by chapter.

    Raises:
        BuildError: If a claimed check never ran, a chapter with claims is not in the book, or a check ran
            that no theorem of its chapter claims.
    """
    entries = [entry for path in executed.values() for entry in records(path)]
    ran = {entry["id"] for entry in entries}
    names = {chapter.name for chapter in executed}
    lacking = [
        f"{claim.id} ({claim.what}), claimed for {theorem.chapter}"
        for theorem in theorems().values()
        for claim in theorem.claims
        if theorem.chapter not in names or claim.id not in ran
    ]
    claimed = {(t.chapter, claim.id) for t in theorems().values() for claim in t.claims}
    foreign = [
        f"{entry['id']}, run by {chapter.name}"
        for chapter, path in executed.items()
        for entry in records(path)
        if (chapter.name, entry["id"]) not in claimed
    ]
    if lacking or foreign:
        wrong = {"book claims but that never ran": lacking, "book does not claim": foreign}
        told = [f"checks that the {what}:\n    " + "\n    ".join(ids) for what, ids in wrong.items() if ids]
        raise BuildError("\n".join(told))
    return entries


def write(entries: list[Entry], path: Path) -> None:
    """Write the ledger as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def page(text: str, entries: list[Entry], chapters: Iterable[Chapter]) -> str:
    """Return the ledger page: its prose with the marker replaced by a table for each theorem.

    Args:
        text: The page's Markdown, with the line `<!-- ledger -->`.
        entries: The records.
        chapters: The chapters, in the book's order.

    Returns:
        The complete Markdown.
    """
    sections = [
        _section(theorem, chapter, [entry for entry in entries if entry["theorem"] == theorem.id])
        for chapter in chapters
        for theorem in theorems().values()
        if theorem.chapter == chapter.name
    ]
    return text.replace(MARKER, "\n\n".join([_summary(entries), *sections]))


def table(entries: list[Entry]) -> str:
    """Return the ledger as plain text, a line for each check."""
    if not entries:
        return "no checks"
    width = max(len(entry["id"]) for entry in entries)
    lines = [
        f"{entry['id']:{width}}  {_comparison(entry):>22}  {entry['cases']:>6} cases  {entry['status']}"
        for entry in entries
    ]
    return "\n".join(lines)


def _summary(entries: list[Entry]) -> str:
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry["status"]] = counts.get(entry["status"], 0) + 1
    parts = ", ".join(f"{count} {status}" for status, count in counts.items())
    cases = sum(entry["cases"] for entry in entries)
    return f"This build recorded **{len(entries)} checks** over {cases:,} cases: {parts}."


def _section(theorem: Theorem, chapter: Chapter, entries: list[Entry]) -> str:
    lines = [
        f"(ledger-{theorem.label})=\n## {theorem.id}: {theorem.title}",
        theorem.statement,
        f"Assumes {'; '.join(theorem.assumptions)}. It *{theorem.relation}* the paper: {theorem.paper}. "
        f"Stated and proved as {{prf:ref}}`{theorem.label}` in {{doc}}`{chapter.place}`.",
        "\n".join(
            [
                "| check | what was compared | error | cases | status |",
                "| :--- | :--- | ---: | ---: | :--- |",
                *(_row(entry) for entry in entries),
            ]
        ),
    ]
    return "\n\n".join(lines)


def _row(entry: Entry) -> str:
    checked = re.sub(r"([\\`*_\[\]<>|$#~])", r"\\\1", entry["checked"])  # plain words, not Markdown
    # a line may end before the sign, but not at the minus of an exponent
    numbers = re.sub(r"([≤>]) ", "\\1\u00a0", _comparison(entry)).replace("-", "−")
    cells = [f"`{entry['id']}`", checked, numbers, f"{entry['cases']:,}", entry["status"]]
    return f"| {' | '.join(cells)} |"


def _comparison(entry: Entry) -> str:
    sign = ">" if entry["status"].startswith("fails") else "≤"
    return f"{entry['error']:.2g} {sign} {entry['tolerance']:.2g}"
