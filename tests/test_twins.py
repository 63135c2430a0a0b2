"""Whole chapters with the wrong version of each statement in its place: every one has to be stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_theory.checks import MIME, TWINS
from ssl_theory.theorems import theorems

EVERY = sorted({theorem.chapter for theorem in theorems().values()})
QUICK = ["gradient", "losses", "outside"]
CHAPTERS = EVERY if os.environ.get("SSL_THEORY_EVERY_TWIN") else QUICK
LEAST = 60

pytestmark = pytest.mark.timeout(600)


def run(chapter: str, twins: str, output: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ssl_theory.publishing.cli", "run", chapter, "-o", str(output)]
    environment = os.environ | {TWINS: twins}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def checks_in(notebook: Path) -> set[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return {output["data"][MIME]["id"] for output in outputs if MIME in output.get("data", {})}


def claimed(chapter: str) -> list[str]:
    return [c.id for t in theorems().values() if t.chapter == chapter for c in t.claims]


def test_there_are_enough_of_them() -> None:
    assert sum(len(claimed(chapter)) for chapter in CHAPTERS) >= LEAST


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_wrong_version_is_refused(chapter: str, tmp_path: Path) -> None:
    done = run(chapter, "all", tmp_path / "executed.ipynb")
    assert done.returncode == 0, done.stderr
    assert checks_in(tmp_path / "executed.ipynb") == set(claimed(chapter))


def test_a_wrong_version_stops_its_chapter(tmp_path: Path) -> None:
    wrong = claimed("losses")[0]
    done = run("losses", wrong, tmp_path / "executed.ipynb")
    assert done.returncode == 1
    assert f"{wrong} failed" in done.stdout + done.stderr
