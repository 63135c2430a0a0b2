"""The ledger: all checks that the executed chapters recorded, compared with all that the book claims."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ssl_theory.checks import MIME, STATUS, Record, evidence, holds
from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.check_lines import check_anchor
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.files import write_whole
from ssl_theory.publishing.frame import count_of
from ssl_theory.publishing.ledger_picture import description, picture_by
from ssl_theory.publishing.typeset import typeset
from ssl_theory.theorems import Theorem, dependencies, theorems

MARKER = "<!-- ledger -->"
PICTURE = Path("pictures/ledger-errors.svg")  # where the page expects it, in the book's folder

# Shows the filter, which needs a script; closes the parts, one of which is open at a time, and opens what a
# reader asks for. Without a script all is open.
SCRIPT = """<script>
addEventListener("DOMContentLoaded", () => {
  const box = document.querySelector(".ledger-filter");
  const rows = [...document.querySelectorAll("tr[data-status]")];
  const parts = [...document.querySelectorAll("details.ledger-part")];
  const show = (wanted) => {
    for (const row of rows) row.hidden = wanted !== "" && row.dataset.status !== wanted;
    for (const part of parts) {
      part.toggleAttribute("name", false);
      part.hidden = !part.querySelector("tr[data-status]:not([hidden])");
      part.open = wanted !== "" && !part.hidden;
      if (wanted === "") part.setAttribute("name", "ledger");
    }
    const seen = rows.filter((row) => !row.hidden).length;
    box.querySelector("[role=status]").textContent = `${seen} of ${rows.length} checks are chosen.`;
  };
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const part = target?.closest("details.ledger-part");
    if (part) part.open = true;
    if (part) target.scrollIntoView();
  };
  box.hidden = false;
  box.addEventListener("change", (event) => show(event.target.value));
  show(box.querySelector("input:checked").value);
  addEventListener("hashchange", reveal);
  reveal();
});
</script>"""

Entry = dict[str, Any]
FIELDS = {field.name for field in fields(Record)}


def records(notebook: Path) -> list[Entry]:
    """Return the checks that an executed notebook carries, in its order; BuildError if it is damaged."""
    shown = notebooks.outputs(notebooks.read(notebook))
    return [output["data"][MIME] for output in shown if MIME in output.get("data", {})]


def collect(executed: Mapping[Chapter, Path]) -> list[Entry]:
    """Return all checks of the book, after comparing them with the claims.

    Args:
        executed: The chapters of the book, each with its executed notebook.

    Returns:
        The records, chapter by chapter.

    Raises:
        BuildError: If a record does not say that its check holds, a claimed check never ran, a chapter with
            claims is not in the book, or a check ran that no theorem of its chapter claims, or theorems use
            each other in a circle.
    """
    found = {chapter: records(path) for chapter, path in executed.items()}
    failed = [
        f"{entry.get('id', 'one without an id')}, run by {chapter.name}"
        for chapter, own in found.items()
        for entry in own
        if not holds(entry)
    ]
    if failed:
        raise BuildError("checks whose records do not say that they hold:\n    " + "\n    ".join(failed))
    entries = [entry for own in found.values() for entry in own]
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
        for chapter, own in found.items()
        for entry in own
        if (chapter.name, entry["id"]) not in claimed
    ]
    try:
        dependencies()
    except ValueError as error:
        raise BuildError(str(error)) from error
    if lacking or foreign:
        wrong = {"book claims but that never ran": lacking, "book does not claim": foreign}
        told = [f"checks that the {what}:\n    " + "\n    ".join(ids) for what, ids in wrong.items() if ids]
        raise BuildError("\n".join(told))
    return entries


def write(entries: list[Entry], path: Path) -> None:
    """Write the ledger as JSON."""
    write_whole(path, dump(entries))


def read(path: Path) -> list[Entry]:
    """Return a ledger that was written.

    Raises:
        BuildError: If the file is damaged, or another version of this program wrote it.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        if all(holds(entry) and entry.keys() >= FIELDS for entry in entries):
            return list(entries)
    except (ValueError, TypeError, AttributeError):
        pass
    raise BuildError(f"{path} is damaged, or of another version; build the book again: ssl-theory build")


def dump(entries: list[Entry]) -> str:
    """Return the ledger as JSON."""
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def served(entries: list[Entry], chapters: Iterable[Chapter]) -> str:
    """Return the ledger as JSON with, for each check, the place in the book that shows it."""
    places = {chapter.name: chapter.place for chapter in chapters}
    return dump([entry | {"page": _address(entry, places[entry["chapter"]])} for entry in entries])


def page(entries: list[Entry], chapters: Iterable[Chapter]) -> str:
    """Return the part of the ledger page that is written from the records.

    Args:
        entries: The records.
        chapters: The chapters, in the book's order.

    Returns:
        Markdown: a summary, a picture, a filter, and for each chapter a part with a table for each theorem.
    """
    here = circumstances(entries)
    shown = [_figure(entries), _filter(entries)] if entries else []
    parts = []
    for chapter in chapters:
        own = [theorem for theorem in theorems().values() if theorem.chapter == chapter.name]
        filed = {t.id: [entry for entry in entries if entry["theorem"] == t.id] for t in own}
        sections = [_section(theorem, chapter, filed[theorem.id], here) for theorem in own]
        if own:
            parts.append(_part(chapter, sections, sum(map(len, filed.values()))))
    return "\n\n".join([_summary(entries, here), *shown, *parts])


def draw(entries: list[Entry], chapters: Iterable[Chapter], warm: Path | None = None) -> str:
    """Return the page's picture as SVG, drawn by a process that a warm one splits off if there is one."""
    return picture_by(warm, entries, [chapter.name for chapter in chapters])


def circumstances(entries: Iterable[Entry]) -> list[str]:
    """Return the different circumstances, in words, under which checks ran."""
    found: dict[str, None] = {}
    for entry in entries:
        versions = ", ".join(f"{name} {number}" for name, number in sorted(entry["versions"].items()))
        told = f"the {entry['profile']} profile with seed {entry['seed']} on {entry['device']} ({versions})"
        found[told] = None
    return list(found)


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


def _summary(entries: list[Entry], here: list[str]) -> str:
    cases = sum(entry["cases"] for entry in entries)
    lines = f"This build recorded **{count_of(len(entries), 'check')}** over {cases:,} cases"
    counts = [(status, sum(entry["status"] == status for entry in entries)) for status in STATUS.values()]
    parts = ", ".join(f"{count} {status}" for status, count in counts if count)
    lines += f": {parts}." if parts else "."
    lines += f" All ran in {here[0]}." if len(here) == 1 else ""
    lines += (
        ' The same records <a href="ledger.json">for machines</a>: a JSON list with an entry for each check.'
    )
    return lines


def _figure(entries: list[Entry]) -> str:
    alternative, caption = description(entries)
    return (
        f"```{{figure}} {PICTURE.as_posix()}\n:name: fig-ledger-errors\n:alt: {alternative}\n\n{caption}\n```"
    )


def _filter(entries: list[Entry]) -> str:
    """Return the choice of a status, hidden until its script runs."""
    choices = [("", "all", len(entries))]
    choices += [(k, s, sum(entry["status"] == s for entry in entries)) for k, s in STATUS.items()]
    labels = "".join(
        f'<label><input type="radio" name="status" value="{kind}"{"" if kind else " checked"}> '
        f"{status} ({count})</label>"
        for kind, status, count in choices
        if count
    )
    return (
        f'<div class="ledger-filter" hidden><fieldset><legend>Show the checks that are</legend>{labels}'
        f'</fieldset><p role="status"></p></div>\n{SCRIPT}'
    )


def _part(chapter: Chapter, sections: Sequence[str], count: int) -> str:
    """Return the theorems of a chapter, behind a line that says how many checks they have."""
    told = f"{count_of(len(sections), 'result')}, {count_of(count, 'check')}"
    opening = f"::::::{{dropdown}} {told}\n:class-container: ledger-part\n:open:"
    return "\n\n".join([f"## {chapter.title}", opening, *sections, "::::::"])


def _section(theorem: Theorem, chapter: Chapter, entries: list[Entry], here: list[str]) -> str:
    lines = [
        f"(ledger-{theorem.label})=\n**{theorem.id}: {theorem.title}**",
        theorem.statement,
        f"Assumes {'; '.join(theorem.assumptions)}. It *{theorem.relation}* the paper: {theorem.paper}. "
        f"Stated and proved as {{prf:ref}}`{theorem.label}` in {{doc}}`{chapter.place}`."
        + (f" The checks ran in {'; '.join(circumstances(entries))}." if len(here) > 1 else ""),
        '<div class="pst-scrollable-table-container"><table class="table checks">\n<thead><tr>'
        "<th>check</th><th>what was compared</th><th>error</th><th>the same for</th><th>cases</th>"
        "<th>status</th></tr></thead>\n"
        f"<tbody>\n{chr(10).join(_row(entry, chapter) for entry in entries)}\n</tbody></table></div>",
    ]
    return "\n\n".join(lines)


def _row(entry: Entry, chapter: Chapter) -> str:
    link = f'<a href="{_address(entry, chapter.place)}">{html.escape(entry["id"])}</a>'
    numbers = re.sub(r"([≤>]) ", "\\1\u00a0", _comparison(entry))  # a line may end before the sign
    cells = [
        link,
        typeset(entry["checked"]),
        typeset(numbers),
        typeset(f"{entry['control']}: {entry['control_error']:.2g}"),
        _cases(entry),
        _evidence(entry),
    ]
    joined = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr id="{check_anchor(entry["id"])}" data-status="{entry["kind"]}">{joined}</tr>'


def _cases(entry: Entry) -> str:
    cases = f"{entry['cases']:,}"
    if entry["kind"] == "fails" and entry["of"] != entry["cases"]:
        cases += f" of {entry['of']:,}"
    return cases


def _evidence(entry: Entry) -> str:
    """Return the status with what its kind records besides, and why the tolerance is not the usual one."""
    told = [entry["status"], *evidence(entry)]
    return html.escape("; ".join([*told, *filter(None, [entry["reason"]])]))


def _address(entry: Entry, place: str) -> str:
    return f"{place}.html#{check_anchor(entry['id'])}"


def _comparison(entry: Entry) -> str:
    sign = ">" if entry["kind"] == "fails" else "≤"
    return f"{entry['error']:.2g} {sign} {entry['tolerance']:.2g}"
