"""The whole book as one PDF: title, contents, chapters and reading aids, printed by Chromium.

Formulas that are wider than the paper shrink until they fit. Controls show the position in which they start,
folded code is left out, and solutions stand open behind their exercises.
"""

from __future__ import annotations

import html
import logging
import mimetypes
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import yaml

from ssl_theory import __version__
from ssl_theory.publishing.catalogue import Book
from ssl_theory.publishing.composed import article, shell, title, within
from ssl_theory.publishing.errors import BuildError

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route
    from pypdf import PdfReader, PdfWriter

__all__ = ["Front", "find_browser", "front", "on_paper", "pdf"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LEFT_OUT = re.compile(r"ledger|status|api/.*")  # tables for a screen
HOME = "http://book.invalid/"  # answered from the files of the built pages
CONTENTS = "http://contents.invalid/"  # followed by the place of a page in the contents
SCALE, MARGINS, WIDTH = 0.82, {"top": "18mm", "bottom": "20mm", "left": "20mm", "right": "20mm"}, 783
STILL = re.compile(r"<noscript>.*?</noscript>", re.S)  # pictures for want of scripts, which run here
FOOT = '<div style="font: 9px sans-serif; width: 100%; text-align: center">{}</div>'

# Makes the page ready for paper, and returns its headings.
READY = """async () => {
  for (const e of document.querySelectorAll("details:not(.hide, .cite)")) e.open = true;
  for (const e of document.querySelectorAll("section[id$='--open-this-chapter']")) e.remove();
  for (const e of document.querySelectorAll("img.only-dark")) e.remove();
  for (const e of document.images) e.loading = "eager";
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  await Promise.all([...document.images].map((e) => e.decode().catch(() => {})));
  for (const e of document.querySelectorAll("mjx-container[display='true']")) {
    const beyond = e.scrollWidth / e.clientWidth;
    if (beyond > 1) e.style.fontSize = `${94 / beyond}%`;
  }
  const words = (e) => [...e.childNodes].filter((n) => !n.matches?.(".headerlink")).map((n) => n.textContent);
  return [...document.querySelectorAll("h1, h2, h3, h4")].map((e) => words(e).join("").trim());
}"""


@dataclass(frozen=True)
class Front:
    """What stands before the first chapter.

    Attributes:
        title: The book's title.
        author: Who wrote it.
        lines: What the title page says below them.
        parts: The captions of the book's parts, each with the places of its pages, in their order.
    """

    title: str
    author: str
    lines: tuple[str, ...]
    parts: Mapping[str, Sequence[str]]


def front(book: Book, content: str) -> Front:
    """Return what the whole book's PDF begins with.

    Args:
        book: A checkout.
        content: The hash of the content of the built pages.
    """
    config = yaml.safe_load((book.require_checkout() / "_config.yml").read_text(encoding="utf-8"))
    home = book.repository
    lines = [
        f"Version {__version__}, content {content}",
        "A companion to “Understanding Self-supervised Learning with Dual Deep Networks”, arXiv:2010.00578",
        "Controls show the position in which they start. Code, the ledger of all checks and the reference of "
        "the library are in the pages that make book builds.",
        *([home.url] if home else []),
        "Code under BSD-3-Clause, text and figures under CC BY 4.0",
    ]
    return Front(str(config["title"]), str(config.get("author", "")), tuple(lines), on_paper(book))


def find_browser() -> str:
    """Return the path of a Chromium.

    Raises:
        BuildError: If this machine has none.
    """
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        raise BuildError(f"printing needs Chromium, and none of {', '.join(BROWSERS)} is on the path")
    return found


def on_paper(book: Book) -> dict[str, list[str]]:
    """Return the places of the pages that are printed, by the caption of their part, in the book's order."""
    toc = book.toc
    parts: dict[str, list[str]] = {"": [str(toc["root"])]}
    for part in toc.get("parts", [{"caption": "Chapters", "chapters": toc.get("chapters", [])}]):
        places = [str(chapter["file"]) for chapter in part.get("chapters", [])]
        parts[str(part.get("caption", ""))] = [p for p in places if not LEFT_OUT.fullmatch(p)]
    return parts


def pdf(site: Path, front: Front, target: Path) -> int:
    """Print built pages with a title page and contents.

    Args:
        site: The folder of the built pages.
        front: What stands before them, and which there are.
        target: The PDF.

    Returns:
        The number of pages.

    Raises:
        BuildError: If there is no Chromium, or the pages do not begin where their headings are.
        UsageError: If the book is not built.
    """
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of how Chromium counts objects
    browser = find_browser()
    places = [place for part in front.parts.values() for place in part]
    articles = {place: article(site, place) for place in places}
    named = {place: title(text) or place for place, text in articles.items()}
    prefixes = {place: f"{place.replace('/', '-')}--" for place in places}
    texts = {place: within(STILL.sub("", text), place, prefixes) for place, text in articles.items()}
    body = "\n".join(
        f'<article class="bd-article" id="{prefixes[place]}">{text}</article>'
        for place, text in texts.items()
    )
    with _browsing(browser, site) as page:
        data, headings = _printed(page, shell(site, front.title, _paper(body)), numbered=True)
        main = PdfReader(BytesIO(data))
        starts = _starts(main, places)
        told = _front(front, {place: (named[place], starts[place] + 1) for place in places})
        data, _ = _printed(page, shell(site, front.title, _paper(told)), numbered=False)
    joined = _joined(PdfReader(BytesIO(data)), main, [starts[place] for place in places])
    _name(joined, headings)
    joined.metadata = {"/Title": front.title, "/Author": front.author, "/Subject": " ".join(front.lines[:1])}
    target.parent.mkdir(parents=True, exist_ok=True)
    joined.write(target)
    return len(joined.pages)


def _paper(body: str) -> str:
    return f'<main class="paper">\n{body}\n</main>'


@contextmanager
def _browsing(browser: str, site: Path) -> Iterator[Page]:
    """Open a browser that sees the files of the site and nothing else.

    Yields:
        A page of the width of paper.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=browser, args=["--headless", "--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            page = running.new_page(viewport={"width": WIDTH, "height": 1100})
            page.set_default_timeout(600_000)
            page.route("**/*", lambda route: _answer(route, site))
            page.emulate_media(media="print", color_scheme="light")
            yield page
        finally:
            running.close()


def _answer(route: Route, site: Path) -> None:
    path = site / unquote(urlsplit(route.request.url).path).lstrip("/")
    if route.request.url.startswith(HOME) and path.is_file():
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        route.fulfill(body=path.read_bytes(), content_type=kind)
    else:
        route.abort()


def _printed(page: Page, text: str, *, numbered: bool) -> tuple[bytes, list[str]]:
    """Return a PDF of HTML, and its headings."""
    page.route(f"{HOME}index.html", lambda route: route.fulfill(body=text, content_type="text/html"))
    page.goto(f"{HOME}index.html", wait_until="load")
    headings: list[str] = page.evaluate(READY)
    data = page.pdf(
        format="A4",
        scale=SCALE,
        margin=MARGINS,  # type: ignore[arg-type]
        print_background=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=FOOT.format('<span class="pageNumber"></span>' if numbered else ""),
        outline=numbered,
        tagged=True,
    )
    return data, headings


def _starts(main: PdfReader, places: Sequence[str]) -> dict[str, int]:
    """Return the page on which each part of the text begins, from 0, as the outline says."""
    tops = [entry for entry in main.outline if not isinstance(entry, list)]
    if len(tops) != len(places):
        raise BuildError(f"the outline of the PDF has {len(tops)} chapters and should have {len(places)}")
    return {
        place: int(main.get_destination_page_number(top) or 0)
        for place, top in zip(places, tops, strict=True)
    }


def _front(front: Front, known: Mapping[str, tuple[str, int]]) -> str:
    """Return title page and contents; each row leads to an address that stands for a page."""
    order = {place: number for number, place in enumerate(known)}
    rows = []
    for caption, places in front.parts.items():
        rows += [f'<p class="paper-part">{html.escape(caption)}</p>'] if caption else []
        for place in places:
            title, number = known[place]
            rows.append(
                f'<p class="paper-row"><a href="{CONTENTS}{order[place]}">{html.escape(title)}</a> '
                f"<span>{number}</span></p>"
            )
    lines = "".join(f"<p>{line}</p>" for line in map(html.escape, front.lines))
    return (
        f'<article class="bd-article paper-title"><h1>{html.escape(front.title)}</h1>'
        f"<p>{html.escape(front.author)}</p>{lines}</article>\n"
        f'<article class="bd-article"><h1>Contents</h1>{"".join(rows)}</article>'
    )


def _joined(first: PdfReader, main: PdfReader, starts: Sequence[int]) -> PdfWriter:
    """Return both in one, with roman numbers for the first pages, whose rows lead to the chapters."""
    from pypdf import PdfWriter
    from pypdf.constants import PageLabelStyle
    from pypdf.generic import ArrayObject, DictionaryObject, NameObject

    both, count = PdfWriter(clone_from=main), len(first.pages)
    both.merge(0, first, import_outline=False)
    for page in both.pages[:count]:
        for link in page.annotations or []:
            action = link.get_object().get("/A", {}).get_object()
            address = str(action.get("/URI", ""))
            if address.startswith(CONTENTS):
                there = both.pages[count + starts[int(address.removeprefix(CONTENTS))]].indirect_reference
                to = {
                    NameObject("/S"): NameObject("/GoTo"),
                    NameObject(PageLabelStyle.DECIMAL): ArrayObject([there, NameObject("/Fit")]),
                }
                link.get_object()[NameObject("/A")] = DictionaryObject(to)
    both.set_page_label(0, count - 1, PageLabelStyle.LOWERCASE_ROMAN)
    both.set_page_label(count, len(both.pages) - 1, PageLabelStyle.DECIMAL)
    return both


def _name(book: PdfWriter, headings: Sequence[str]) -> None:
    """Give the entries of the outline the words of their headings; Chromium joins those of two lines."""
    from pypdf.generic import NameObject, TextStringObject

    words = {"".join(heading.split()): " ".join(heading.split()) for heading in headings}
    waiting = [book.get_outline_root().get("/First")]
    while waiting:
        entry = waiting.pop()
        if entry is not None:
            shown = entry.get_object()
            said = str(shown["/Title"])
            shown[NameObject("/Title")] = TextStringObject(words.get("".join(said.split()), said.strip()))
            waiting += [shown.get("/Next"), shown.get("/First")]
