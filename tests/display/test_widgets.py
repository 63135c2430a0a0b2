"""A control is the same scenes in both modes: data for a script in the book, live widgets in Jupyter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import ipywidgets
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from ssl_theory.display import widgets
from ssl_theory.display.figures import use_theme
from ssl_theory.display.packing import unpack
from ssl_theory.display.scenes import Bars, Handle, Line, Panel, Points, Scene
from ssl_theory.display.widgets import Toggles

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


def bar(**values: Any) -> Scene:
    heights = [float(v) if isinstance(v, (int, float)) else len(v) for v in values.values()]
    return Scene([Panel([Bars(range(len(heights)), heights)], title="$\\lambda_1$ of all")], height=100)


def computed(width: float, pixels: list[int]) -> Scene:
    panel = Panel([Line([0.0, 1.0], "@y")], title="mean {mean:.2f}", xlim=(0.0, 1.0), ylim=(0.0, 5.0))
    return Scene([panel], {"y": [width, float(sum(pixels))], "mean": width / 2})


COMPUTED = {"compute": "lucky", "width": [1.0, 2.0], "pixels": Toggles([0, 1, 1])}


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json">(.*?)</script>', html, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_one_axis_gives_one_slider_and_the_scenes_of_its_positions(static):
    html = static(alt="height {a:.1f}", a=np.arange(1.0, 7.0))
    tags, data = Tags(html), data_of(html)
    (slider,) = tags.all("input")
    assert (slider["type"], slider["min"], slider["max"], slider["step"]) == ("range", "0", "5", "1")
    assert slider["aria-valuetext"] == tags.text["output"].strip() == "1"
    assert data["inputs"] == [
        {"name": "a", "kind": "slider", "values": [1, 2, 3, 4, 5, 6], "texts": ["1", "2", "3", "4", "5", "6"]}
    ]
    scenes = [unpack(data, k) for k in range(6)]
    assert [scene["alt"] for scene in scenes] == [f"height {k}.0" for k in range(1, 7)]
    assert [scene["panels"][0]["marks"][0]["height"] for scene in scenes] == [[k] for k in range(1, 7)]


def test_second_axis_runs_fastest(static):
    data = data_of(static(alt=lambda n, kind: f"{n} {kind}", n=range(2), kind=["x", "y", "z"]))
    assert [unpack(data, k)["alt"] for k in range(6)] == [f"{n} {kind}" for n in range(2) for kind in "xyz"]


def test_what_positions_share_is_stored_once(static):
    x = np.linspace(0, 1, 200)

    def draw(a: float) -> Scene:
        return Scene([Panel([Line(x, np.sin(9 * x), "grey"), Points([a], [a])])])

    html = static(draw, a=np.linspace(0, 1, 50))
    assert html.count("0.42683") <= 1
    assert len(json.dumps(data_of(html))) < 12_000


def test_axes_hold_still_over_all_positions(static):
    data = data_of(static(a=[1.0, 2.0, 30.0]))
    assert {tuple(unpack(data, k)["panels"][0]["ylim"]) for k in range(3)} == {(0, 31.5)}


def test_few_or_worded_values_are_buttons(static):
    html = static(alt="{law} {n}", law=["coupled", "own"], n=[1, 2, 3], labels={"law": "the law"})
    tags = Tags(html)
    radios = tags.all("input")
    assert [radio["type"] for radio in radios] == ["radio"] * 5
    assert [("checked" in radio) for radio in radios] == [True, False, True, False, False]
    assert len({radio["name"] for radio in radios}) == 2
    assert "<legend>the law</legend>" in html


def test_a_control_starts_where_it_should(static):
    html = static(alt="{a} {kind}", a=np.linspace(0, 1, 11), kind=["x", "y"], start={"a": 0.52, "kind": "y"})
    slider, _, second = Tags(html).all("input")
    assert slider["value"] == "5"
    assert "checked" in second
    assert 'alt="0.5 y"' in html  # the still


@pytest.mark.parametrize("axis", [np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]), (1.0, 2.0)])
def test_any_kind_of_sequence_reaches_draw_as_plain_numbers(static, axis):
    kinds = []

    def draw(a: float) -> Scene:
        kinds.append(type(a))
        return bar(a=a)

    static(draw, a=axis)
    assert set(kinds) == {float}


def test_labels_formats_and_captions_are_written(static):
    html = static(
        caption="Rate $e^{\\lambda t}$ & more, 1 < 2.",
        labels={"a": "time <t>"},
        formats={"a": ".2f", "b": lambda b: f"{b} %"},
        a=[0.5, -1.0],
        b=[3],
    )
    tags = Tags(html)
    assert "<legend>time &lt;t&gt;</legend>" in html
    assert [part["texts"] for part in data_of(html)["inputs"]] == [["0.50", "−1.00"], ["3 %"]]
    assert tags.text["figcaption"].strip() == "Rate \\(e^{\\lambda t}\\) & more, 1 < 2."
    assert tags.all("figcaption")[0]["class"] == "tex2jax_process"


def test_mathematics_is_typeset_beforehand(static):
    data = data_of(static(a=[1.0, 2.0]))
    assert data["scene"]["panels"][0]["title"] == [["λ", "i"], ["1", "sub"], [" of all", ""]]


def test_a_page_that_computes_holds_one_scene_and_what_it_needs(static):
    html = static(computed, alt="mean {mean:.1f}, width {width}", data={"grid": torch.ones(2)}, **COMPUTED)
    data = data_of(html)
    assert (data["compute"], data["data"]) == ("lucky", {"grid": [1.0, 1.0]})
    assert data["values"] == {"y": [1.0, 2.0], "mean": 0.5}
    panel = data["scene"]["panels"][0]
    assert (panel["marks"][0]["y"], panel["title"]) == ("@y", "mean {mean:.2f}")
    boxes = [box for box in Tags(html).all("input") if box["type"] == "checkbox"]
    assert ["checked" in box for box in boxes] == [False, True, True]
    assert 'alt="mean 0.5, width 1"' in html


def test_page_needs_nothing_from_outside_and_is_deterministic(static):
    first, second = static(a=[1, 2]), static(a=[1, 2])
    assert first == second
    tags = Tags(first)
    assert not any({"src", "href"} & set(attributes) for tag, attributes in tags.found if tag != "img")
    assert [(p["src"] or "")[:22] for p in tags.all("img")] == ["data:image/png;base64,"]


def test_data_cannot_end_its_script(static):
    assert "</b>" not in static(alt="a </b> b", a=[1, 2]).split("</noscript>")[1]
    assert data_of(static(alt="a </b> b", a=[1, 2]))["scene"]["alt"] == "a </b> b"


def test_live_control_draws_again_when_an_input_moves(monkeypatch, shown, capsys):
    monkeypatch.delenv(widgets.STATIC_VARIABLE, raising=False)
    seen = []

    def draw(a: float, law: str) -> Scene:
        seen.append((a, law))
        return bar(a=a)

    arguments = {"labels": {"a": "height"}, "formats": {"a": ".1f"}, "start": {"a": 2.0}}
    widgets.control(draw, caption="A bar.", alt="height {a:g}", a=np.arange(6.0), law=["x", "y"], **arguments)
    (box,) = [x for x in shown if isinstance(x, ipywidgets.Widget)]
    slider, buttons, _, caption = box.children
    assert (slider.description, slider.value, slider.options[1][0]) == ("height", 2.0, "1.0")
    assert isinstance(buttons, ipywidgets.ToggleButtons)
    assert caption.value == "A bar."
    slider.value, buttons.value = 5.0, "y"
    assert seen[-2:] == [(5.0, "x"), (5.0, "y")]
    assert 'alt="height 5"' in shown[-1]
    assert "<script" not in shown[-1]
    capsys.readouterr()  # outside a kernel clear_output writes an escape sequence


def test_live_switches_reach_draw_as_a_list(monkeypatch, shown, capsys):
    monkeypatch.delenv(widgets.STATIC_VARIABLE, raising=False)
    seen = []

    def draw(width: float, pixels: list[int]) -> Scene:
        seen.append(pixels)
        return computed(width, pixels)

    widgets.control(draw, caption="A line.", alt="mean {mean:.1f}", **COMPUTED)
    (box,) = [x for x in shown if isinstance(x, ipywidgets.Widget)]
    box.children[1].children[1].value = True  # after the label
    assert seen[-2:] == [[0, 1, 1], [1, 1, 1]]
    capsys.readouterr()


def test_many_values_are_welcome_where_nothing_is_drawn_beforehand(monkeypatch, shown, capsys):
    monkeypatch.delenv(widgets.STATIC_VARIABLE, raising=False)
    widgets.control(bar, caption="A bar.", alt="a bar", a=range(1000))
    assert len(shown[-1].children[0].options) == 1000
    capsys.readouterr()


DRAGGED = Scene([Panel([Handle([1, 2], [1, 2], "a")])])
NO_LIMITS = Scene([Panel([Line([0, 1], "@y")])], {"y": [0, 1]})


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, r"axes must be one or two arguments of draw, got \[\]"),
        ({"a": [1], "b": [1], "c": [1]}, ValueError, r"axes must be one or two .*got \['a', 'b', 'c'\]"),
        ({"a": [1], "b": [1], "c": [1], "d": [1], "e": [1], "compute": "x"}, ValueError, "one to four"),
        ({"a": []}, ValueError, "a must have at least one value, got none"),
        ({"a": 3}, TypeError, "a must be a sequence of values, got int"),
        ({"a": range(501)}, ValueError, "at most 500 scenes in the built book, got 501"),
        ({"a": [1], "labels": {"x": "X"}}, ValueError, r"labels must name axes among \['a'\], got \['x'\]"),
        ({"a": [1], "formats": {"x": "g"}}, ValueError, r"formats must name axes among \['a'\], got \['x'\]"),
        ({"a": [1], "start": {"x": 1}}, ValueError, r"start must name axes among \['a'\], got \['x'\]"),
        ({"a": [1, 2], "start": {"a": 3}}, ValueError, r"start of a must lie in \[1, 2\], got 3"),
        ({"a": ["u"], "start": {"a": "v"}}, ValueError, r"start of a must be one of \['u'\], got 'v'"),
        ({"a": [1], "caption": " "}, ValueError, "caption must not be empty"),
        ({"a": [1], "alt": ""}, ValueError, "alt must not be empty"),
        ({"a": [1], "alt": "at {tau}"}, ValueError, r"alt: text may use \['a'\], got the field 'tau'"),
        ({"a": [1], "draw": 3}, TypeError, "draw must be callable, got int"),
        ({"a": [1], "draw": lambda a: a}, TypeError, "draw must return a Scene, got int"),
        ({"a": Toggles([1])}, ValueError, r"toggles need a control that the page computes, got \['a'\]"),
        ({"a": [1], "compute": "x"}, ValueError, "scene must have values for the page to compute, got none"),
        ({"a": [1], "compute": "x", "alt": lambda a: "A"}, TypeError, "alt must be a text where the page"),
        (
            {"a": [1], "draw": lambda a: DRAGGED},
            ValueError,
            "handle must have a place for each of .*got 2 of a",
        ),
        ({"a": [1], "compute": "x", "draw": lambda a: NO_LIMITS}, ValueError, "must have xlim and ylim"),
    ],
)
def test_bad_input_is_named(monkeypatch, shown, arguments, error, message):
    monkeypatch.setenv(widgets.STATIC_VARIABLE, "1")
    with pytest.raises(error, match=message):
        widgets.control(**({"draw": bar, "caption": "A bar.", "alt": "a bar"} | arguments))
    assert not shown


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("start", "names", "message"),
    [
        ([], (), r"start must hold zeros and ones, got \[\]"),
        ([2], (), r"start must hold zeros and ones, got \[2\]"),
        ([0, 1], ("a",), "names must hold 2 texts, got 1"),
    ],
)
def test_bad_switches_are_named(start, names, message):
    with pytest.raises(ValueError, match=message):
        Toggles(start, names)


@pytest.mark.bad_input
def test_data_too_heavy_for_a_page_are_refused(static, monkeypatch):
    monkeypatch.setattr(widgets, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100 bytes in the built book"):
        static(a=[1])
