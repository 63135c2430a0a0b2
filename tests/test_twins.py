"""Whole chapters with the wrong version of each statement in its place: every one has to be stopped."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_theory.checks import MIME, TWINS
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.execute import CELL_SECONDS, execute
from ssl_theory.theorems import theorems

BOOK = find_book(Path(__file__))
EVERY = sorted({theorem.chapter for theorem in theorems().values()})
QUICK = ["gradient", "losses", "outside"]
CHAPTERS = EVERY if os.environ.get("SSL_THEORY_EVERY_TWIN") else QUICK
LEAST = 60

pytestmark = pytest.mark.timeout(600)


def checks_in(notebook: Path) -> set[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return {output["data"][MIME]["id"] for output in outputs if MIME in output.get("data", {})}


def claimed(chapter: str) -> list[str]:
    return [c.id for t in theorems().values() if t.chapter == chapter for c in t.claims]


def test_there_are_enough_of_them() -> None:
    assert sum(len(claimed(chapter)) for chapter in CHAPTERS) >= LEAST


Run = Callable[[str, str], set[str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm: Path | None) -> Run:
    """Return a function that runs a chapter with some wrong versions and returns the checks that it shows."""

    def run(chapter: str, twins: str) -> set[str]:
        monkeypatch.setenv(TWINS, twins)
        output = tmp_path / "executed.ipynb"
        execute(BOOK.chapter(chapter), output, {}, seconds=CELL_SECONDS["quick"], threads=1, kernels=warm)
        return checks_in(output)

    return run


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_wrong_version_is_refused(chapter: str, run: Run) -> None:
    assert run(chapter, "all") == set(claimed(chapter))


def test_a_wrong_version_stops_its_chapter(run: Run) -> None:
    wrong = claimed("losses")[0]
    with pytest.raises(BuildError, match=f"{re.escape(wrong)} failed"):
        run("losses", wrong)
