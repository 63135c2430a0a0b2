"""Drives headless Chromium over a built site, cut off from every other machine, and notes what it finds."""

from __future__ import annotations

import functools
import io
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import lxml.html
import numpy as np
from axe_playwright_python.base import AXE_FILE_PATH
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from playwright.sync_api import TimeoutError as TimedOut

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1300, "height": 900}

_LOOK, _FAINT = (
    (Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("look.js", "contrast.js")
)

_AXE = Path(AXE_FILE_PATH).read_text(encoding="utf-8")

# The insides of formulas and of code, a hundred thousand elements without a role.
_STRIP = """() => {
  document.querySelectorAll("mjx-container").forEach((e) => e.replaceWith("a formula"));
  document.querySelectorAll("pre").forEach((e) => e.replaceChildren(e.textContent));
}"""

# What axe-core calls serious or critical. Its own look at colours is left out: contrast.js looks at both
# schemes, and links in a text must differ from it by more than their colour. Two slow rules are moderate.
_BARRIERS = """async () => {
  const off = (...names) => Object.fromEntries(names.map((name) => [name, {enabled: false}]));
  const rules = off("color-contrast", "page-has-heading-one", "region"), checks = off("link-in-text-block");
  const found = await axe.run({preload: false, resultTypes: ["violations"], rules, checks});
  return found.violations
    .filter((v) => ["serious", "critical"].includes(v.impact))
    .map((v) => `${v.id}: ${v.nodes.length} times, as in ${v.nodes[0].html.slice(0, 120)}`);
}"""

_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

_STUCK = """() => [...document.querySelectorAll("main *")]
  .filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth && e.tabIndex < 0)
  .filter((e) => !e.querySelector("a[href], button, input"))  // which bring the reader along
  .filter((e) => ["auto", "scroll"].includes(getComputedStyle(e).overflowX))
  .map((e) => e.outerHTML.slice(0, 120))"""

# Formulas that go on beyond their column without a hint.
_CUT = """() => [...document.querySelectorAll('main mjx-container[display="true"]')]
  .filter((e) => e.scrollWidth > e.clientWidth + 1 && !e.classList.contains("wide"))
  .map((e) => e.parentElement.id || e.textContent.slice(0, 60))"""

# What a control shows: the pictures that are visible, a scene as its markup, and the value of each slider.
_STATE = """(box) => {
  const shown = [...box.querySelectorAll("img, .ssl-scene")].filter((e) => e.getClientRects().length);
  return {
    picture: shown.map((e) => e.src || e.innerHTML),
    "alternative text": shown.map((e) => e.alt || e.getAttribute("aria-label")),
    "spoken value": [...box.querySelectorAll("[type=range]")].map((e) => e.getAttribute("aria-valuetext")),
    "written value": [...box.querySelectorAll("output")].map((e) => e.textContent),
  };
}"""


def find_browser() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@dataclass
class Visit:
    """What one page showed."""

    page: str
    seen: dict[str, Any]
    problems: list[str] = field(default_factory=list)  # console errors, exceptions, failed responses
    outside: list[str] = field(default_factory=list)  # requests that left the site
    controls: list[str] = field(
        default_factory=list
    )  # what went wrong with a control; one "" each if nothing
    overflow: int = 0  # pixels by which the page is wider than a phone
    brightness: dict[str, float] = field(default_factory=dict)  # mean in [0, 255], by colour scheme
    contrast: dict[str, float] = field(default_factory=dict)  # standard deviation, by colour scheme
    faint: list[str] = field(default_factory=list)  # words too close in colour to their ground
    cut: list[str] = field(default_factory=list)  # formulas cut off without a hint, at either width
    stuck: list[str] = field(default_factory=list)  # what scrolls sideways but cannot be focused
    barriers: list[str] = field(default_factory=list)  # what axe-core calls serious or critical
    loaded: set[str] = field(default_factory=set)  # addresses of all that the page loaded


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on a free local port.

    Yields:
        The address, with a slash at its end.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def launch(executable: str) -> Iterator[Browser]:
    """Start the browser.

    Yields:
        The browser, without a page.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def pages(folder: Path) -> list[str]:
    """Return the pages of a site as relative paths, without the theme's templates and redirects."""
    found = {path.relative_to(folder): path for path in folder.rglob("*.html")}
    return sorted(
        page.as_posix()
        for page, path in found.items()
        if not page.parts[0].startswith("_")
        and 'http-equiv="Refresh"' not in path.read_text(encoding="utf-8")
    )


def visit(page: Page, base: str, name: str, patience: int = 5000) -> Visit:
    """Return what a page shows, how its controls move, and how it looks on a phone and in the dark.

    A page that is wider than a phone has `patience` ms to become narrower: a machine may have much to do.
    """
    found = Visit(name, {})
    with _noted(page, base, found):
        page.set_viewport_size(DESK)
        page.emulate_media(color_scheme="light")
        page.goto(base + name, wait_until="load")
        found.seen = page.evaluate(_LOOK)
        found.cut = page.evaluate(_CUT)
        found.controls = [_try_control(box) for box in page.locator(".ssl-control").all()]
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            _measure(page, scheme, found)
        page.set_viewport_size(PHONE)
        page.wait_for_timeout(400)  # theme and controls look anew at their width a moment after a change
        with suppress(TimedOut):
            page.wait_for_function(f"{_OVERFLOW} <= 0", timeout=patience)
        found.overflow = page.evaluate(_OVERFLOW)
        found.stuck = page.evaluate(_STUCK)
        found.cut += page.evaluate(_CUT)
        page.evaluate(_STRIP)  # before it is laid out anew
        page.set_viewport_size(DESK)
        page.evaluate(_AXE)
        found.barriers = page.evaluate(_BARRIERS)
    page.goto("about:blank")
    return found


@contextmanager
def _noted(page: Page, base: str, found: Visit) -> Iterator[None]:
    """Note what a page loads and complains of; it comes to no other machine, whose names are not found."""
    own = (base, "data:", "blob:")
    handlers: dict[Any, Any] = {
        "request": lambda r: None if r.url.startswith(own) else found.outside.append(r.url),
        "pageerror": lambda error: found.problems.append(str(error)),
        "console": lambda m: found.problems.append(m.text) if m.type == "error" else None,
        "response": lambda r: found.problems.append(f"{r.status} {r.url}") if r.status >= 400 else None,
        "requestfinished": lambda request: found.loaded.add(request.url),
    }
    for event, handler in handlers.items():
        page.on(event, handler)
    try:
        yield
    finally:
        for event, handler in handlers.items():
            page.remove_listener(event, handler)


def _measure(page: Page, scheme: str, found: Visit) -> None:
    page.evaluate("window.scrollTo(0, 0)")
    pixels = np.asarray(Image.open(io.BytesIO(page.screenshot(caret="initial"))).convert("L"), dtype=float)
    found.brightness[scheme], found.contrast[scheme] = pixels.mean(), pixels.std()
    found.faint += [f"{scheme}: {words}" for words in page.evaluate(_FAINT)]


def _try_control(box: Locator) -> str:
    """Return what goes wrong, if anything, when each input of a control is moved by key and by mouse."""
    if not box.is_visible():
        return "not visible"
    before = box.evaluate(_STATE)
    for index, slider in enumerate(box.locator("input[type=range]").all()):
        slider.scroll_into_view_if_needed()
        start, last = slider.input_value(), slider.get_attribute("max")
        slider.focus()
        slider.press("ArrowLeft" if start == last else "ArrowRight")
        if wrong := _unlike(box, before, f"arrow key on slider {index}", sliding=True):
            return wrong
        slider.press("End" if start != last else "Home")
        place = slider.bounding_box()
        assert place is not None
        x = 3 if start == last else place["width"] - 3
        slider.click(position={"x": x, "y": place["height"] / 2})
        if wrong := _unlike(box, before, f"mouse on slider {index}", sliding=True):
            return wrong
        slider.fill(start)
        if box.evaluate(_STATE) != before:
            return f"slider {index}: not back at the start"
    for index, group in enumerate(box.locator("fieldset").all()):
        group.scroll_into_view_if_needed()
        button = group.locator("label:has(input:not(:checked))").first
        start = group.locator("label:has(input:checked)").first
        kind = group.locator("input").first.get_attribute("type")
        undo = start if kind == "radio" else button
        name = undo.inner_text()
        button.click()
        if wrong := _unlike(box, before, f"button {index}", sliding=False):
            return wrong
        group.locator("label", has_text=name).first.click()
        if box.evaluate(_STATE) != before:
            return f"button {index}: not back at the start"
    return ""


def _unlike(box: Locator, before: dict[str, list[str]], how: str, *, sliding: bool) -> str:
    """Return what has not changed in a control and should have."""
    after = box.evaluate(_STATE)
    if len(after["picture"]) != 1:
        return f"{how}: {len(after['picture'])} pictures at once"
    changing = ("picture", "alternative text", "spoken value") if sliding else ("picture", "alternative text")
    if same := [name for name in changing if before[name] == after[name]]:
        return f"{how}: {', '.join(same)} did not change"
    shown, said = after["written value"], after["spoken value"]
    return "" if shown == said else f"{how}: shows {shown}, says {said}"


def told(box: Locator) -> str:
    """Return the alternative text of the one picture that a control shows."""
    (text,) = box.evaluate(_STATE)["alternative text"]
    return str(text)


def broken_links(folder: Path, base: str, found: Visit) -> list[str]:
    """Return the links of a visited page that lead to no file, or to no element, of the site."""
    broken = []
    for link in found.seen["links"]:
        if not link.startswith(base):
            continue
        parts = urlsplit(link)
        target = folder / unquote(parts.path).lstrip("/")
        target = target / "index.html" if target.is_dir() else target
        if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in _ids(target)):
            broken.append(link.removeprefix(base))
    return broken


def own_weight(folder: Path, base: str, found: Visit) -> int:
    """Return the bytes of a page that no other page shares: its HTML and its pictures for the light."""
    own = [path for path in files(folder, base, found) if "_static" not in path.parts]
    return sum(path.stat().st_size for path in own if not path.stem.endswith("-dark"))


def files(folder: Path, base: str, found: Visit) -> list[Path]:
    """Return the files of the site that a visited page loaded."""
    places = {unquote(urlsplit(url).path).lstrip("/") for url in found.loaded if url.startswith(base)}
    return sorted(folder / place for place in places if (folder / place).is_file())


@functools.cache
def _ids(path: Path) -> set[str]:
    if path.suffix != ".html":
        return set()
    return {"", *map(str, lxml.html.parse(path).xpath("//@id"))}
