"""How long a chapter is for a reader: what stands open, without what folds away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.errors import BuildError

__all__ = ["Length", "length", "open_prose", "reading_minutes", "require_short", "too_long"]

# Seconds that reading takes: a word, a formula in a line, a formula of its own.
WORD, INLINE, DISPLAY = 0.25, 1.5, 15.0
WORDS, MINUTES = 3500, 20  # the most that a chapter takes
STEP = 5  # minutes to which the sum is rounded

FENCE = re.compile(r"^ *(?P<fence>`{3,}(?!.*`)|:{3,})(?P<head>.*)$")
OPTION = re.compile(r"^ *:(?P<name>[\w-]+):(?P<value>.*)$")


class Length(NamedTuple):
    """How many words, formulas in lines, and formulas of their own there are to read."""

    words: int
    inline: int
    displayed: int

    @property
    def minutes(self) -> float:
        """How long reading takes."""
        return (WORD * self.words + INLINE * self.inline + DISPLAY * self.displayed) / 60


def length(notebook: Mapping[str, Any]) -> Length:
    """Return how long a chapter's open prose is: solutions and lemmas that fold away do not count."""
    cells = [notebooks.source(c) for c in notebook["cells"] if c["cell_type"] == "markdown"]
    prose = "\n\n".join("\n".join(open_prose(cell.split("\n"))) for cell in cells)
    prose, displayed = re.subn(r"\$\$.*?\$\$", " ", prose, flags=re.S)
    prose, inline = re.subn(r"\$[^$]+\$", " ", prose)
    return Length(len(re.findall(r"[^\W\d_][\w'’-]*", prose)), inline, displayed)


def reading_minutes(notebook: Mapping[str, Any]) -> int:
    """Return how long a chapter takes to read, rounded; code is folded."""
    return max(STEP, STEP * round(length(notebook).minutes / STEP))


def too_long(chapters: Iterable[Chapter]) -> list[str]:
    """Return a line for each chapter that asks for more than a chapter should."""
    measured = {chapter.name: length(notebooks.read(chapter.path)) for chapter in chapters}
    return [
        f"{name}: {found.words:,} open words and {found.minutes:.1f} minutes to read; "
        f"a chapter has at most {WORDS:,} and {MINUTES}"
        for name, found in measured.items()
        if found.words > WORDS or found.minutes > MINUTES
    ]


def require_short(chapters: Iterable[Chapter]) -> None:
    """Raise BuildError naming each chapter that asks for more words or minutes than a chapter should."""
    if long := too_long(chapters):
        raise BuildError(
            "\n".join(["chapters are too long for one reading:", *(f"    {line}" for line in long)])
        )


def open_prose(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines of MyST Markdown that a page shows before anything is unfolded, without marks.

    A formula in a block comes as one between dollar signs.
    """
    rest = iter(enumerate(lines))
    for place, line in rest:
        found = FENCE.match(line)
        if not found:
            yield line
            continue
        end = _end(lines, place, found["fence"])
        yield from _block(found["head"].strip(), lines[place + 1 : end])
        for number, _ in rest:
            if number >= end:
                break


def _end(lines: Sequence[str], place: int, fence: str) -> int:
    """Return the number of the line that closes a block, one beyond the last if none does."""
    closing = re.compile(rf"^ *{fence[0]}{{{len(fence)},}} *$")
    return next((n for n in range(place + 1, len(lines)) if closing.match(lines[n])), len(lines))


def _block(head: str, inside: Sequence[str]) -> Iterator[str]:
    name = re.match(r"\{(?P<name>[\w:-]+)\}\s*(?P<title>.*)", head)
    if name is None:
        return  # code
    options, body = _parts(inside)
    if name["name"] == "dropdown" or "dropdown" in options.get("class", "").split():
        return
    if name["name"] == "math":
        yield f"$${' '.join(body)}$$"
        return
    yield name["title"]
    yield from open_prose(body)


def _parts(inside: Sequence[str]) -> tuple[dict[str, str], Sequence[str]]:
    """Return the options of a block and what follows them."""
    options: dict[str, str] = {}
    for place, line in enumerate(inside):
        found = OPTION.match(line)
        if found is None:
            return options, inside[place:]
        options[found["name"]] = found["value"].strip()
    return options, []
