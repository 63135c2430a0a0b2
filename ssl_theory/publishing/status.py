"""The status page: when the reader's own build ran which chapter, how long it took, and on which versions."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from ssl_theory.publishing import notebooks, parameters
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.inputs import versions
from ssl_theory.publishing.ledger import Entry
from ssl_theory.publishing.runner import Run


def page(
    executed: Mapping[Chapter, Path],
    entries: list[Entry],
    runs: Mapping[str, Run],
    renderers: tuple[str, ...],
) -> str:
    """Return the part of the status page that is written from the record of the runs.

    Args:
        executed: The chapters with their executed notebooks.
        entries: The ledger.
        runs: What ran last, by chapter.
        renderers: The packages that made the pages.

    Returns:
        Markdown.
    """
    known = {chapter: runs[chapter.name] for chapter in executed if chapter.name in runs}
    total = sum(run.seconds for run in known.values())
    lines = [
        f"**{len(executed)} chapters**, {len(entries)} checks; the chapters took {_duration(total)} in all, "
        "added up as if they had run one after the other.",
        "",
        "| chapter | ran (UTC) | took | checks | parameters |",
        "| :--- | :--- | ---: | ---: | :--- |",
    ]
    for chapter, path in executed.items():
        run = known.get(chapter)
        ran, took = (_moment(run.finished), _duration(run.seconds)) if run else ("not recorded", "–")
        count = sum(entry["chapter"] == chapter.name for entry in entries)
        used = parameters.used(notebooks.read(path))
        told = ", ".join(f"`{name}={value}`" for name, value in used.items())
        lines.append(f"| {{doc}}`{chapter.place}` | {ran} | {took} | {count} | {told} |")
    return "\n".join([*lines, "", "## Versions", "", *_versions(renderers)])


def _versions(renderers: tuple[str, ...]) -> list[str]:
    computing = ", ".join(f"{name} {number}" for name, number in versions().items())
    rendering = ", ".join(f"{name} {version(name)}" for name in renderers)
    return [f"The chapters ran on {computing}.", "", f"The pages were made by {rendering}."]


def _moment(text: str) -> str:
    """Return a moment to the minute, its date in one piece."""
    return text.replace("T", " ")[:16].replace("-", "\N{NON-BREAKING HYPHEN}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
