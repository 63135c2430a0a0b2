"""Interactive controls that also work on paper: live in Jupyter, data and a small script in the built book.

A control is a function that draws one scene and inputs over the values of its arguments. In Jupyter the scene
is drawn again whenever an input moves. When the environment variable SSL_THEORY_STATIC is 1, as it is while
the book is built, the control becomes plain HTML: inputs, the scenes of all positions as data, and the
caption; the book's script controls.js draws them. Or the page computes the numbers of its scene by a function
of the book's script compute.js. Neither needs a kernel, a library or a network.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import ipywidgets
from IPython.display import HTML, display

from ssl_theory.display.inputs import Format, Input, Toggles, as_html, as_widgets, inputs_of
from ssl_theory.display.labels import fill, runs
from ssl_theory.display.packing import pack, rounded
from ssl_theory.display.scene_figures import still
from ssl_theory.display.scenes import Scene, around, extents, plain

STATIC_VARIABLE = "SSL_THEORY_STATIC"
MAX_SCENES = 500  # computed while the book is built
MAX_BYTES = 400_000  # of one control's data; a whole page should stay below 1.5 MB

__all__ = ["Toggles", "control"]

_TEXTS = ("x", "y", "title", "label", "text")


def control(
    draw: Callable[..., Scene],
    *,
    caption: str,
    alt: str | Callable[..., str],
    compute: str = "",
    data: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    formats: Mapping[str, Format] | None = None,
    start: Mapping[str, Any] | None = None,
    **axes: Iterable[Any] | Toggles,
) -> None:
    """Display inputs over the arguments of a drawing function, live or for the built book.

    Args:
        draw: Called with one value for each axis; returns a scene.
        caption: What the control shows and what to look for; mathematics between dollar signs.
        alt: Alternative text of a picture: a text with the axes' values and those of the scene in braces,
            such as "spectrum at temperature {tau:.2f}", or a function of the axes.
        compute: Name of the function of the page's script that computes `Scene.values`, as `draw` does; empty
            for scenes that are all drawn while the book is built.
        data: What that function needs to know besides the axes: numbers and arrays by name.
        labels: Text beside each input, with symbol and unit; the axis' own name where missing.
        formats: How each axis' values are written: a format specification or a function; "g" for floats
            and str for all else where missing.
        start: Values of the axes at first, for numbers the nearest; the first values where missing.
        **axes: Arguments of `draw`, each with the values it takes, in order, or `Toggles`: up to two of
            sequences, or up to four of any kind with `compute`.

    Raises:
        TypeError: If `draw` is not callable or returns something that is no scene, if an axis is not a
            sequence, or if `alt` is a function while the page computes.
        ValueError: If there are too few or too many axes, an axis is empty, `labels`, `formats` or `start`
            name an unknown axis, `caption` or `alt` is empty or asks for something unknown, if there are more
            positions or data than a static page should carry, or if a scene that the page computes has no
            limits or no values.
    """
    if not callable(draw):
        raise TypeError(f"draw must be callable, got {type(draw).__name__}")
    _require_axes(axes, compute)
    inputs = inputs_of(axes, labels or {}, formats or {}, start or {})
    if not caption.strip():
        raise ValueError("caption must not be empty: say what the control shows")
    if compute and not isinstance(alt, str):
        raise TypeError("alt must be a text where the page computes, got a function")
    first = draw(**_first(inputs))
    _describe(alt, _first(inputs), first)
    _require_places(first, inputs)
    if os.environ.get(STATIC_VARIABLE) != "1":
        _show(_live(draw, inputs, alt, caption))
    else:
        packed = _computed(first, alt, compute, data) if compute else _drawn(draw, inputs, alt)
        _show(_page(packed, inputs, still(first, _describe(alt, _first(inputs), first)), caption))


def _show(shown: ipywidgets.Widget | str) -> None:
    """Display a widget, or a string as HTML."""
    display(HTML(shown) if isinstance(shown, str) else shown)


def _first(inputs: Sequence[Input]) -> dict[str, Any]:
    return {one.name: one.first() for one in inputs}


def _require_axes(axes: Mapping[str, Any], compute: str) -> None:
    most, kind = (4, "one to four") if compute else (2, "one or two")
    if not 1 <= len(axes) <= most:
        raise ValueError(f"axes must be {kind} arguments of draw, got {list(axes)}")
    switches = [name for name, axis in axes.items() if isinstance(axis, Toggles)]
    if switches and not compute:
        raise ValueError(f"toggles need a control that the page computes, got {switches}")


def _require_places(drawn: Scene, inputs: Sequence[Input]) -> None:
    """Require what can be dragged or clicked to fit the inputs that it moves."""
    counts = {one.name: len(one.values) for one in inputs}
    for mark in _marks(drawn):
        for name, places in _moved(mark):
            if counts.get(name) != len(places):
                kind, got = mark["kind"], f"{len(places)} of {name}"
                raise ValueError(f"{kind} must have a place for each of {counts}, got {got}")


def _marks(drawn: Scene) -> list[dict[str, Any]]:
    return [mark for panel in drawn.data()["panels"] for mark in panel["marks"]]


def _moved(mark: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    """Return the inputs that a mark moves, with its places for them."""
    if mark["kind"] == "handle":
        return [(mark["along"], mark["x"]), (mark["across"] or mark["along"], mark["y"])]
    return [(mark["toggles"], mark["click"])] if mark.get("click") else []


def _describe(alt: str | Callable[..., str], point: Mapping[str, Any], drawn: object) -> str:
    """Return the alternative text of a picture."""
    if not isinstance(drawn, Scene):
        raise TypeError(f"draw must return a Scene, got {type(drawn).__name__}")
    try:
        text = fill(alt, {**point, **drawn.values}) if isinstance(alt, str) else alt(**point)
    except ValueError as error:
        raise ValueError(f"alt: {error}") from error
    if not text.strip():
        raise ValueError("alt must not be empty: say in words what the picture shows")
    return text


def _drawn(
    draw: Callable[..., Scene], inputs: Sequence[Input], alt: str | Callable[..., str]
) -> dict[str, Any]:
    """Return the scenes of all positions as data, in the order of itertools.product."""
    count = math.prod(len(one.values) for one in inputs)
    if count > MAX_SCENES:
        raise ValueError(f"axes must give at most {MAX_SCENES} scenes in the built book, got {count}")
    scenes, texts = [], []
    for values in itertools.product(*(one.values for one in inputs)):
        point = {one.name: value for one, value in zip(inputs, values, strict=True)}
        scene = draw(**point)
        texts.append(_describe(alt, point, scene))
        scenes.append(scene.data())
    _share_limits(scenes)
    return pack(
        [{**_typeset(rounded(scene)), "alt": text} for scene, text in zip(scenes, texts, strict=True)]
    )


def _share_limits(scenes: Sequence[dict[str, Any]]) -> None:
    """Give panels without limits those of all positions together, so that axes hold still."""
    for panels in zip(*(scene["panels"] for scene in scenes), strict=True):
        for axis in "xy":
            if panels[0][f"{axis}lim"] is None:
                bars = axis == "y" and any(mark["kind"] == "bars" for mark in panels[0]["marks"])
                numbers = [number for panel in panels for number in extents(panel, axis)]
                for panel in panels:
                    panel[f"{axis}lim"] = list(around(numbers, panel[f"{axis}log"], bars))


def _computed(
    first: Scene, alt: str | Callable[..., str], compute: str, data: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the scene without the values that the page computes, and those of the start for comparison."""
    if not first.values:
        raise ValueError("scene must have values for the page to compute, got none")
    for panel in first.panels:
        if panel.xlim is None or panel.ylim is None:
            raise ValueError("panels must have xlim and ylim where the page computes, got None")
    values = {name: plain(value) for name, value in first.values.items()}
    scene = _typeset({**first.template(), "alt": alt})
    known = {name: plain(value) for name, value in (data or {}).items()}
    return {"compute": compute, "scene": scene, "data": known, "values": values}


def _typeset(data: Any, key: str = "") -> Any:
    """Return plain data with mathematics in labels as runs of letters."""
    if isinstance(data, dict):
        return {name: _typeset(part, name) for name, part in data.items()}
    if isinstance(data, list):
        return [_typeset(part, "text" if key in ("xticks", "yticks") else key) for part in data]
    return runs(data) if isinstance(data, str) and key in _TEXTS and "$" in data else data


def _page(packed: dict[str, Any], inputs: Sequence[Input], still: str, caption: str) -> str:
    """Return the control as HTML: inputs, a place for the scene, its data, a still for want of scripts."""
    packed = {"inputs": [one.data() for one in inputs], **packed}
    text = json.dumps(packed, ensure_ascii=False, separators=(",", ":")).replace("</", r"<\/")
    if len(text) > MAX_BYTES:
        raise ValueError(
            f"data of a control must take at most {MAX_BYTES} bytes in the built book, got {len(text)}: "
            "use fewer values or points, or let the page compute"
        )
    key = hashlib.sha256(text.encode()).hexdigest()[:8]
    height = packed["scene"]["height"]
    return (
        f'<figure class="ssl-control">\n<div class="ssl-control-inputs">\n{as_html(inputs, key)}\n</div>\n'
        f'<div class="ssl-scene" role="img" style="min-height:{height}px"></div>\n'
        '<p class="ssl-control-said" role="status"></p>\n'
        "<noscript><style>.ssl-control-inputs,.ssl-scene{display:none!important}</style>"
        f"{still}</noscript>\n"
        f'<figcaption class="tex2jax_process">{_mathematics(caption)}</figcaption>\n'
        f'<script type="application/json">{text}</script>\n</figure>'
    )


def _mathematics(text: str) -> str:
    r"""Return `text` for a page, with $…$, which authors write, as \(…\), which MathJax reads."""
    return re.sub(r"\$([^$]+)\$", r"\\(\1\\)", escape(text))


def _live(
    draw: Callable[..., Scene], inputs: Sequence[Input], alt: str | Callable[..., str], caption: str
) -> ipywidgets.Widget:
    """Return the control as ipywidgets: the picture is drawn again when an input is let go."""
    rows, shown = as_widgets(inputs, lambda **point: _show(_picture(draw, alt, point)))
    return ipywidgets.VBox([*rows, shown, ipywidgets.HTMLMath(escape(caption))])


def _picture(draw: Callable[..., Scene], alt: str | Callable[..., str], point: Mapping[str, Any]) -> str:
    """Return the picture of one position as an <img>."""
    scene = draw(**point)
    return still(scene, _describe(alt, point, scene))
