"""Folded code, the names of theorems, the links in their boxes, and the notebooks that pages offer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.labels import labels
from ssl_theory.theorems import theorems
from tests.browser import DESK, serve
from tests.test_site import SITE, browser, unavailable

__all__ = ["browser"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

CHAPTERS = find_book(SITE).chapters()
FIRST, SECOND = (f"{CHAPTERS[name].place}.html" for name in ("simple", "losses"))
OPEN = "[...document.querySelectorAll('details.hide')].filter((fold) => fold.open).length"
ALL = "document.querySelectorAll('details.hide').length"
CUT = """[...document.querySelectorAll("details.hide pre")]
  .filter((pre) => pre.scrollWidth > pre.clientWidth + 1).map((pre) => pre.textContent.slice(0, 60))"""


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    if not (SITE / "index.html").is_file():
        unavailable("the book is not built: run `make book`")
    with serve(SITE) as address:
        yield address


@contextmanager
def without_formulas(browser: Browser) -> Iterator[Page]:
    """Open a page on which formulas stay as they are written: they take seconds, and are not looked at.

    Yields:
        The page.
    """
    with browser.new_context(viewport=DESK) as context:
        page = context.new_page()
        page.route("**/mathjax/**", lambda route: route.abort())
        yield page


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    with without_formulas(browser) as page:
        yield page


@pytest.fixture(scope="module")
def shared(browser: Browser) -> Iterator[Page]:
    with without_formulas(browser) as page:
        yield page


@pytest.fixture
def used(shared: Page) -> Iterator[Page]:
    """Yield a page that others use before and after; it remembers nothing of them."""
    yield shared
    shared.evaluate("localStorage.clear()")


@pytest.fixture
def page(blank: Page, base: str) -> Page:
    blank.goto(base + FIRST)
    return blank


def test_all_code_is_folded_behind_what_it_does(page: Page):
    assert page.evaluate(OPEN) == 0 < page.evaluate(ALL)
    told = page.locator("details.hide > summary").all_inner_texts()
    assert all(re.search(r"\w · \d+ lines?$", " ".join(line.split())) or " lines" in line for line in told)
    assert page.locator(".cell_input").count() == len(told), "none stays outside"
    pairs = "[...document.querySelectorAll('.cell')].filter((c) => !c.querySelector('.cell_output')"
    assert page.evaluate(f"{pairs} && c.nextElementSibling?.matches('.cell')).length") == 0


def test_a_switch_opens_all_code_and_is_remembered(page: Page, base: str):
    switch = page.get_by_role("button", name="Code", exact=True)
    assert switch.get_attribute("aria-pressed") == "false"
    switch.press("Enter")
    assert page.evaluate(OPEN) == page.evaluate(ALL)
    page.goto(base + SECOND)
    assert page.evaluate(OPEN) == page.evaluate(ALL) > 0
    page.get_by_role("button", name="Code", exact=True).click()
    assert page.evaluate(OPEN) == 0
    page.goto(base + FIRST)
    assert page.evaluate(OPEN) == 0
    page.goto(base + "glossary.html")
    assert page.locator(".code-switch").count() == 0, "where there is no code"


def test_a_link_to_a_check_opens_its_code(page: Page, base: str):
    page.locator(".chapter-facts").get_by_role("link", name="check", exact=True).click()
    assert page.evaluate(OPEN) == 1
    assert page.locator("#check-t3-operator").is_visible()
    page.goto(base + "ledger.html")
    page.goto(base + f"{FIRST}#code-t3")
    assert page.evaluate(OPEN) == 1
    assert page.locator(".cell:has(> #code-t3) pre").first.is_visible()


def test_code_opens_without_scripts(browser: Browser, base: str):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(base + FIRST)
        fold = page.locator("details.hide").first
        assert not fold.locator("pre").is_visible()
        fold.locator("summary").click()
        assert fold.locator("pre").is_visible()
        assert page.locator(".code-switch").count() == 0


def test_on_paper_code_is_shown_if_the_switch_is_on_and_not_at_all_otherwise(page: Page):
    page.locator("details.hide > summary").first.click()
    page.emulate_media(media="print")
    assert page.locator("details.hide:visible").count() == 0
    page.emulate_media(media="screen")
    page.get_by_role("button", name="Code", exact=True).click()
    page.emulate_media(media="print")
    assert page.locator("details.hide pre:visible").count() == page.evaluate(ALL)


BOXES = """(labels) => labels.map((label) => {
  const box = document.getElementById(label);
  const links = [...box.querySelectorAll(".relation p:nth-of-type(2) a")].map((link) => link.textContent);
  return [box.querySelector(".admonition-title").textContent, links.slice(0, 4).join(" ")];
})"""
SAID = """() => [...document.querySelectorAll("main a[href*='#']")]
  .map((link) => [link.hash.slice(1), link.textContent.trim()])"""


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_names_its_theorems_leads_on_and_cuts_no_code_off(used: Page, base: str, name: str):
    page = used
    page.goto(base + f"{CHAPTERS[name].place}.html")
    own = [theorem for theorem in theorems().values() if theorem.chapter == name]
    boxes = page.evaluate(BOXES, [theorem.label for theorem in own])
    for theorem, (title, links) in zip(own, boxes, strict=True):
        assert re.match(rf"\w+ {re.escape(theorem.id)} ", " ".join(title.split()))
        assert links == "proof check code re-run"
    facts = page.locator(".chapter-facts").inner_text()
    assert re.match(
        r"About \d+ minutes to read · holds: \d+ checks with their controls · proof · check", facts
    )
    labels = {theorem.label: theorem.id for theorem in theorems().values()}
    wrong = [
        text
        for label, text in page.evaluate(SAID)
        if label in labels and re.fullmatch(r"\w+ [\d.]+", text) and not text.endswith(labels[label])
    ]
    assert not wrong
    page.get_by_role("button", name="Code", exact=True).click()
    assert not page.evaluate(CUT)


PLACES = (
    (r"\(", r'id="equation-{}">\s*<span class="eqno">(\([\d.]+\))'),
    (r"Figure ", r'id="{}">(?:(?!id=).)*?caption-number">(.*?)</span'),
    (
        r"\w+ [A-Z\d][\w.-]*$",
        r'id="{}">\s*<p class="admonition-title"><span class="caption-number">(.*?)</span',
    ),
)


def test_notebooks_number_as_the_pages_do(base: str):
    book = find_book(SITE)
    pages = [(SITE / f"{c.place}.html").read_text(encoding="utf-8") for c in book.chapters().values()]
    text, compared = "\n".join(pages), 0
    for label, told in labels(book).items():
        pattern = next((p for start, p in PLACES if re.match(start, told)), None)
        found = re.search(pattern.format(re.escape(label)), text, re.S) if pattern and label else None
        if found:
            compared += 1
            assert found[1].strip() == told, label
    assert compared > 300


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_download_is_in_plain_markdown(base: str, name: str):
    cells = notebooks.read(SITE / "_sources" / f"{CHAPTERS[name].place}.ipynb")["cells"]
    prose = "\n\n".join(notebooks.source(cell) for cell in cells if cell["cell_type"] == "markdown")
    assert not re.search(r"\{[\w:]+\}`|^(?:`{3,}|:{3,})\{", prose, re.M)
    assert "> **" in prose
    assert any(cell.get("outputs") for cell in cells)


def test_pointing_at_a_link_shows_the_statement_or_the_term(page: Page, base: str):
    page.unroute_all()
    page.reload()
    box = page.locator(".preview")
    assert not box.is_visible()
    page.locator("main a[href$='gradient.html#t1']").first.hover()
    box.wait_for(state="visible")
    assert box.locator(".admonition-title").inner_text().startswith("Theorem T1 ")
    assert box.locator("mjx-container").count() > 0
    assert box.locator(".relation").count() == 0
    page.keyboard.press("Escape")
    assert not box.is_visible()
    page.locator("main a.term-link").first.focus()
    box.wait_for(state="visible")
    assert len(box.inner_text()) > 20
    page.locator("section > h1").hover()
    box.wait_for(state="hidden")
    page.locator("main a[href$='gradient.html#t1']").first.dispatch_event(
        "pointerover", {"pointerType": "touch", "bubbles": True}
    )
    page.wait_for_timeout(600)
    assert not box.is_visible(), "a tap follows the link"


def test_a_statement_has_a_link_to_copy_and_an_entry_for_bibtex(blank: Page, base: str):
    page = blank
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=base)
    page.goto(base + FIRST)
    box = page.locator("#t3 .relation")
    box.get_by_role("link", name="link", exact=True).press("Enter")
    box.get_by_text("address copied").wait_for()
    read = "navigator.clipboard.readText()"
    assert page.evaluate(read) == page.url == f"{base}{FIRST}#t3"
    fold = box.locator("details.cite")
    assert not fold.locator("pre").is_visible()
    fold.locator("summary").press("Enter")
    button = fold.get_by_role("button", name="Copy the entry for BibTeX: cite Theorem T3")
    button.press("Enter")
    box.get_by_text("entry copied").wait_for()
    stamp = re.search(
        r"Version \S+, content [0-9a-f]{10}",
        page.locator(".extra_footer").inner_text(),
    )
    assert stamp is not None
    entry = page.evaluate(read)
    assert entry.startswith("@misc{ssl-theory-t3,")
    assert "{Theorem T3: " in entry
    assert stamp[0] in entry


def test_the_entry_for_bibtex_opens_without_scripts(browser: Browser, base: str):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(base + FIRST)
        fold = page.locator("#t3 details.cite")
        fold.locator("summary").click()
        assert fold.locator("pre").inner_text().startswith("@misc{ssl-theory-t3,")
        assert page.locator("#t3 .copy-link").get_attribute("href") == "#t3"


def test_every_page_carries_version_and_content(base: str):
    shown = set()
    for path in SITE.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if 'class="bd-article' in text:
            found = re.search(r"Version ([\d.]+\S*), content ([0-9a-f]{10})\.</p>", text)
            assert found is not None, path
            shown.add(found.groups())
    assert len(shown) == 1


@pytest.mark.parametrize(
    ("words", "chapter"),
    [
        ("covariance operator", "simple"),
        ("lucky neurons", "lucky"),
        ("own temperature", "weak"),
        ("spectral contrastive loss", "pairs"),
        ("biases", "gradient"),
    ],
)
def test_search_puts_the_chapter_of_the_theorem_first_and_shows_prose(
    used: Page, base: str, words: str, chapter: str
):
    page = used
    page.goto(f"{base}search.html?q={words.replace(' ', '+')}")
    page.wait_for_function("document.querySelector('.search-summary')?.textContent.includes('found')")
    first = page.locator("#search-results li").first
    assert CHAPTERS[chapter].title in first.inner_text()
    page.wait_for_function("document.querySelectorAll('#search-results .context').length > 3")
    shown = page.locator("#search-results .context").all_inner_texts()
    assert not [told for told in shown if re.search(r"import |\\\(|\bContents\b", told)]
    titles = page.locator("#search-results li > a").all_inner_texts()
    assert not [title for title in titles if "> (" in title.replace("\u00a0", " ")]
