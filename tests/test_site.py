"""The built book in a browser with the network switched off, page by page."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from ssl_theory.theorems import theorems
from tests.browser import (
    Visit,
    broken_links,
    files,
    find_browser,
    launch,
    own_weight,
    pages,
    serve,
    told,
    visit,
)

SITE = Path(__file__).parents[1] / "build" / "_build" / "html"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]  # the tour of all pages is one fixture


def unavailable(reason: str) -> None:
    """Skip, or fail where the whole machinery is known to be installed."""
    if os.environ.get("SSL_THEORY_CI") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = find_browser()
    if executable is None:
        unavailable("no Chromium on this machine")
        return
    with launch(executable) as browser:
        yield browser


@pytest.fixture(scope="module")
def visits(browser: Browser) -> list[Visit]:
    if not (SITE / "index.html").is_file():
        unavailable("the book is not built: run `make book`")
    return tour(browser, SITE)


def tour(browser: Browser, folder: Path, patience: int = 5000) -> list[Visit]:
    """Return what each page of a site showed, the links that lead nowhere among it."""
    found = []
    with serve(folder) as base, browser.new_context(service_workers="block") as context:
        page = context.new_page()
        for name in pages(folder):
            found.append(visit(page, base, name, patience))
            found[-1].seen["broken_links"] = broken_links(folder, base, found[-1])
            found[-1].seen["own_weight"] = own_weight(folder, base, found[-1])
            found[-1].seen["files"] = files(folder, base, found[-1])
    return found


# Each property names what is wrong with a page; nothing is wrong with a good one.
MAX_OWN_BYTES = 1_500_000
MAX_SHARED_BYTES = 1_200_000  # gzipped

PROPERTIES: dict[str, Callable[[Visit], object]] = {
    "no error in the console": lambda v: v.problems,
    "no request leaves the site": lambda v: v.outside,
    "every formula is typeset": lambda v: v.seen["untypeset"],
    "no formula has an error": lambda v: v.seen["tex_errors"],
    "no markup is left raw": lambda v: v.seen["raw"],
    "every image has alternative text": lambda v: v.seen["without_alt"],
    "every image loads": lambda v: v.seen["broken_images"],
    "every figure has a caption": lambda v: v.seen["without_caption"],
    "every caption has a number": lambda v: v.seen["without_number"],
    "every output picture is a figure": lambda v: v.seen["outside_figures"],
    "no traceback and no warning in the outputs": lambda v: v.seen["tracebacks"],
    "every internal link resolves": lambda v: v.seen["broken_links"],
    "every slider moves its picture": lambda v: [wrong for wrong in v.controls if wrong],
    "every word stands out from its ground": lambda v: v.faint,
    "nothing keeps a reader out, by axe-core's rules": lambda v: v.barriers,
    "all that scrolls sideways can be focused": lambda v: v.stuck,
    "a formula wider than its column says so": lambda v: v.cut,
    "its own files are light": lambda v: (v.seen["own_weight"] > MAX_OWN_BYTES) * v.seen["own_weight"],
    "nothing is wider than a phone": lambda v: v.overflow if v.overflow > 0 else 0,
    "the light page is light and not blank": lambda v: (
        not (v.brightness["light"] > 170 and v.contrast["light"] > 8)
    ),
    "the dark page is dark and not blank": lambda v: (
        not (v.brightness["dark"] < 110 and v.contrast["dark"] > 8)
    ),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_page_is_sound(visits: list[Visit], name: str):
    wrong = {v.page: PROPERTIES[name](v) for v in visits}
    assert not {page: what for page, what in wrong.items() if what}


def test_the_tour_saw_the_whole_book(visits: list[Visit]):
    seen = {v.page for v in visits}
    assert {"welcome.html", "notation.html", "ledger.html", "references.html"} <= seen
    chapters = {
        path.relative_to(SITE.parents[1] / "book").with_suffix(".html").as_posix()
        for path in (SITE.parents[1] / "book").rglob("*.ipynb")
    }
    assert chapters
    assert chapters <= seen
    for found in visits:
        if found.page in chapters:
            assert found.seen["formulas"], f"{found.page} has no formula"
            assert found.controls, f"{found.page} has no control"
            assert found.seen["images"], f"{found.page} has no picture"


def test_shared_files_are_few_and_the_same_everywhere(visits: list[Visit]):
    shared = {v.page: {f for f in v.seen["files"] if "_static" in f.parts} for v in visits}
    packed = {f: len(gzip.compress(f.read_bytes(), mtime=0)) for f in set().union(*shared.values())}
    assert sum(packed.values()) < MAX_SHARED_BYTES, sorted(packed.items(), key=lambda item: -item[1])[:8]
    loads = {
        page: {f.name for f in fs if f.suffix in (".js", ".css")}
        for page, fs in shared.items()
        if page != "search.html"
    }
    assert len({frozenset(names) for names in loads.values()}) <= 2, loads  # with formulas and without


FIND = """(words) => {
  const [, terms, left_out, highlight, objects] = Search._parseQuery(words);
  return Search._performSearch(words, terms, left_out, highlight, objects).map((hit) => hit[0]);
}"""


def test_search_finds_every_theorem_by_its_name(browser: Browser, visits: list[Visit]):
    places = {Path(v.page).stem: v.page.removesuffix(".html") for v in visits}
    with serve(SITE) as base, browser.new_context() as context:
        page = context.new_page()
        page.goto(base + "search.html?q=operator")
        page.wait_for_selector("#search-results li")
        lost = {
            theorem.id: theorem.title
            for theorem in theorems().values()
            if places[theorem.chapter] not in page.evaluate(FIND, theorem.title)
        }
        assert not page.evaluate(FIND, "a sentence that stands nowhere in this book zzyzx")
    assert not lost


@pytest.mark.parametrize("name", ["T5.collapse", "T3", "T7.best", "The best correlation"])
def test_search_puts_the_chapter_of_a_theorem_first(name: str, browser: Browser, visits: list[Visit]):
    places = {Path(v.page).stem: v.page for v in visits}
    stated = {t.id: t.chapter for t in theorems().values()} | {
        t.title: t.chapter for t in theorems().values()
    }
    with serve(SITE) as base, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{base}search.html?q={name}")
        first = page.locator("#search-results li a").first
        first.wait_for()
        page.wait_for_function("!document.getElementById('search-progress')?.textContent?.endsWith('..')")
        assert places[stated[name]] in (first.get_attribute("href") or "")


def test_pages_open_from_the_file_system(browser: Browser, visits: list[Visit]):
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.goto((SITE / "index.html").as_uri())
        page.wait_for_url("**/welcome.html")
        chapter = next(v for v in visits if v.controls and v.seen["formulas"])
        page.goto((SITE / chapter.page).as_uri())
        page.wait_for_selector(".math mjx-container", state="attached")
        box = page.locator(".ssl-control:has(input[type=range])").first
        before = told(box)
        box.locator("input[type=range]").first.press("ArrowRight")
        assert told(box) != before
        page.goto((SITE / "search.html").as_uri() + "?q=operator")
        page.wait_for_selector("#search-results li")


def test_front_door_leads_to_the_welcome_page(browser: Browser, visits: list[Visit]):
    with serve(SITE) as base, browser.new_context() as context:
        page = context.new_page()
        page.goto(base)
        page.wait_for_url(base + "welcome.html")


def test_every_control_shows_a_picture_without_scripts(browser: Browser, visits: list[Visit]):
    with serve(SITE) as base, browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        for page_name in [v.page for v in visits if v.controls]:
            page.goto(base + page_name)
            for box in page.locator(".ssl-control").all():
                pictures = box.locator("img").all()
                assert pictures, page_name
                assert all(picture.is_visible() and picture.get_attribute("alt") for picture in pictures)
                assert not box.locator("input").first.is_visible()


# What the script of the book does for a control, in small.
MOVES = """<script>addEventListener("input", ({target}) => {
  const box = target.closest(".ssl-control"), scene = box.querySelector(".ssl-scene"), k = target.value;
  const text = JSON.parse(target.dataset.texts)[k];
  target.setAttribute("aria-valuetext", text);
  box.querySelector("output").textContent = text;
  scene.setAttribute("aria-label", JSON.parse(scene.dataset.told)[k]);
  scene.textContent = "one two".split(" ")[k];
});</script>"""


def control(script: str, alt: str = "two", value: str = "b") -> str:
    """Return a control of two scenes that works if the script does."""
    return (
        '<figure class="ssl-control"><label>slide'
        f'<input type="range" max="1" value="0" aria-valuetext="a" data-texts=\'["a", "{value}"]\'>'
        f'<output>a</output></label><div class="ssl-scene" role="img" aria-label="one" '
        f'data-told=\'["one", "{alt}"]\'>one</div><figcaption>It moves.</figcaption>{script}</figure>'
    )


GOOD = (
    "<h1>A page</h1><p>" + "Some words to read. " * 400 + "</p>"
    '<p id="here"><a href="index.html#here">here</a> <a href="https://example.org/">elsewhere</a></p>'
    f'<figure><img src="{PIXEL}" alt="a pixel"><figcaption><span class="caption-number">Figure 1</span>'
    ' A pixel.</figcaption></figure><span class="math"><mjx-container>x</mjx-container></span>'
    + control(MOVES)
)
CONSOLE, OUTSIDE, RAW = "no error in the console", "no request leaves the site", "no markup is left raw"
LINK, SLIDER = "every internal link resolves", "every slider moves its picture"
LIGHT, DARK = "the light page is light and not blank", "the dark page is dark and not blank"
FAINT = "every word stands out from its ground"
FAULTY_PAGES = [
    {
        CONSOLE: "<script>throw new Error('on purpose')</script>",
        "every formula is typeset": '<span class="math">x</span>',
        "no formula has an error": '<mjx-merror data-mjx-error="Undefined control sequence">x</mjx-merror>',
        RAW: "<p>so $$x = 1$$ holds</p>",
        "every image has alternative text": f'<img src="{PIXEL}">',
        "every image loads": '<img src="data:image/png;base64,AAAA" alt="nothing">',
        "every output picture is a figure": f'<div class="cell_output"><img src="{PIXEL}" alt="a"></div>',
        "no traceback and no warning in the outputs": '<div class="output traceback">ValueError</div>',
        LINK: '<a href="missing.html">there</a>',
        SLIDER: control(MOVES, alt="one"),
        "nothing is wider than a phone": '<pre style="width: 900px">wide</pre>',
        "nothing keeps a reader out, by axe-core's rules": "<button></button>",
        "its own files are light": f"<!-- {' ' * MAX_OWN_BYTES} -->",
        LIGHT: "<style>html { background: #111; color: #eee }</style>",
        FAINT: '<p style="color: #777; background: #888">faint</p>',
    },
    {
        CONSOLE: '<link rel="stylesheet" href="missing.css">',
        RAW: "<p>by (???) it holds</p>",
        "a formula wider than its column says so": (
            '<p><mjx-container display="true" style="display: block; overflow-x: auto" tabindex="0">'
            '<span style="display: block; width: 1900px">x</span></mjx-container></p>'
        ),
        "all that scrolls sideways can be focused": (
            '<div style="overflow-x: auto"><p style="width: 900px">wide</p></div>'
        ),
        "every figure has a caption": f'<figure><img src="{PIXEL}" alt="a"></figure>',
        LINK: '<a href="#nowhere">there</a>',
        SLIDER: control(MOVES, value="a"),
        DARK: "<style>html { background: #fff !important }</style>",
        FAINT: "",  # light words of the dark scheme on it
    },
    {
        OUTSIDE: '<link rel="stylesheet" href="http://127.0.0.2:1/fonts.css">',
        CONSOLE: "",  # Chromium reports the blocked request there, too
        RAW: "<p>by \\(x\\) it holds</p>",
        "every caption has a number": (
            f'<figure><img src="{PIXEL}" alt="a"><figcaption>A.</figcaption></figure>'
        ),
    },
    {
        CONSOLE: "<script>console.error('on purpose')</script>",
        "nothing keeps a reader out, by axe-core's rules": (
            '<p>Words of a text, <a href="#here" style="text-decoration: none">a link</a>, and words.</p>'
        ),
        SLIDER: "<script>addEventListener('input', (e) => e.stopImmediatePropagation(), true)</script>",
    },
    {LIGHT: "<style>body { display: none }</style>", DARK: "", SLIDER: ""},
]


def found_wrong(browser: Browser, folder: Path, body: str) -> set[str]:
    """Return the properties that a page of one's own lacks."""
    (folder / "index.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,">'
        '<meta name="viewport" content="width=device-width"><title>A page</title>'
        f"<style>:root {{ color-scheme: light dark }}</style><main>{body}</main></html>",
        encoding="utf-8",
    )
    (found,) = tour(browser, folder, patience=200)
    return {name for name, wrong in PROPERTIES.items() if wrong(found)}


def test_a_good_page_has_nothing_wrong(browser: Browser, tmp_path: Path):
    assert found_wrong(browser, tmp_path, GOOD) == set()


@pytest.mark.parametrize("faults", FAULTY_PAGES)
def test_faults_are_seen(browser: Browser, tmp_path: Path, faults: dict[str, str]):
    assert found_wrong(browser, tmp_path, GOOD + "".join(faults.values())) == set(faults)


def test_every_property_has_a_fault():
    assert set().union(*FAULTY_PAGES) == set(PROPERTIES)
