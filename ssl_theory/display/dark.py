"""A figure for a dark page, made from the one for a light page by a map of its colours.

Greys change places between paper and ink. Colours keep their hue, and are lifted as far as words in them need
to be read on the dark surface. Raster images stay as they are, and so does what `keep` marks: a coloured
ground and the words on it. Areas that `turn` marks, with colours that begin at the paper, begin at the
surface.
Lightness, chroma and hue are those of OKLab (https://bottosson.github.io/posts/oklab).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Float64
from matplotlib.artist import Artist
from matplotlib.colors import CSS4_COLORS, to_hex, to_rgb

from ssl_theory.display.figures import GREY, INK, PAPER

__all__ = ["SURFACE", "contrast", "dark", "darkened", "keep", "oklab", "turn"]

SURFACE = "#1C1F24"
LEAST_CONTRAST = 4.5  # of words with their ground, by WCAG 2.2
FAINT, STRONG = 0.02, 0.05  # chroma up to which a colour is a grey, and from which it is none
# Greys of the light page, from black to white, and what takes their places.
# GREY becomes lighter than its opposite would be, which is purple to those who lack a cone.
GREYS = {"#000000": "#FFFFFF", INK: "#E4E6EA", GREY: "#B4B8BE", PAPER: SURFACE, "#FFFFFF": "#16191D"}

_KEPT, _TURNED = "as-is", "turned"
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OPPONENT = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])

_PART = re.compile(
    r"<!--.*?-->|(?P<style><style\b.*?</style>)"
    r"|<(?P<end>/?)(?P<name>[a-zA-Z][\w:.-]*)(?:[^<>\"']+|\"[^\"]*\"|'[^']*')*>",
    re.S,
)
_PROPERTY = re.compile(
    r"(?<![\w-])((?:fill|stroke|stop-color|flood-color|lighting-color|color)\s*(?::\s*|=\s*[\"']\s*))([^;\"'}]+)"
)
_MARK = re.compile(rf"\sid=[\"']({_KEPT}|{_TURNED})-")
_FILL = re.compile(r"\sfill\s*=")
_NO_COLOUR = re.compile(r"none|inherit|transparent|currentcolor|context-(?:fill|stroke)|url\(.*")
_FUNCTION = re.compile(r"rgba?\(([^()]*)\)")

Lab = Float64[np.ndarray, "3"]


def oklab(colour: str) -> Lab:
    """Return the lightness of a colour and its two opponent coordinates, in OKLab."""
    return np.asarray(_OPPONENT @ np.cbrt(_CONES @ _linear(colour)))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours by WCAG 2.2, from 1 to 21."""
    low, high = sorted(float(_LUMINANCE @ _linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@lru_cache(maxsize=4096)
def dark(colour: str, *, turned: bool = False) -> str:
    """Return what takes the place of an opaque colour on a dark page.

    Args:
        colour: One that matplotlib knows.
        turned: Whether light and dark change places for all colours, not for greys alone.

    Returns:
        The colour as #rrggbb.
    """
    lab = oklab(colour)
    grey, bright = _turned_grey(lab[0]), lab
    share = np.clip((np.hypot(lab[1], lab[2]) - FAINT) / (STRONG - FAINT), 0.0, 1.0)
    if turned:
        bright = _displayed(np.array([grey[0], lab[1], lab[2]]))
    elif contrast(colour, SURFACE) < LEAST_CONTRAST:
        bright = _lifted(lab)
    elif share == 1.0:
        return to_hex(colour)
    return _hex((1.0 - share) * grey + share * bright)


def darkened(svg: str) -> str:
    """Return an SVG with the colours that it has on a dark page.

    Raises:
        ValueError: If a colour is in a form that is not understood.
    """
    open_marks: list[str] = [""]

    def replace(found: re.Match[str]) -> str:
        part, name = found[0], found["name"]
        if found["style"]:
            return _with_dark_colours(part, turned=False)
        if name is None:
            return part
        if found["end"]:
            open_marks.pop()
            return part
        own = _MARK.search(part)
        mark = own[1] if own else open_marks[-1]
        if not part.endswith("/>"):
            open_marks.append(mark)
        if mark == _KEPT:
            return _filled(part, "#000000") if own else part
        if name != "image":
            part = _with_dark_colours(part, turned=mark == _TURNED)
        return _filled(part, dark("black")) if name == "svg" else part

    return _PART.sub(replace, svg)


def keep(*artists: Artist) -> None:
    """Mark what has the same colours on a dark page: a coloured ground and the words on it."""
    _mark(_KEPT, artists)


def turn(*artists: Artist) -> None:
    """Mark areas whose colours begin at the paper, so that on a dark page they begin at the surface."""
    _mark(_TURNED, artists)


def _mark(mark: str, artists: tuple[Artist, ...]) -> None:
    figure = artists[0].get_figure(root=True) if artists else None
    marked = figure.findobj(lambda artist: str(artist.get_gid()).startswith(mark)) if figure else []
    for number, artist in enumerate(artists, len(marked) + 1):
        artist.set_gid(f"{mark}-{number}")


def _filled(tag: str, colour: str) -> str:
    """Return a tag with the colour of what is inside and names none, which is black unless it says so."""
    return tag if _FILL.search(tag) else re.sub(r"^<[\w:.-]+", rf'\g<0> fill="{colour}"', tag)


def _with_dark_colours(text: str, *, turned: bool) -> str:
    return _PROPERTY.sub(lambda found: found[1] + _value(found[2], turned=turned), text)


def _value(text: str, *, turned: bool) -> str:
    """Return what takes the place of the value of a property, which may be no colour, or not opaque."""
    value = text.strip().lower()
    if _NO_COLOUR.fullmatch(value):
        return text
    colour, alpha = _opaque(value)
    return dark(colour, turned=turned) + alpha


def _opaque(value: str) -> tuple[str, str]:
    """Return a colour of CSS as #rrggbb, and its opacity as two more such digits, or as none."""
    if value in CSS4_COLORS:
        return str(CSS4_COLORS[value]), ""
    if re.fullmatch(r"#(?:[0-9a-f]{3,4}|(?:[0-9a-f]{2}){3,4})", value):
        digits = value[1:] if len(value) > 5 else "".join(2 * digit for digit in value[1:])
        return f"#{digits[:6]}", digits[6:]
    numbers = found[1].split(",") if (found := _FUNCTION.fullmatch(value)) else []
    if len(numbers) not in (3, 4):
        raise ValueError(
            f"a colour must be a name, #rgb, #rrggbb, rgb(r, g, b) or rgba(r, g, b, a), got {value!r}"
        )
    whole = [100.0 if "%" in number else 255.0 if place < 3 else 1.0 for place, number in enumerate(numbers)]
    values = [float(number.strip(" %")) / one for number, one in zip(numbers, whole, strict=True)]
    return _rgb_hex(np.array(values[:3])), "".join(f"{round(255 * a):02x}" for a in values[3:])


def _turned_grey(lightness: float) -> Lab:
    """Return the grey on a dark page of one with this lightness on a light page."""
    here, there = [oklab(colour) for colour in GREYS], [oklab(colour) for colour in GREYS.values()]
    return np.array(
        [np.interp(lightness, [lab[0] for lab in here], [lab[k] for lab in there]) for k in range(3)]
    )


def _lifted(lab: Lab) -> Lab:
    """Return the darkest colour of this hue that stands out from the surface."""
    return _first(
        lambda lightness: _displayed(np.array([lightness, lab[1], lab[2]])),
        lambda lifted: contrast(_hex(lifted), SURFACE) >= LEAST_CONTRAST,
        float(lab[0]),
    )


def _displayed(lab: Lab) -> Lab:
    """Return the strongest colour of this lightness and hue that screens can show, up to this one."""

    def shown(lab: Lab) -> bool:
        rgb = _from_oklab(lab)
        return bool(rgb.min() > -1e-4 and rgb.max() < 1.0 + 1e-4)

    return (
        lab if shown(lab) else _first(lambda less: lab * np.array([1.0, 1.0 - less, 1.0 - less]), shown, 0.0)
    )


def _first(at: Callable[[float], Lab], good: Callable[[Lab], bool], low: float) -> Lab:
    """Return `at(t)` for the smallest t up to 1 that is good, of which `low` is not, by bisection."""
    high = 1.0
    for _ in range(16):
        middle = (low + high) / 2.0
        low, high = (low, middle) if good(at(middle)) else (middle, high)
    return at(high)


def _linear(colour: str) -> Lab:
    """Return a colour's red, green and blue in units of light."""
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _from_oklab(lab: Lab) -> Lab:
    """Return red, green and blue in units of light; outside [0, 1] if no screen can show the colour."""
    return np.asarray(np.linalg.solve(_CONES, np.linalg.solve(_OPPONENT, lab) ** 3))


def _hex(lab: Lab) -> str:
    light = np.clip(_from_oklab(lab), 0.0, 1.0)
    rgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1.0 / 2.4) - 0.055)
    return _rgb_hex(rgb)


def _rgb_hex(rgb: Lab) -> str:
    red, green, blue = np.clip(rgb, 0.0, 1.0)
    return str(to_hex((float(red), float(green), float(blue))))
