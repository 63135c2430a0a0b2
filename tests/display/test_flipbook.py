"""Controls that still are pictures: pre-rendered HTML in the book."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ssl_theory.display import flipbook, widgets
from ssl_theory.display.figures import use_theme

Shown = list[Any]


class Tags(HTMLParser):
    """Collects the start tags and the text of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data: str) -> None:
        self.text[self.open] = self.text.get(self.open, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(autouse=True)
def _plots() -> Iterator[None]:
    with mpl.rc_context({"backend": "agg"}):
        use_theme()
        yield
        assert not plt.get_fignums()  # a control closes what it draws


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    found: Shown = []
    monkeypatch.setattr(widgets, "_show", found.append)
    return found


@pytest.fixture
def static(monkeypatch: pytest.MonkeyPatch, shown: Shown) -> Callable[..., str]:
    monkeypatch.setenv(widgets.STATIC_VARIABLE, "1")

    def make(draw=None, /, **arguments: Any) -> str:
        widgets.control(draw or bar, **({"caption": "A bar.", "alt": "a bar"} | arguments))
        (html,) = shown
        shown.clear()
        return html

    return make


def bar(**values: Any) -> Figure:
    figure, ax = plt.subplots(figsize=(2, 1))
    ax.bar(list(values), [float(v) for v in values.values()])
    return figure


def test_one_axis_gives_one_slider_and_its_pictures(static):
    tags = Tags(static(alt="height {a:.1f}", a=[1.0, 2.5, 4.0]))
    (slider,) = tags.all("input")
    assert (slider["type"], slider["min"], slider["max"], slider["step"]) == ("range", "0", "2", "1")
    assert slider["aria-valuetext"] == "1"
    assert json.loads(slider["data-texts"] or "") == ["1", "2.5", "4"]
    assert [p["alt"] for p in tags.all("img")] == ["height 1.0", "height 2.5", "height 4.0"]
    assert ["hidden" in p for p in tags.all("img")] == [False, True, True]
    assert len({p["src"] for p in tags.all("img")}) == 3
    assert tags.text["output"].strip() == "1"


def test_second_axis_runs_fastest(static):
    seen: list[tuple[int, str]] = []

    def draw(n: int, kind: str) -> Figure:
        seen.append((n, kind))
        return bar(n=n)

    tags = Tags(static(draw, alt=lambda n, kind: f"{n} {kind}", n=range(2), kind=["x", "y", "z"]))
    seen = seen[1:]  # the first tells figures from scenes
    assert seen == [(n, kind) for n in range(2) for kind in "xyz"]
    assert [p["alt"] for p in tags.all("img")] == [f"{n} {kind}" for n, kind in seen]
    assert [json.loads(s["data-texts"] or "") for s in tags.all("input")] == [["0", "1"], ["x", "y", "z"]]


def test_page_needs_nothing_from_outside_and_is_deterministic(static):
    first, second = static(a=[1, 2]), static(a=[1, 2])
    assert first == second
    tags = Tags(first)
    assert all((p["src"] or "").startswith("data:image/") for p in tags.all("img"))
    assert not any({"src", "href"} & set(attributes) for tag, attributes in tags.found if tag != "img")
    assert len(tags.all("noscript")) == 1


def test_a_picture_is_a_small_png(static):
    (picture,) = Tags(static(a=[1])).all("img")
    header, data = (picture["src"] or "").split(",")
    assert header == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert (image.format, image.mode) == ("PNG", "P")


def test_picture_states_its_size(static):
    (picture,) = Tags(static(a=[1])).all("img")
    assert (picture["width"], picture["height"]) == ("192", "96")


def test_pictures_too_heavy_for_a_page_are_refused(static, monkeypatch):
    monkeypatch.setattr(flipbook, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100 bytes in the built book"):
        static(a=[1])
