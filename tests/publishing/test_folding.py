from __future__ import annotations

from typing import Any

import pytest

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.folding import GLUED, bar, folded
from tests.publishing.books import code, text

SHOWN = {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<p>seen</p>"}}
UNSEEN = {"output_type": "display_data", "metadata": {}, "data": {f"{GLUED}text/plain": "3"}}
BOOK = find_book()


def lines(cells: list[dict[str, Any]]) -> list[str]:
    found = [cell["metadata"].get("mystnb", {}) for cell in cells if cell["cell_type"] == "code"]
    return [told["code_prompt_show"] for told in found if told]


def test_a_cell_stands_behind_its_first_comment() -> None:
    (cell,) = folded([code("# Check it\nx = 1\n\ny = 2  # and so on") | {"outputs": [SHOWN]}])
    assert lines([cell]) == ["Check it · 2 lines"]
    assert cell["metadata"]["mystnb"]["code_prompt_hide"] == "Check it · 2 lines"
    assert cell["metadata"]["tags"] == ["hide-input"]
    assert cell["outputs"] == [SHOWN]


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ([("x = 1", False)], "Code · 1 line"),
        ([("seed = 0\nprofile = 1", True)], "The chapter's parameters · 2 lines"),
        ([("# A thing\nx", False), ("# Draw it\ny", False)], "A thing; draw it · 2 lines"),
        ([("# One\nx", False), ("# A thing\ny", False)], "One; a thing · 2 lines"),
        ([("# One\nx", False), ("# V_x and W\ny", False)], "One; V_x and W · 2 lines"),
        ([("# One\nx", False), ("# ReLU\ny", False)], "One; ReLU · 2 lines"),
        ([("", False)], "Code · 0 lines"),
    ],
)
def test_the_line_says_what_the_code_does(sources: list[tuple[str, bool]], told: str) -> None:
    assert bar(sources) == told


def test_code_over_nothing_shares_the_line_of_what_follows() -> None:
    cells = folded(
        [
            text("# A title"),
            code("install", notebooks.INSTALL, "remove-cell"),
            code("seed = 0", "parameters"),
            code("seed = 1", notebooks.INJECTED, "remove-cell"),
            code("# Define\nx = 1") | {"outputs": [UNSEEN]},
            code("# Show\nx") | {"outputs": [SHOWN]},
            code("# Alone\nz = 3"),
            text("Prose."),
            code("# Last\nz = 3"),
        ]
    )
    assert lines(cells) == [
        "The chapter's parameters; define; show · 3 lines",
        "Alone · 1 line",
        "Last · 1 line",
    ]
    assert [cell["cell_type"] for cell in cells] == ["markdown", *["code"] * 4, "markdown", "code"]
    joined = cells[3]
    assert joined["source"] == "seed = 0\n\n# Define\nx = 1\n\n# Show\nx"
    assert joined["outputs"] == [UNSEEN, SHOWN]


def test_what_belongs_to_a_figure_stays_with_it() -> None:
    drawn = code("# Draw\nx") | {"outputs": [SHOWN]}
    drawn["metadata"] = {"mystnb": {"figure": {"name": "fig-a"}}, "tags": ["hide-input"]}
    (cell,) = folded([code("# Define\ny"), drawn])
    assert cell["metadata"]["mystnb"]["figure"] == {"name": "fig-a"}
    assert cell["metadata"]["tags"] == ["hide-input"]
    assert "code_prompt_show" not in drawn["metadata"]["mystnb"], "the executed notebook stays as it is"


@pytest.mark.parametrize("name", BOOK.chapters())
def test_every_cell_of_the_book_says_what_it_does(name: str) -> None:
    told = lines(folded(notebooks.read(BOOK.chapters()[name].path)["cells"]))
    assert told[0].startswith("The chapter's parameters")
    assert not [line for line in told if line.startswith("Code") or "; Code" in line]
    assert len(told) == len(set(told)), "two cells that say the same"


@pytest.mark.parametrize("name", BOOK.chapters())
def test_lines_of_code_fit_the_page(name: str) -> None:
    cells = [c for c in notebooks.read(BOOK.chapters()[name].path)["cells"] if c["cell_type"] == "code"]
    own = [notebooks.source(cell) for cell in cells if notebooks.INSTALL not in notebooks.tags(cell)]
    wide = [line for source in own for line in source.splitlines() if len(line) > 95]
    assert not wide
