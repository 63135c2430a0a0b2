"""A chapter's code, each cell behind a line that says what it does: its own first comment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ssl_theory.publishing import notebooks

__all__ = ["bar", "folded"]

PARAMETERS = "The chapter's parameters"
PLAIN = "Code"
GLUED = "application/papermill.record/"  # under which outputs are filed that are not displayed


def folded(cells: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cells of an executed notebook with the code that a page shows folded.

    A cell that shows nothing shares the line of the code that follows it at once.
    """
    found: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = []
    for cell in cells:
        if cell["cell_type"] == "code" and not _is_shown(cell):
            found.append(cell)  # in the middle of what waits, where no reader sees it
        elif cell["cell_type"] == "code":
            waiting.append(cell)
            if _shows(cell):
                found.append(_joined(waiting))
                waiting = []
        else:
            found += [*([_joined(waiting)] if waiting else []), cell]
            waiting = []
    return [*found, *([_joined(waiting)] if waiting else [])]


def bar(sources: Iterable[tuple[str, bool]]) -> str:
    """Return the line that stands for code: what each piece says that it does, and how long it is.

    Args:
        sources: The text of each cell, and whether it holds the chapter's parameters.

    Returns:
        Such as "The operator against loops over every draw · 11 lines".
    """
    titles, count = list[str](), 0
    for source, parameters in sources:
        lines = [line.strip() for line in source.splitlines() if line.strip()]
        told = lines[0].startswith("#") if lines else False
        title = lines[0].strip("#. ") if told else PARAMETERS if parameters else PLAIN
        titles.append(_lower(title) if titles else title)
        count += len(lines) - told
    return f"{'; '.join(titles)} · {count} line{'' if count == 1 else 's'}"


def _joined(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one folded cell with the code and the outputs of several, otherwise like the last."""
    sources = [notebooks.source(cell) for cell in cells]
    line = bar((s, "parameters" in notebooks.tags(c)) for s, c in zip(sources, cells, strict=True))
    last = cells[-1]
    metadata = dict(last.get("metadata", {}))
    metadata["tags"] = list(dict.fromkeys([*notebooks.tags(last), "hide-input"]))
    metadata["mystnb"] = metadata.get("mystnb", {}) | {"code_prompt_show": line, "code_prompt_hide": line}
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    joined = "\n\n".join(source.rstrip("\n") for source in sources)
    return last | {"metadata": metadata, "outputs": outputs, "source": joined}


def _is_shown(cell: dict[str, Any]) -> bool:
    return not {"remove-cell", "remove-input", notebooks.INSTALL, notebooks.INJECTED} & {
        *notebooks.tags(cell)
    }


def _shows(cell: dict[str, Any]) -> bool:
    """Return whether a reader sees anything of what a cell gave."""
    outputs = cell.get("outputs", [])
    return any(
        "data" not in output or any(not kind.startswith(GLUED) for kind in output["data"])
        for output in outputs
    )


def _lower(title: str) -> str:
    """Return a title as it stands within a sentence; a symbol or a name of capitals stays."""
    return title[:1].lower() + title[1:] if re.match(r"[A-Z][a-z]*\b(?!_)", title) else title
