from __future__ import annotations

import copy
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ssl_theory.publishing import frame, notebooks
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.citing import Citation, fold
from ssl_theory.publishing.commands import _parser
from ssl_theory.publishing.parameters import parse
from ssl_theory.publishing.repository import Repository
from ssl_theory.theorems import theorems
from tests.publishing.books import PARAMETERS, code, text

BOOK = find_book(Path(__file__))
CHAPTERS = BOOK.chapters()
HOME = Repository("https://github.com/a/b", colab="https://colab.example", binder="https://binder.example")
THEOREM = theorems()["T3"]
BOX = f"````{{prf:theorem}} A title\n:label: {THEOREM.label}\n\n```{{math}}\nx\n```\n````\n\nAfter."


def ran(*cells: dict[str, Any]) -> dict[str, Any]:
    opening = text("# A title\n\n**What you will learn.** Much.")
    injected = code("seed = 7\nscale = 2.5", notebooks.INJECTED)
    return {
        "cells": [opening, code("old", notebooks.INSTALL), code(PARAMETERS, "parameters"), injected, *cells]
    }


def shown(
    notebook: dict[str, Any], home: Repository | None = HOME, entries: Any = ()
) -> list[dict[str, Any]]:
    found = frame.framed(notebook, CHAPTERS["simple"], entries, home)["cells"]
    assert all(cell["metadata"] is not None for cell in found)
    return list(found)


def test_a_chapter_opens_with_its_facts_and_closes_with_how_to_open_it() -> None:
    entries = [{"chapter": "simple", "theorem": "T3"}] * 3
    before = ran()
    kept = copy.deepcopy(before)
    cells = shown(before, entries=entries)
    assert before == kept, "the executed notebook itself stays as it is"
    title, _, facts, *_ = cells[0]["source"].split("\n")
    assert (title, facts) == ("# A title", ":::{div} chapter-facts")
    assert "About 5 minutes to read · **holds:** 3 checks with their controls · " in cells[0]["source"]
    assert '<a href="#check-t3-operator">check</a> · <a href="#code-t3">code</a> · ' in cells[0]["source"]
    assert "{ref}`re-run <open-simple>`" in cells[0]["source"]
    assert "".join(cells[1]["source"]) == HOME.install, "and a fork installs itself"
    closing = cells[-1]["source"]
    assert "](https://colab.example/github/a/b/blob/main/book/covariance/simple.ipynb)" in closing
    assert "](https://binder.example/v2/gh/a/b/main?urlpath=lab" in closing
    assert 'href="../_sources/covariance/simple.ipynb" download' in closing
    assert "https://github.com/a/b/blob/main/book/covariance/simple.ipynb" in closing


def test_the_first_lines_lead_to_where_the_theorem_ends() -> None:
    def facts(*cells: dict[str, Any]) -> str:
        return str(shown(ran(*cells))[0]["source"])

    breaks = text("Words.\n\n## Where it breaks: kinks, and more\n\n## Where it breaks again")
    told = ' · <a href="#where-it-breaks-kinks-and-more">where it breaks</a> · {ref}`re-run <open-simple>`'
    assert told in facts(text("## The claim"), breaks)
    assert "where it breaks" not in facts(text("## The claim"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_has_the_same_anatomy(name: str) -> None:
    cells = notebooks.read(CHAPTERS[name].path)["cells"]
    prose = "\n".join(notebooks.source(cell) for cell in cells if cell["cell_type"] == "markdown")
    sections = re.findall(r"^## (.*)$", prose, re.M)
    claim, breaks = (
        next(n for n, title in enumerate(sections) if title.startswith(opening))
        for opening in ("The claim", "Where it breaks")
    )
    assert claim < breaks < sections.index("Exercises")
    assert sections[-3:] == ["Exercises", "Summary", "Sources"]
    assert "{prf:proof}" in prose
    assert any(".check(" in notebooks.source(cell) for cell in cells if cell["cell_type"] == "code")


def test_the_command_runs_the_chapter_with_the_parameters_it_had() -> None:
    closing = shown(ran())[-1]["source"]
    (line,) = [line for line in closing.splitlines() if line.startswith("ssl-theory ")]
    options = _parser().parse_args(shlex.split(line)[1:])
    assert (options.chapter, str(options.output)) == ("simple", "simple.ipynb")
    assert options.parameter == ["profile=quick", "seed=7", "scale=2.5", "shown=True", "device=cpu"]
    real = shown(notebooks.read(CHAPTERS["simple"].path))[-1]["source"]
    given = shlex.split(next(line for line in real.splitlines() if line.startswith("ssl-theory ")))[4::2]
    assert parse(CHAPTERS["simple"], [word for word in given if "=" in word])["seed"] == 0


def test_without_a_repository_only_the_machine_of_the_reader_is_offered() -> None:
    closing = shown(ran(), home=None)[-1]["source"]
    assert "http" not in closing
    assert "ssl-theory run simple" in closing


def test_the_relation_to_the_paper_stands_in_the_box_of_its_theorem() -> None:
    proof = "\n\n```{prf:proof}\nWe prove {prf:ref}`t3`.\n```"
    cells = shown(
        ran(text("## The claim\n\n" + BOX + proof)), entries=[{"chapter": "simple", "theorem": "T3"}]
    )
    source = cells[4]["source"].replace(f"(proof-t3)={proof[1:]}", "").removesuffix("\n\n")
    relation, after = source.split("```{math}\nx\n```\n")[1].split("\n````\n")
    assert f"**{THEOREM.relation.capitalize()} the paper:**" in relation
    assert THEOREM.paper in relation
    links = [
        "{ref}`proof <proof-t3>`",
        '<a href="#check-t3-operator">check</a>',
        '<a href="#code-t3">code</a>',
    ]
    links += ["{ref}`re-run <open-simple>`", "{ref}`1 check in the ledger <ledger-t3>`"]
    links += ['<a class="copy-link" href="#t3">link</a>']
    assert relation.endswith("\n\n" + " · ".join(links) + "\n:::")
    assert after == "\nAfter."
    book = Citation("A Book", ("Doe, Jane",), "1")
    (cited,) = [
        c
        for c in frame.framed(ran(text(BOX)), CHAPTERS["simple"], [], HOME, book)["cells"]
        if "cite" in c["source"]
    ]
    assert f"\n\n{fold(THEOREM, 'theorem', book)}\n:::" in cited["source"]
    other = BOX.replace(THEOREM.label, "t3-lemma-pair")
    assert shown(ran(text(other)))[4]["source"] == other, "lemmas make no claim about the paper"


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_theorem_of_a_chapter_shows_its_relation(name: str) -> None:
    chapter = CHAPTERS[name]
    cells = frame.framed(notebooks.read(chapter.path), chapter, [], HOME)["cells"]
    prose = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    assert prose.count(":::{div} relation") == len(chapter.theorem_ids)
    assert "Reading time" not in prose, "typed by hand"
