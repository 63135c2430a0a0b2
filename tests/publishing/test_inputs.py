"""What a chapter depends on, in a small library and, compared with what Python loads, in the real one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_theory.publishing import inputs, notebooks
from ssl_theory.publishing.catalogue import Chapter, find_book
from ssl_theory.theorems import theorems
from tests.publishing.books import write_chapter

LIBRARY = {
    "__init__.py": "",
    "losses.py": "from ssl_theory.deep import used",
    "alone.py": "",
    "lazy.py": "def f():\n    from ssl_theory import alone",
    "named.py": "MODULE = 'ssl_theory.alone'",
    "relative.py": "from . import alone",
    "dynamic.py": "import importlib\n\nimportlib.import_module('a')",
    "broken.py": "x = (",
    "deep/__init__.py": "from .used import one",
    "deep/used.py": "from ..views import two",
    "deep/table.json": "{}",
    "views.py": "",
    "theorems/__init__.py": "",
    "theorems/one.toml": "",
    "theorems/two.toml": "",
    "stored.py": "FOLDER = 'results'",
    "publishing/cli.py": "",
    "publishing/execute.py": "",
    "publishing/worker.py": "",
    "publishing/notebooks.py": "",
}
ALWAYS = {"chapter", "publishing.execute", "publishing.worker", "publishing.notebooks", "theorems/one.toml"}
EVERYTHING = {f"ssl_theory.{name}" for name in ("alone", "lazy", "named", "dynamic", "broken", "deep.used")}

Needs = Callable[..., set[str]]


@pytest.fixture
def needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Needs:
    """Return a function from the code of a chapter to the names of what it depends on."""
    for place, text in LIBRARY.items():
        (tmp_path / "library" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "library" / place).write_text(text, encoding="utf-8")
    (tmp_path / "book" / "results").mkdir(parents=True)
    for name in ("images", "images-long", "latents"):
        (tmp_path / "book" / "results" / f"{name}.csv").write_text("a\n", encoding="utf-8")
    monkeypatch.setattr(inputs, "PACKAGE", tmp_path / "library")
    monkeypatch.setattr(inputs, "LIBRARY", "ssl_theory")

    def find(*cells: str) -> set[str]:
        return set(inputs.inputs(write_chapter(tmp_path / "book", "part/one", cells)))

    return find


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ("import math", set()),
        ("from ssl_theory.alone import f", {"", ".alone"}),
        ("import ssl_theory.views as v", {"", ".views"}),
        ("from ssl_theory import views, alone", {"", ".views", ".alone"}),
        (
            "from ssl_theory.losses import f",
            {"", ".losses", ".deep", ".deep.used", ".views", "deep/table.json"},
        ),
        ("def f():\n    from ssl_theory.lazy import g", {"", ".lazy", ".alone"}),
        ("import ssl_theory.named", {"", ".named", ".alone"}),
        ("import ssl_theory.relative", {"", ".relative", ".alone"}),
    ],
)
def test_modules_are_followed(needs: Needs, line: str, needed: set[str]) -> None:
    full = {f"ssl_theory{name}" if name.startswith(".") or not name else name for name in needed}
    assert needs(line) - ALWAYS == full
    assert needs(line) >= ALWAYS


@pytest.mark.parametrize(
    "line",
    [
        "%matplotlib inline",
        "x = (",
        "import ssl_theory.dynamic",
        "import ssl_theory.broken",
        "__import__('a')",
    ],
)
def test_what_cannot_be_read_depends_on_everything(needs: Needs, line: str) -> None:
    assert needs(line) >= EVERYTHING


@pytest.mark.parametrize(
    ("lines", "tables"),
    [
        (["x = 'images'"], set()),
        (["from ssl_theory import stored", "x = 'latents'"], {"latents"}),
        (["place = 'results'", "f'images-{place}.csv'"], {"images", "images-long"}),
        (["place = 'results'"], {"images", "images-long", "latents"}),
    ],
)
def test_stored_tables_are_inputs_of_those_who_read_them(
    needs: Needs, lines: list[str], tables: set[str]
) -> None:
    found = {name for name in needs(*lines) if name.startswith("results/")}
    assert found == {f"results/{name}.csv" for name in tables}


def test_who_reads_all_theorems_depends_on_all(needs: Needs) -> None:
    assert "theorems/two.toml" not in needs("from ssl_theory.theorems import Theorem")
    assert "theorems/two.toml" in needs("from ssl_theory.theorems import theorems")


@pytest.mark.parametrize(
    ("place", "matters"),
    [
        ("losses.py", True),
        ("deep/table.json", True),
        ("theorems/one.toml", True),
        ("theorems/two.toml", False),
        ("theorems/new.toml", False),
        ("alone.py", False),
        ("publishing/worker.py", True),
        ("publishing/cli.py", False),
    ],
)
def test_the_key_changes_with_what_is_needed_and_nothing_else(
    needs: Needs, tmp_path: Path, place: str, matters: bool
) -> None:
    needs("from ssl_theory.losses import f")
    chapter = Chapter("one", tmp_path / "book" / "part" / "one.ipynb", "part/one")
    before = inputs.key(chapter, {})
    assert inputs.key(chapter, {}) == before
    (tmp_path / "library" / place).write_text("from ssl_theory.deep import used  # longer", encoding="utf-8")
    assert (inputs.key(chapter, {}) != before) == matters


def test_the_key_changes_with_parameters_and_versions(needs: Needs, tmp_path: Path, monkeypatch) -> None:
    needs("1")
    chapter = Chapter("one", tmp_path / "book" / "part" / "one.ipynb", "part/one")
    before = inputs.key(chapter, {})
    assert inputs.key(chapter, {"seed": 1}) != before
    monkeypatch.setattr(inputs, "versions", lambda: {"torch": "next"})
    assert inputs.key(chapter, {}) != before


def test_versions_are_those_of_what_chapters_run_on() -> None:
    assert {"python", "torch", "numpy", "matplotlib", "scikit-learn"} <= set(inputs.versions())
    assert not {"jupyter-book", "pytest"} & set(inputs.versions())


BOOK = find_book(Path(__file__))


LOADED = """
import ast, importlib, json, os, sys
from contextlib import suppress

import matplotlib, numpy, pandas, torch  # which every chapter loads

for name, code in json.load(sys.stdin).items():
    if os.fork() == 0:
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("ssl_theory"):
                importlib.import_module(node.module)
                for alias in node.names:
                    with suppress(ModuleNotFoundError):
                        importlib.import_module(f"{node.module}.{alias.name}")
        print(json.dumps([name, [m for m in sys.modules if m.split(".")[0] == "ssl_theory"]]))
        break
    os.wait()
"""


def test_what_python_loads_for_a_chapter_is_among_its_inputs() -> None:
    """Interpreters without the library import its modules and say what came with them."""
    chapters = {name: BOOK.chapter(name) for name in ("gradient", "latents", "images")}
    codes = {}
    for name, chapter in chapters.items():
        cells = notebooks.read(chapter.path)["cells"]
        code = [notebooks.source(cell) for cell in cells if cell["cell_type"] == "code"]
        codes[name] = "\n".join(text for text in code if "%pip" not in text)
    done = subprocess.run(
        [sys.executable, "-c", LOADED], input=json.dumps(codes), capture_output=True, text=True, check=True
    )
    told = dict(json.loads(line) for line in done.stdout.splitlines())
    assert told.keys() == chapters.keys()
    for name, loaded in told.items():
        assert loaded
        assert set(loaded) <= set(inputs.inputs(chapters[name]))


def test_each_theorem_stands_in_the_file_of_its_chapter() -> None:
    for theorem in theorems().values():
        text = (inputs.PACKAGE / "theorems" / f"{theorem.chapter}.toml").read_text(encoding="utf-8")
        assert f'id = "{theorem.id}"' in text


def test_no_chapter_depends_on_the_whole_library() -> None:
    for chapter in BOOK.chapters().values():
        assert len([n for n in inputs.inputs(chapter) if n.startswith("ssl_theory")]) < len(inputs._modules())
