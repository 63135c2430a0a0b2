"""A control is the same pictures in both modes: pre-rendered HTML in the book, live widgets in Jupyter."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import ipywidgets
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from ssl_theory.display import widgets
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
    assert seen == [(n, kind) for n in range(2) for kind in "xyz"]
    assert [p["alt"] for p in tags.all("img")] == [f"{n} {kind}" for n, kind in seen]
    assert [json.loads(s["data-texts"] or "") for s in tags.all("input")] == [["0", "1"], ["x", "y", "z"]]


@pytest.mark.parametrize("axis", [np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]), (1.0, 2.0)])
def test_any_kind_of_sequence_reaches_draw_as_plain_numbers(static, axis):
    kinds = []

    def draw(a: float) -> Figure:
        kinds.append(type(a))
        return bar(a=a)

    static(draw, a=axis)
    assert kinds == [float, float]


def test_labels_formats_and_captions_are_written(static):
    html = static(
        caption="Rate $e^{\\lambda t}$ & more, 1 < 2.",
        labels={"a": "time <t>"},
        formats={"a": ".2f", "b": lambda b: f"{b} %"},
        a=[0.5],
        b=[3],
    )
    tags = Tags(html)
    assert [s["aria-label"] for s in tags.all("input")] == ["time <t>", "b"]
    assert [s["aria-valuetext"] for s in tags.all("input")] == ["0.50", "3 %"]
    assert tags.text["figcaption"].strip() == "Rate \\(e^{\\lambda t}\\) & more, 1 < 2."
    assert tags.all("figcaption")[0]["class"] == "tex2jax_process"


def test_alternative_text_is_escaped(static):
    (picture,) = Tags(static(alt='a "bar" <b>', a=[1])).all("img")
    assert picture["alt"] == 'a "bar" <b>'


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


def test_live_control_draws_again_when_a_slider_moves(monkeypatch, shown, capsys):
    monkeypatch.delenv(widgets.STATIC_VARIABLE, raising=False)
    seen = []

    def draw(a: float, b: int) -> Figure:
        seen.append((a, b))
        return bar(a=a)

    widgets.control(
        draw,
        caption="A bar.",
        alt="height {a}",
        labels={"a": "height"},
        formats={"a": ".1f"},
        a=[1.0, 2.0],
        b=[3, 4],
    )
    pictures = [x for x in shown if isinstance(x, str)]
    (box,) = [x for x in shown if isinstance(x, ipywidgets.Widget)]
    first, second, _, caption = box.children
    assert first.description == "height"
    assert [label for label, _ in first.options] == ["1.0", "2.0"]
    assert not first.continuous_update
    assert caption.value == "A bar."
    assert seen == [(1.0, 3)]
    first.value, second.value = 2.0, 4
    assert seen == [(1.0, 3), (2.0, 3), (2.0, 4)]
    assert 'alt="height 1.0"' in pictures[0]
    assert 'alt="height 2.0"' in shown[-1]
    assert "<script" not in shown[-1]
    capsys.readouterr()  # outside a kernel clear_output writes an escape sequence


def test_many_values_are_welcome_where_nothing_is_pre_rendered(monkeypatch, shown, capsys):
    monkeypatch.delenv(widgets.STATIC_VARIABLE, raising=False)
    widgets.control(bar, caption="A bar.", alt="a bar", a=range(1000))
    assert len(shown[-1].children[0].options) == 1000
    capsys.readouterr()


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, r"axes must be one or two arguments of draw, got \[\]"),
        ({"a": [1], "b": [1], "c": [1]}, ValueError, r"axes must be one or two .*got \['a', 'b', 'c'\]"),
        ({"a": []}, ValueError, "a must have at least one value, got none"),
        ({"a": 3}, TypeError, "a must be a sequence of values, got int"),
        ({"a": range(61)}, ValueError, "at most 60 pictures in the built book, got 61"),
        ({"a": [1], "labels": {"x": "X"}}, ValueError, r"labels must name axes among \['a'\], got \['x'\]"),
        ({"a": [1], "formats": {"x": "g"}}, ValueError, r"formats must name axes among \['a'\], got \['x'\]"),
        ({"a": [1], "caption": " "}, ValueError, "caption must not be empty"),
        ({"a": [1], "alt": ""}, ValueError, "alt must not be empty"),
        ({"a": [1], "alt": "at {tau}"}, ValueError, r"alt may use \['a'\], got the field 'tau'"),
        ({"a": [1], "draw": 3}, TypeError, "draw must be callable, got int"),
        ({"a": [1], "draw": lambda a: a}, TypeError, "draw must return a matplotlib Figure, got int"),
    ],
)
def test_bad_input_is_named(monkeypatch, shown, arguments, error, message):
    monkeypatch.setenv(widgets.STATIC_VARIABLE, "1")
    with pytest.raises(error, match=message):
        widgets.control(**({"draw": bar, "caption": "A bar.", "alt": "a bar"} | arguments))
    assert not shown


@pytest.mark.bad_input
def test_pictures_too_heavy_for_a_page_are_refused(static, monkeypatch):
    monkeypatch.setattr(widgets, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100 bytes in the built book"):
        static(a=[1])
