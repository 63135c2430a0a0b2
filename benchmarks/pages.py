"""How soon a page of the built book shows its largest part, from a local server; prints JSON.

The baseline is an empty page of the same theme: what is left over is the page's own.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from playwright.sync_api import BrowserContext

from benchmarks.timing import rounded
from tests.browser import find_browser, launch, pages, serve

SITE = Path(__file__).parents[1] / "build" / "_build" / "html"
BASELINE = "references.html"
VISITS = 3

_LARGEST = """() => new Promise((resolve) => {
  let last = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) last = entry.startTime;
  }).observe({type: "largest-contentful-paint", buffered: true});
  setTimeout(() => resolve(last), 300);
})"""


def largest_paint(context: BrowserContext, address: str) -> float:
    """Return the median time in milliseconds until the largest part of a page is painted."""
    times = []
    for _ in range(VISITS):
        page = context.new_page()
        page.goto(address, wait_until="load")
        times.append(float(page.evaluate(_LARGEST)))
        page.close()
    return statistics.median(times)


def main() -> None:
    executable = find_browser()
    if executable is None or not (SITE / "index.html").is_file():
        missing = "no Chromium on this machine" if executable is None else "run `make book` first"
        print(json.dumps({f"not measured: {missing}": None}))
        return
    chapters = [name for name in pages(SITE) if "/" in name and not name.startswith("api/")]
    with launch(executable) as browser, serve(SITE) as base, browser.new_context() as context:
        largest_paint(context, base + BASELINE)  # fills the browser's cache of shared files
        times = {name: largest_paint(context, base + name) for name in (BASELINE, *chapters)}
    result = {f"milliseconds to the largest paint, {name}": t for name, t in times.items()}
    slowest = max(chapters, key=lambda name: times[name])
    result[f"ratio of the slowest chapter, {slowest}, to {BASELINE}"] = times[slowest] / times[BASELINE]
    print(json.dumps({name: rounded(value) for name, value in result.items()}))


if __name__ == "__main__":
    sys.exit(main())
