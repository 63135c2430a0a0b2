"""What the build itself writes into the book, in a browser: from disk, by keyboard, without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from ssl_theory.publishing.api import ROOMS, Room, place
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.moved import moves
from tests.browser import told
from tests.test_site import SITE, browser, unavailable

__all__ = ["browser"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SHOWN = "[...document.querySelectorAll('tr[data-status]')].filter((e) => e.checkVisibility()).length"


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    if not (SITE / "index.html").is_file():
        unavailable("the book is not built: run `make book`")


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(offline=True) as context:
        yield context


def watched(context: BrowserContext) -> tuple[Page, list[str]]:
    page, problems = context.new_page(), list[str]()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda r: None if r.failure == "net::ERR_ABORTED" else problems.append(r.url))
    return page, problems


def test_the_book_opens_from_the_file_system(context: BrowserContext):
    page, problems = watched(context)
    page.goto((SITE / "index.html").as_uri())
    page.wait_for_url("**/welcome.html")
    chapter = next(path for path in sorted(SITE.glob("*/*.html")) if "ssl-control" in path.read_text("utf-8"))
    page.goto(chapter.as_uri())
    page.evaluate("MathJax.startup.promise")
    assert page.locator(".math").count() == page.locator(".math:has(mjx-container)").count() > 0
    assert page.evaluate("[...document.fonts].some((f) => /^MJX/.test(f.family) && f.status === 'loaded')")
    box = page.locator(".ssl-control:has(input[type=range])").first
    before = told(box)
    box.locator("input[type=range]").first.press("ArrowRight")
    assert told(box) != before
    page.goto((SITE / "search.html").as_uri() + "?q=covariance+operator")
    page.wait_for_function("document.querySelector('.search-summary')?.textContent.includes('found')")
    assert page.locator("#search-results li").count() > 3
    assert not problems


def test_the_ledger_is_filtered_by_keyboard(context: BrowserContext):
    page, problems = watched(context)
    page.goto((SITE / "ledger.html").as_uri())
    records = json.loads((SITE / "ledger.json").read_text(encoding="utf-8"))
    parts = page.locator("details.ledger-part")
    chapters = {record["chapter"] for record in records}
    assert (parts.count(), page.evaluate(SHOWN)) == (len(chapters), 0), "all are closed"
    for part in parts.all()[:2]:
        part.locator("> summary").click()
        assert page.evaluate(SHOWN) == part.locator("tr[data-status]").count() > 0
    choices = [box.get_attribute("value") for box in page.locator(".ledger-filter input").all()]
    page.locator(".ledger-filter input").first.focus()
    for _ in range(choices.index("fails")):
        page.keyboard.press("ArrowDown")
    failing = [record for record in records if record["status"].startswith("fails")]
    assert 0 < page.evaluate(SHOWN) == len(failing) < len(records)
    told = page.locator(".ledger-filter [role=status]").inner_text()
    assert told == f"{len(failing)} of {len(records)} checks are chosen."
    assert page.locator("details.ledger-part:visible").count() == len({r["chapter"] for r in failing})
    for _ in choices[choices.index("fails") :]:  # from the last choice to the first
        page.keyboard.press("ArrowDown")
    assert page.evaluate(SHOWN) == 0
    assert page.locator("details.ledger-part:visible").count() == len(chapters)
    page.goto((SITE / "ledger.html").as_uri() + "#check-t3-psd")
    page.wait_for_function("document.getElementById('check-t3-psd').checkVisibility()")
    assert not problems


def test_without_scripts_the_ledger_shows_all_and_no_filter(browser: Browser):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto((SITE / "ledger.html").as_uri())
        records = json.loads((SITE / "ledger.json").read_text(encoding="utf-8"))
        assert page.locator("tr[data-status]:visible").count() == len(records)
        assert not page.locator(".ledger-filter").is_visible()


def test_every_record_leads_to_the_line_that_shows_it():
    for record in json.loads((SITE / "ledger.json").read_text(encoding="utf-8")):
        name, _, anchor = record["page"].partition("#")
        text = (SITE / name).read_text(encoding="utf-8")
        assert text.count(f'id="{anchor}"') == 1, record["id"]
        line = re.search(rf'<p id="{anchor}" class="check">.*?</p>', text, re.S)
        assert line is not None
        assert record["id"] in line[0]


def test_the_map_leads_to_the_statements_and_shows_what_a_result_uses(context: BrowserContext):
    page, problems = watched(context)
    page.goto((SITE / "map.html").as_uri())
    box = page.locator(".main-map a[href$='#t3']")
    box.focus()
    near = page.locator(".main-map .arrow.near")
    assert near.count() > 2
    assert all(
        "T3" in (arrow.get_attribute("data-from") or "") + (arrow.get_attribute("data-to") or "")
        for arrow in near.all()
    )
    page.keyboard.press("Tab")
    assert not page.evaluate(
        "document.querySelector(\".main-map a[href$='#t3']\") === document.activeElement"
    )
    box.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/simple.html#t3")
    assert page.locator("#t3").is_visible()
    assert not problems


def test_old_addresses_lead_to_where_their_part_stands_now(context: BrowserContext):
    page = context.new_page()
    page.route("**/mathjax/**", lambda route: route.abort())  # takes seconds a page, and is not looked at
    moved = moves(find_book(SITE).folder)
    first = {old.partition("#")[0] + str("#" in old): old for old in moved}  # one of each page's parts
    for old in first.values():
        page.goto("about:blank")
        page.goto(f"{SITE.as_uri()}/{old}", wait_until="commit")
        page.wait_for_url(f"{SITE.as_uri()}/{moved[old]}", wait_until="domcontentloaded")
        part = moved[old].partition("#")[2]
        assert not part or page.locator(f"[id='{part}']").count() == 1, old


def test_times_stand_on_the_status_page_alone():
    told = (SITE / "status.html").read_text(encoding="utf-8").replace("\u2011", "-").replace("\xa0", " ")
    ran = set(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", told))
    assert ran
    for path in [*SITE.rglob("*.html"), *SITE.rglob("*.js"), SITE / "ledger.json"]:
        if path.name != "status.html":
            text = path.read_text(encoding="utf-8").replace("\u2011", "-")
            assert not any(moment in text or moment.replace(" ", "T") in text for moment in ran), path


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_the_reference_shows_what_a_room_holds(room: Room):
    assert '<dl class="py ' in (SITE / f"{place(room)}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
@pytest.mark.parametrize("place", ["welcome", "covariance/simple"])  # by hand, by the build, by a chapter
def test_a_figure_is_shown_and_loaded_in_the_colours_of_the_page_alone(
    context: BrowserContext, place: str, scheme: Literal["light", "dark"], other: Literal["light", "dark"]
):
    page, problems = watched(context)
    loaded = list[str]()
    page.on("requestfinished", lambda request: loaded.append(request.url))
    page.emulate_media(color_scheme=scheme)
    page.goto((SITE / f"{place}.html").as_uri())
    figures = page.locator("figure:has(img.only-light):visible")
    assert figures.count() > 1
    for figure in figures.all():
        image = figure.locator("img:visible")
        assert image.get_attribute("class") == f"only-{scheme}"
        image.scroll_into_view_if_needed()
        assert image.evaluate("(e) => e.decode().then(() => e.naturalWidth)") > 100
        assert figure.locator("figcaption").is_visible()
    shown = {url for url in loaded if "/_images/" in url}
    assert len(shown) == figures.count()
    assert all(url.endswith("-dark.svg") == (scheme == "dark") for url in shown)
    page.emulate_media(color_scheme=other)
    page.wait_for_function(f"document.documentElement.dataset.theme === '{other}'")
    assert figures.first.locator("img:visible").get_attribute("class") == f"only-{other}"
    assert not problems


def test_without_scripts_figures_are_light(browser: Browser):
    with browser.new_context(offline=True, java_script_enabled=False, color_scheme="dark") as context:
        page = context.new_page()
        page.goto((SITE / "covariance" / "simple.html").as_uri())
        assert page.locator("img.only-light:visible").count() == page.locator("img.only-light").count() > 1
        assert page.locator("img.only-dark:visible").count() == 0


def test_words_are_in_the_letters_that_the_book_carries(context: BrowserContext):
    page, problems = watched(context)
    page.goto((SITE / "covariance" / "simple.html").as_uri())
    page.evaluate("document.fonts.ready")
    faces = "[...document.fonts].filter((f) => f.family.includes('Inter') && f.status === 'loaded')"
    assert page.evaluate(f"{faces}.map((f) => f.weight + f.style).sort()") == [
        "600 700normal",
        "normalitalic",
        "normalnormal",
    ]
    for selector in ("main p", "h1", ".bd-sidebar-primary a", "figcaption", ".ssl-scene"):
        family = page.locator(selector).first.evaluate("(e) => getComputedStyle(e).fontFamily")
        assert family.startswith('"Inter of the book"')
    assert not problems
