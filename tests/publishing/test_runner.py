"""What runs again and what does not, with executions that only leave a note."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_theory.publishing import runner
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.runner import Runner
from tests.publishing.books import write_book, write_chapter

Names = Callable[..., list[str]]


@pytest.fixture
def chapters(tmp_path: Path) -> dict[str, Chapter]:
    return write_book(tmp_path, {"one": ["1"], "two": ["2"]}).chapters()


@pytest.fixture
def names(tmp_path: Path, chapters: dict[str, Chapter], monkeypatch: pytest.MonkeyPatch) -> Names:
    """Return a function that builds anew and returns the names of the chapters that ran."""
    ran: list[str] = []

    def note(chapter: Chapter, output: Path, parameters: object, *, seconds: int, threads: int) -> list[str]:
        ran.append(chapter.name)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("{}", encoding="utf-8")
        return []

    def build(force: bool = False, **parameters: object) -> list[str]:
        ran.clear()
        build = tmp_path / "build"
        build.mkdir(exist_ok=True)
        work = dict.fromkeys(chapters.values(), parameters)
        assert Runner(build, report=lambda line: None).run(work, jobs=2, force=force) == []
        return sorted(ran)

    monkeypatch.setattr(runner, "execute", note)
    assert build() == ["one", "two"]
    assert build() == []
    return build


def test_a_changed_chapter_runs_alone(names: Names, tmp_path: Path):
    write_chapter(tmp_path / "book", "one", ["1 + 1"])
    assert names() == ["one"]


def test_a_lost_output_is_made_again(names: Names, tmp_path: Path):
    (tmp_path / "build" / "executed" / "two.ipynb").unlink()
    assert names() == ["two"]


def test_what_a_killed_build_left_is_cleared(names: Names, tmp_path: Path):
    left = tmp_path / "build" / "executed" / "part" / ".running-x"
    left.mkdir(parents=True)
    (left / "draft.ipynb").write_text("half", encoding="utf-8")
    assert names() == []
    assert not left.exists()


def test_other_parameters_run_again_and_so_does_the_way_back(names: Names):
    assert names(seed=1) == ["one", "two"]
    assert names(seed=1) == []
    assert names() == ["one", "two"]


def test_everything_can_be_forced(names: Names):
    assert names(force=True) == ["one", "two"]


def test_a_stored_table_is_an_input(names: Names, tmp_path: Path):
    (tmp_path / "book" / "results").mkdir()
    (tmp_path / "book" / "results" / "table.csv").write_text("a,b\n", encoding="utf-8")
    assert names() == ["one", "two"]


def test_versions_are_an_input(names: Names, monkeypatch: pytest.MonkeyPatch):
    assert {"python", "torch", "numpy", "matplotlib", "scikit-learn"} <= set(runner.versions())
    assert "jupyter-book" not in runner.versions()
    monkeypatch.setattr(runner, "versions", lambda: {"torch": "next"})
    assert names() == ["one", "two"]


@pytest.mark.parametrize("text", ["", "[]", "not JSON", '{"one": {"when": 1}}'])
def test_a_record_that_cannot_be_read_is_written_anew(names: Names, tmp_path: Path, text: str):
    (tmp_path / "build" / "runs.json").write_text(text, encoding="utf-8")
    assert names() == ["one", "two"]
    assert names() == []


def test_the_library_is_an_input_but_how_it_is_published_is_not(
    tmp_path: Path, chapters: dict[str, Chapter], monkeypatch: pytest.MonkeyPatch
):
    library = tmp_path / "library"
    for place in ("losses.py", "hltm/tree.py", "theorems/one.toml", "publishing/cli.py"):
        (library / place).parent.mkdir(parents=True, exist_ok=True)
        (library / place).write_text("a", encoding="utf-8")
    monkeypatch.setattr(runner, "PACKAGE", library)

    def changes(place: str) -> bool:
        before = runner.key(chapters["one"], {})
        (library / place).write_text("b", encoding="utf-8")
        return runner.key(chapters["one"], {}) != before

    assert changes("losses.py")
    assert changes("hltm/tree.py")
    assert changes("theorems/one.toml")
    assert not changes("publishing/cli.py")
