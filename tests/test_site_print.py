"""The book on paper, two pages of it, and the sheet of all figures."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from pypdf import PdfReader

from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.composed import article, title
from ssl_theory.publishing.figure_sheet import figure_sheet
from ssl_theory.publishing.printing import Front, pdf
from tests.browser import find_browser
from tests.test_site import SITE, browser, unavailable

__all__ = ["browser"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    if find_browser() is None:
        unavailable("no Chromium on this machine")
    if not (SITE / "index.html").is_file():
        unavailable("the book is not built: run `make book`")


def test_two_pages_become_a_pdf_with_contents_and_an_outline(tmp_path: Path):
    target, parts = tmp_path / "two.pdf", {"": ["limits"], "Chapters": ["practice/explains"]}
    count = pdf(SITE, Front("A book", "Someone", ("Version 1",), parts), target)
    book = PdfReader(target)
    assert len(book.pages) == count > 4
    assert book.metadata is not None
    assert (book.metadata.title, book.metadata.author) == ("A book", "Someone")
    names = [title(article(SITE, place)) for part in parts.values() for place in part]
    tops = [entry for entry in book.outline if not isinstance(entry, list)]
    assert [entry.title for entry in tops] == names
    starts = [book.get_destination_page_number(entry) for entry in tops]
    assert book.page_labels[:3] == ["i", "ii", "1"]
    assert starts[0] == 2
    contents = book.pages[1].extract_text()
    for name, start in zip(names, starts, strict=True):
        assert name in contents
        assert book.page_labels[start] in contents
        assert name in " ".join(book.pages[start].extract_text().split())
    to = [link.get_object()["/A"]["/D"][0].get_object() for link in book.pages[1].annotations or []]
    assert [page["/Contents"] for page in to] == [book.pages[start]["/Contents"] for start in starts]
    text = "".join(page.extract_text() for page in book.pages)
    assert "Open this chapter" not in text
    assert "lines" not in text.split()


def test_the_sheet_shows_all_figures(browser: Browser, tmp_path: Path):
    chapters = [chapter.place for chapter in find_book(SITE).chapters().values()][:3]
    text, count = figure_sheet(SITE, chapters, SITE.as_uri() + "/")
    (tmp_path / "figures.html").write_text(text, encoding="utf-8")
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.goto((tmp_path / "figures.html").as_uri())
        assert page.locator(".sheet figure").count() == count > 6
        page.wait_for_function(
            "[...document.querySelectorAll('.ssl-scene')].every((e) => e.querySelector('svg'))"
        )
        assert page.evaluate("[...document.images].every((e) => e.complete && e.naturalWidth)")
