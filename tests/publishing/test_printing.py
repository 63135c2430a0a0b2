from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ssl_theory import __version__
from ssl_theory.publishing import printing
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.cli import main
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.printing import Front, find_browser, front, on_paper
from tests.publishing.books import write_book

BOOK = find_book(Path(__file__))


def test_paper_holds_the_chapters_in_order_and_no_tables_for_a_screen() -> None:
    parts = on_paper(BOOK)
    printed = [place for part in parts.values() for place in part]
    assert printed == [p for p in BOOK.files() if p in printed], "in the book's order"
    assert {chapter.place for chapter in BOOK.chapters().values()} < set(printed)
    left_out = {place for place in BOOK.files() if place not in printed}
    assert left_out == {p for p in BOOK.files() if p in ("ledger", "status") or p.startswith("api/")}


def test_a_book_without_parts_is_printed_too(tmp_path: Path) -> None:
    assert on_paper(write_book(tmp_path, {"one": ["1"]})) == {"": ["welcome"], "Chapters": ["one"]}


def test_the_title_page_names_version_and_content() -> None:
    first = front(BOOK, "0123456789")
    assert first.title == "The Theory of Contrastive Learning, Executed"
    assert first.lines[0] == f"Version {__version__}, content 0123456789"
    assert BOOK.repository is not None
    assert BOOK.repository.url in first.lines


def test_contents_lead_to_pages() -> None:
    first = Front("A & B", "Someone", ("Line",), {"": ["welcome"], "Part": ["one"]})
    shown = printing._front(first, {"welcome": ("Welcome", 1), "one": ("1. One", 5)})
    assert "<h1>A &amp; B</h1><p>Someone</p><p>Line</p>" in shown
    assert shown.count("paper-part") == 1
    assert '<a href="http://contents.invalid/1">1. One</a> <span>5</span>' in shown


def test_an_outline_that_does_not_fit_is_an_error() -> None:
    class Main:
        outline: Any = ("one", ["below"], "two")

        def get_destination_page_number(self, entry: str) -> int:
            return {"one": 0, "two": 4}[entry]

    assert printing._starts(Main(), ["a", "b"]) == {"a": 0, "b": 4}  # type: ignore[arg-type]
    with pytest.raises(BuildError, match="the outline of the PDF has 2 chapters and should have 1"):
        printing._starts(Main(), ["a"])  # type: ignore[arg-type]


def test_without_chromium_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"printing needs Chromium, and none of chromium, .* is on the path"):
        find_browser()
    write_book(tmp_path, {})
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "site.json").write_text('{"content": "0123456789abc"}', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["pdf"]) == 1
    assert capsys.readouterr().err.startswith("ssl-theory: printing needs Chromium")
    for damaged in ("{", "[]", "{}", '{"content": 3}'):
        (tmp_path / "build" / "site.json").write_text(damaged, encoding="utf-8")
        assert main(["pdf"]) == 1
        assert "site.json is damaged; build the book again: ssl-theory build\n" in capsys.readouterr().err


def test_without_pages_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_book(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    assert main(["pdf"]) == 2
    assert (
        capsys.readouterr().err
        == "ssl-theory: there are no pages yet; build the book first: ssl-theory build\n"
    )
    assert main(["figures"]) == 2
    assert "welcome.html is not there; build the book first: ssl-theory build\n" in capsys.readouterr().err
