"""The scripts that the page "Use it on your network" shows: short, and they run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "book" / "examples"
PAGE = (ROOT / "book" / "practice" / "yours.md").read_text(encoding="utf-8")
SAID = {
    "network": "The median cosine of the step",
    "tree": "node 2, state 3: 0.",
    "loop": "outputs/rankme",
    "timm_model": "layer4.0.conv2: cosine with the step",
    "simclr": "1.layers.3/residue",
}


def run(script: str, folder: Path, *before: str) -> str:
    """Return what a script prints, in a folder of its own; torchvision is imported as the tests do."""
    code = f"import sys\nsys.path[:0] = {[str(folder), str(ROOT)]}\n" + "\n".join(before)
    code += f"\nimport runpy\nrunpy.run_path({str(FOLDER / f'{script}.py')!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scripts_are_short_and_shown() -> None:
    scripts = sorted(FOLDER.glob("*.py"))
    assert {script.stem for script in scripts} == {*SAID, "chapter"}
    for script in scripts:
        assert len(script.read_text(encoding="utf-8").splitlines()) <= 40, script
        assert f"../examples/{script.name}" in PAGE


@pytest.mark.parametrize("script", SAID)
def test_scripts_run(script: str, tmp_path: Path) -> None:
    vision = ["import tests.vision"] if script in ("timm_model", "simclr") else []
    assert SAID[script] in run(script, tmp_path, *vision)


def test_a_chapter_of_ones_own(tmp_path: Path) -> None:
    """It is made in a copy of the repository, runs there, and its theorem and its check are known."""
    for part in ("ssl_theory", "_config.yml"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, tmp_path / part)
    (tmp_path / "book" / "practice").mkdir(parents=True)
    shutil.copy(ROOT / "book" / "_toc.yml", tmp_path / "book" / "_toc.yml")
    run("chapter", tmp_path)
    here = os.environ | {"PYTHONPATH": str(tmp_path)}  # not the library that is installed
    command = (
        "from ssl_theory.publishing.cli import main; sys.exit(main(['run', 'mine', '-o', 'mine.ipynb']))"
    )
    code = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{command}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "M1.shift" in (tmp_path / "mine.ipynb").read_text(encoding="utf-8")
