"""The wheel carries the notebooks: listing and running chapters needs no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ssl_theory.publishing.catalogue import find_book
from tests.publishing.books import write_chapter

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel's content, as an installation would have it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked-wheel")
    return folder / "unpacked-wheel"


def command(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what the installed program answers, run in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "ssl_theory.publishing.cli", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_chapters_are_listed_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    done = command(installed, tmp_path, "list")
    assert done.returncode == 0, done.stderr
    listed = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert listed == list(find_book(ROOT).chapters())


def test_a_packaged_chapter_runs_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    toc = installed / "ssl_theory" / "_book" / "_toc.yml"
    before = toc.read_text(encoding="utf-8")
    write_chapter(toc.parent, "tiny", ["import ssl_theory\nprint('unpacked-wheel' in str(ssl_theory), seed)"])
    toc.write_text("format: jb-book\nroot: tiny\n", encoding="utf-8")
    done = command(installed, tmp_path, "run", "tiny", "-p", "seed=3", "-o", "out")
    toc.write_text(before, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "no checks\ntiny ran to its end: out/tiny.ipynb\n"
    assert "True 3" in (tmp_path / "out" / "tiny.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["build", "ledger", "serve"])
def test_what_needs_a_checkout_says_so(installed: Path, tmp_path: Path, name: str) -> None:
    done = command(installed, tmp_path, name)
    assert done.returncode == 2
    told = "this command needs the repository, where the book is built; run it inside a checkout"
    assert done.stderr == f"ssl-theory: {told}\n"


def test_every_file_of_the_library_is_in_the_wheel(installed: Path) -> None:
    for path in (ROOT / "ssl_theory").rglob("*"):
        if path.suffix in (".py", ".toml", ".ttf", ".typed"):
            assert (installed / path.relative_to(ROOT)).exists(), path
