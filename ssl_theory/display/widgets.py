"""Interactive controls that also work on paper: live in Jupyter, pre-rendered in the built book.

A control is a function that draws one picture and one or two sliders over the values of its arguments.
In Jupyter the picture is drawn again whenever a slider moves. When the environment variable
SSL_THEORY_STATIC is 1, as it is while the book is built, every picture is drawn once and the control
becomes plain HTML: range inputs over those pictures, with no kernel, no library and no network.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import HTML, display
from matplotlib.figure import Figure
from PIL import Image

STATIC_VARIABLE = "SSL_THEORY_STATIC"
MAX_PICTURES = 60
MAX_BYTES = 1_000_000  # of one control's pictures; a whole page should stay below 1.5 MB
PNG_DPI = 144
CSS_DPI = 96

Format = str | Callable[[Any], str]

# One listener serves every control of a page. Pictures are stored in the order of itertools.product.
_SCRIPT = """<script>
(() => {
  if (window.sslControls) return;
  window.sslControls = true;
  document.addEventListener("input", (event) => {
    const box = event.target.closest && event.target.closest(".ssl-control");
    if (!box) return;
    let shown = 0;
    for (const slider of box.querySelectorAll("input[type=range]")) {
      const texts = JSON.parse(slider.dataset.texts);
      shown = shown * texts.length + Number(slider.value);
      slider.setAttribute("aria-valuetext", texts[slider.value]);
      slider.parentElement.querySelector("output").textContent = texts[slider.value];
    }
    box.querySelectorAll("img").forEach((picture, i) => { picture.hidden = i !== shown; });
  });
})();
</script>"""

# Without scripts the sliders would do nothing: hide them and show all pictures, one below the other.
_NO_SCRIPT = (
    "<noscript><style>.ssl-control-sliders{display:none!important}"
    ".ssl-control img[hidden]{display:block!important}</style></noscript>"
)


def control(
    draw: Callable[..., Figure],
    *,
    caption: str,
    alt: str | Callable[..., str],
    labels: Mapping[str, str] | None = None,
    formats: Mapping[str, Format] | None = None,
    **axes: Iterable[Any],
) -> None:
    """Display sliders over the arguments of a drawing function, live or pre-rendered.

    Args:
        draw: Called with one value for each axis; returns a new matplotlib figure, always of one size.
        caption: What the control shows and what to look for; mathematics between dollar signs.
        alt: Alternative text of a picture: a format string over the axes' values, such as
            "spectrum at temperature {tau:.2f}", or a function of them.
        labels: Text beside each slider, with symbol and unit; the axis' own name where missing.
        formats: How each axis' values are written: a format specification or a function; "g" for floats
            and str for all else where missing.
        **axes: One or two arguments of `draw`, each with the values it takes, in the order of the slider.

    Raises:
        TypeError: If `draw` is not callable or returns something that is not a figure, or if an axis is not
            a sequence.
        ValueError: If there are not one or two axes, an axis is empty, `labels` or `formats` name an
            unknown axis, `caption` or `alt` is empty or asks for an unknown axis, or if there are more
            pictures, or heavier ones, than a static page should carry.
    """
    if not callable(draw):
        raise TypeError(f"draw must be callable, got {type(draw).__name__}")
    values = _values(axes)
    texts = {name: [_text(v, (formats or {}).get(name)) for v in axis] for name, axis in values.items()}
    for argument, given in (("labels", labels), ("formats", formats)):
        unknown = sorted(set(given or {}) - set(values))
        if unknown:
            raise ValueError(f"{argument} must name axes among {list(values)}, got {unknown}")
    if not caption.strip():
        raise ValueError("caption must not be empty: say what the control shows")
    names = {name: (labels or {}).get(name, name) for name in values}
    describe = _describer(alt, {name: axis[0] for name, axis in values.items()})

    def picture(hidden: bool, /, **point: Any) -> str:
        figure = draw(**point)
        if not isinstance(figure, Figure):
            raise TypeError(f"draw must return a matplotlib Figure, got {type(figure).__name__}")
        try:
            return _image(figure, describe(**point), hidden)
        finally:
            plt.close(figure)

    if os.environ.get(STATIC_VARIABLE) == "1":
        _show(_static(picture, caption, names, values, texts))
    else:
        _show(_live(picture, caption, names, values, texts))


def _show(shown: ipywidgets.Widget | str) -> None:
    """Display a widget, or a string as HTML."""
    display(HTML(shown) if isinstance(shown, str) else shown)


def _values(axes: Mapping[str, Iterable[Any]]) -> dict[str, list[Any]]:
    """Return each axis' values as a list of plain Python objects."""
    if not 1 <= len(axes) <= 2:
        raise ValueError(f"axes must be one or two arguments of draw, got {list(axes)}")
    values = {}
    for name, axis in axes.items():
        if not isinstance(axis, Iterable):
            raise TypeError(f"{name} must be a sequence of values, got {type(axis).__name__}")
        values[name] = axis.tolist() if hasattr(axis, "tolist") else list(axis)
        if not values[name]:
            raise ValueError(f"{name} must have at least one value, got none")
    return values


def _text(value: Any, form: Format | None) -> str:
    if callable(form):
        return form(value)
    if form is None:
        form = "g" if isinstance(value, float) else ""
    return format(value, form)


def _describer(alt: str | Callable[..., str], first: Mapping[str, Any]) -> Callable[..., str]:
    """Return the function that writes alternative texts, after trying it on the first point."""
    describe = alt.format if isinstance(alt, str) else alt
    try:
        text = describe(**first)
    except KeyError as error:
        raise ValueError(f"alt may use {list(first)}, got the field {error}") from error
    if not text.strip():
        raise ValueError("alt must not be empty: say in words what the picture shows")
    return describe


def _image(figure: Figure, alt: str, hidden: bool) -> str:
    """Return the figure as an <img> that carries its own data, a PNG with a palette."""
    png, small = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=PNG_DPI)
    Image.open(png).convert("RGB").quantize(128).save(small, format="png", optimize=True)
    data = base64.b64encode(small.getvalue()).decode()
    width, height = (round(CSS_DPI * inches) for inches in figure.get_size_inches())
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}" '
        f'width="{width}" height="{height}"{" hidden" if hidden else ""}>'
    )


def _static(
    picture: Callable[..., str],
    caption: str,
    names: Mapping[str, str],
    values: Mapping[str, list[Any]],
    texts: Mapping[str, list[str]],
) -> str:
    """Return the control as HTML that needs nothing but a browser."""
    count = math.prod(len(axis) for axis in values.values())
    if count > MAX_PICTURES:
        raise ValueError(f"axes must give at most {MAX_PICTURES} pictures in the built book, got {count}")
    points = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
    pictures = "\n".join(picture(i > 0, **point) for i, point in enumerate(points))
    if len(pictures) > MAX_BYTES:
        raise ValueError(
            f"pictures of a control must take at most {MAX_BYTES} bytes in the built book, "
            f"got {len(pictures)}: use fewer values or smaller figures"
        )
    sliders = "\n".join(_slider(names[name], texts[name]) for name in values)
    return (
        f'<figure class="ssl-control">\n<div class="ssl-control-sliders">\n{sliders}\n</div>\n'
        f'<div class="ssl-control-pictures">\n{pictures}\n</div>\n{_NO_SCRIPT}\n'
        f'<figcaption class="tex2jax_process">{_mathematics(escape(caption))}</figcaption>\n'
        f"{_SCRIPT}\n</figure>"
    )


def _slider(label: str, texts: list[str]) -> str:
    """Return one labelled range input over the indices of `texts`."""
    return (
        f"<label><span>{escape(label)}</span>"
        f'<input type="range" min="0" max="{len(texts) - 1}" step="1" value="0" autocomplete="off" '
        f'aria-label="{escape(label)}" aria-valuetext="{escape(texts[0])}" '
        f'data-texts="{escape(json.dumps(texts))}">'
        f"<output>{escape(texts[0])}</output></label>"
    )


def _mathematics(text: str) -> str:
    r"""Return `text` with $…$, which authors write, as \(…\), which MathJax reads in a page."""
    return re.sub(r"\$([^$]+)\$", r"\\(\1\\)", text)


def _live(
    picture: Callable[..., str],
    caption: str,
    names: Mapping[str, str],
    values: Mapping[str, list[Any]],
    texts: Mapping[str, list[str]],
) -> ipywidgets.Widget:
    """Return the control as ipywidgets: the picture is drawn again when a slider is let go."""
    sliders = {
        name: ipywidgets.SelectionSlider(
            options=list(zip(texts[name], axis, strict=True)),
            description=names[name],
            continuous_update=False,
            style={"description_width": "initial"},
            layout={"width": "32em"},
        )
        for name, axis in values.items()
    }
    shown = ipywidgets.interactive_output(lambda **point: _show(picture(False, **point)), sliders)
    return ipywidgets.VBox([*sliders.values(), shown, ipywidgets.HTMLMath(escape(caption))])
