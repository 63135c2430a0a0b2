"""The scripts that the page "Use it on your network" shows: short, and they run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "examples"
PAGE = (ROOT / "book" / "practice" / "yours.md").read_text(encoding="utf-8")
SAID = {
    "network": "The median cosine of the step",
    "tree": "node 2, state 3: 0.",
    "loop": "outputs/rankme",
    "timm_model": "mixed 0.",
    "simclr": "1.layers.3/residue",
}


ALL = """
import json, os, runpy, sys, traceback
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import tests.vision

told = {}
for script in json.loads(sys.argv[1]):
    name = Path(script).stem
    os.mkdir(name)
    os.chdir(name)
    with redirect_stdout(StringIO()) as printed:
        try:
            runpy.run_path(script, run_name="__main__")
            told[name] = [printed.getvalue(), ""]
        except BaseException:
            told[name] = [printed.getvalue(), traceback.format_exc()]
    os.chdir("..")
print(json.dumps(told))
"""


def python(code: str, folder: Path, *arguments: str, **environment: str) -> str:
    """Return what a new process prints, in a folder; torchvision is imported as the tests do."""
    code = f"import sys\nsys.path[:0] = {[str(folder), str(ROOT)]}\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Return what each script prints and how it fails: one process for all, since it imports for long."""
    scripts = [str(FOLDER / f"{script}.py") for script in SAID]
    printed = python(ALL, tmp_path_factory.mktemp("scripts"), json.dumps(scripts))
    return {name: tuple(both) for name, both in json.loads(printed.splitlines()[-1]).items()}


def test_scripts_are_short_and_shown() -> None:
    scripts = sorted(FOLDER.glob("*.py"))
    assert {script.stem for script in scripts} == {*SAID, "chapter"}
    for script in scripts:
        assert len(script.read_text(encoding="utf-8").splitlines()) <= 40, script
        assert f"../examples/{script.name}" in PAGE


@pytest.mark.parametrize("script", SAID)
def test_scripts_run(script: str, told: dict[str, tuple[str, str]]) -> None:
    printed, failure = told[script]
    assert not failure
    assert SAID[script] in printed


def test_a_chapter_of_ones_own(tmp_path: Path) -> None:
    """It is made in a copy of the repository, runs there, and its theorem and its check are known."""
    for part in ("ssl_theory", "_config.yml"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, tmp_path / part)
    (tmp_path / "book" / "practice").mkdir(parents=True)
    shutil.copy(ROOT / "book" / "_toc.yml", tmp_path / "book" / "_toc.yml")
    script = str(FOLDER / "chapter.py")
    python(f"import runpy\nrunpy.run_path({script!r}, run_name='__main__')", tmp_path)
    command = (
        "from ssl_theory.publishing.cli import main\nsys.exit(main(['run', 'mine', '-o', 'mine.ipynb']))"
    )
    python(command, tmp_path, PYTHONPATH=str(tmp_path))  # not the library that is installed
    assert "M1.shift" in (tmp_path / "mine.ipynb").read_text(encoding="utf-8")
