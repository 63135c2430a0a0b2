"""Controls that are still pictures: matplotlib figures, one for each position, as PNG."""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from ssl_theory.display.inputs import Input

MAX_PICTURES = 60
MAX_BYTES = 1_000_000  # of one control's pictures; a whole page should stay below 1.5 MB
PNG_DPI = 144
CSS_DPI = 96

# One listener serves every control of a page. Pictures are stored in the order of itertools.product.
SCRIPT = """<script>
(() => {
  if (window.sslControls) return;
  window.sslControls = true;
  document.addEventListener("input", (event) => {
    const box = event.target.closest && event.target.closest(".ssl-flipbook");
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
NO_SCRIPT = (
    "<noscript><style>.ssl-control-sliders{display:none!important}"
    ".ssl-control img[hidden]{display:block!important}</style></noscript>"
)


def image(figure: Figure, alt: str, hidden: bool = False) -> str:
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


def flipbook(picture: Callable[..., str], inputs: Sequence[Input], caption: str) -> str:
    """Return the control as HTML that needs nothing but a browser."""
    count = math.prod(len(one.values) for one in inputs)
    if count > MAX_PICTURES:
        raise ValueError(f"axes must give at most {MAX_PICTURES} pictures in the built book, got {count}")
    points: list[Mapping[str, Any]] = [
        dict(zip([one.name for one in inputs], point, strict=True))
        for point in itertools.product(*(one.values for one in inputs))
    ]
    pictures = "\n".join(picture(i > 0, **point) for i, point in enumerate(points))
    if len(pictures) > MAX_BYTES:
        raise ValueError(
            f"pictures of a control must take at most {MAX_BYTES} bytes in the built book, "
            f"got {len(pictures)}: use fewer values or smaller figures"
        )
    sliders = "\n".join(_slider(one.label, one.texts) for one in inputs)
    return (
        f'<figure class="ssl-control ssl-flipbook">\n<div class="ssl-control-sliders">\n{sliders}\n</div>\n'
        f'<div class="ssl-control-pictures">\n{pictures}\n</div>\n{NO_SCRIPT}\n'
        f'<figcaption class="tex2jax_process">{caption}</figcaption>\n'
        f"{SCRIPT}\n</figure>"
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
