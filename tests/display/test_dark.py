"""Figures for dark pages: the map of colours as mathematics, and what it does to the text of an SVG."""

from __future__ import annotations

import io
import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex, to_rgb

from ssl_theory.display.dark import (
    FAINT,
    GREYS,
    LEAST_CONTRAST,
    STRONG,
    SURFACE,
    contrast,
    dark,
    darkened,
    keep,
    oklab,
    turn,
)
from ssl_theory.display.figures import INK, PALETTE, PAPER

pytestmark = pytest.mark.usefixtures("theme")

COLOURS = st.tuples(*[st.integers(0, 255)] * 3).map(lambda rgb: "#{:02x}{:02x}{:02x}".format(*rgb))
# How eyes without one kind of cone see light (Viénot, Brettel, Mollon 1999): red and green are one.
MISSING = {
    "red": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "green": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
}


def chroma(colour: str) -> float:
    return float(np.hypot(*oklab(colour)[1:]))


def svg(figure: plt.Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg")
    return text.getvalue()


@pytest.mark.parametrize(
    ("colour", "expected"),  # values that the author of OKLab gives for the primaries of screens
    [("#ffffff", (1.0, 0.0, 0.0)), ("#ff0000", (0.628, 0.225, 0.126)), ("#0000ff", (0.452, -0.032, -0.312))],
)
def test_coordinates_are_those_of_oklab(colour: str, expected: tuple[float, ...]) -> None:
    np.testing.assert_allclose(oklab(colour), expected, atol=1e-3)


def test_contrast_runs_from_1_to_21() -> None:
    assert contrast("black", "white") == pytest.approx(21.0)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)
    assert contrast("#123456", "#123456") == 1.0


@pytest.mark.parametrize("colour", [*PALETTE, INK])
def test_words_in_the_colours_of_the_book_can_be_read(colour: str) -> None:
    assert contrast(dark(colour), SURFACE) >= LEAST_CONTRAST - 0.02


@given(COLOURS)
def test_what_has_a_colour_keeps_its_hue_and_is_lifted_only_as_needed(colour: str) -> None:
    made = dark(colour)
    assert re.fullmatch("#[0-9a-f]{6}", made)
    if chroma(colour) < STRONG:
        return
    assert contrast(made, SURFACE) >= LEAST_CONTRAST - 0.05
    if contrast(colour, SURFACE) >= LEAST_CONTRAST:
        assert made == colour
    else:
        assert contrast(made, SURFACE) < LEAST_CONTRAST + 0.1
        before, after = (np.arctan2(*oklab(c)[:0:-1]) for c in (colour, made))
        assert abs((after - before + np.pi) % (2 * np.pi) - np.pi) < np.radians(4)


@given(st.integers(0, 255), st.integers(0, 255))
def test_greys_change_places_in_order(one: int, other: int) -> None:
    low, high = (to_hex([grey / 255] * 3) for grey in sorted((one, other)))
    assert oklab(dark(low))[0] >= oklab(dark(high))[0]
    assert chroma(dark(low)) < FAINT


def test_paper_ink_black_and_white_have_their_places() -> None:
    assert {colour: dark(colour) for colour in GREYS} == {a: b.lower() for a, b in GREYS.items()}
    assert dark(PAPER) == SURFACE.lower()


@pytest.mark.parametrize("missing", [None, *MISSING])
def test_colours_stay_as_far_apart_as_they_were(missing: str | None) -> None:
    def seen(colour: str) -> np.ndarray:
        if missing is None:
            return oklab(colour)
        rgb = np.array(to_rgb(colour))
        light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        light = np.clip(np.array(MISSING[missing]) @ light, 0, 1)
        return oklab(to_hex(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)))

    def nearest(colours: list[str]) -> float:
        return min(float(np.linalg.norm(seen(a) - seen(b))) for a, b in combinations(colours, 2))

    assert nearest([dark(colour) for colour in PALETTE]) > 0.6 * nearest(list(PALETTE))


def test_areas_that_begin_at_the_paper_begin_at_the_surface() -> None:
    scale = [to_hex(colour) for colour in plt.get_cmap("Blues")(np.linspace(0, 1, 9))]
    turned = [oklab(dark(colour, turned=True))[0] for colour in scale]
    assert turned == sorted(turned)
    assert contrast(dark(scale[0], turned=True), SURFACE) < 1.1
    assert dark("#08306b", turned=True) != dark("#08306b")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("#fff", dark("white")),
        ("#FFFFFF", dark("white")),
        ("#0072b280", dark("#0072b2") + "80"),
        ("#07b8", dark("#0077bb") + "88"),
        ("DarkRed", dark("darkred")),
        ("rgb(0, 114, 178)", dark("#0072b2")),
        ("rgb(0%, 100%, 0%)", dark("#00ff00")),
        ("rgba(0,114,178,0.5)", dark("#0072b2") + "80"),
        *[
            (same, same)
            for same in ("none", "inherit", "currentColor", "transparent", "url(#a)", "context-stroke")
        ],
    ],
)
def test_each_form_of_a_colour_is_understood(value: str, expected: str) -> None:
    assert darkened(f'<g><path fill="{value}"/></g>') == f'<g><path fill="{expected}"/></g>'
    assert darkened(f'<path style="stroke:{value};x:y"/>') == f'<path style="stroke:{expected};x:y"/>'


@pytest.mark.bad_input
@pytest.mark.parametrize("value", ["#12345", "hsl(120, 50%, 50%)", "C0", "rgb(1 2 3)"])
def test_a_form_that_is_not_understood_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="a colour must be a name, #rgb, #rrggbb, .* got"):
        darkened(f'<path fill="{value}"/>')


def test_only_colours_change() -> None:
    assert darkened('<svg a="b"><!-- <g fill="red"> --><path fill-opacity="0.5" d="M 0 0"/></svg>') == (
        f'<svg fill="{dark("black")}" a="b"><!-- <g fill="red"> --><path fill-opacity="0.5" d="M 0 0"/></svg>'
    )
    assert darkened("<style>.a{fill:#fff;stroke-width:2}</style>") == (
        f"<style>.a{{fill:{dark('white')};stroke-width:2}}</style>"
    )


@pytest.mark.parametrize("name", ["latent-tree.svg", "digits-result.svg", "logo.svg"])
def test_drawings_by_hand_stay_sound(name: str) -> None:
    text = (Path(__file__).parents[2] / "book" / "assets" / name).read_text(encoding="utf-8")
    made = ElementTree.fromstring(darkened(text))
    assert [part.tag for part in made.iter()] == [part.tag for part in ElementTree.fromstring(text).iter()]


def test_a_fill_for_all_is_not_named_twice() -> None:
    assert darkened('<svg fill="#fff"><g id="as-is-1" fill="red"></g></svg>') == (
        f'<svg fill="{dark("white")}"><g id="as-is-1" fill="red"></g></svg>'
    )


def test_raster_images_keep_their_bytes() -> None:
    figure, ax = plt.subplots()
    ax.imshow(np.arange(6.0).reshape(2, 3))
    before, after = svg(figure), darkened(svg(figure))
    images = [re.findall(r"<image\b.*?/>", text, re.S) for text in (before, after)]
    assert images[0] == images[1] != []
    assert PAPER.lower() in before
    assert PAPER.lower() not in after


def test_what_is_kept_keeps_its_colours_and_what_is_turned_turns() -> None:
    figure, ax = plt.subplots()
    ground, word = ax.axhspan(0, 1, color="#c6dbef"), ax.text(0.5, 0.5, "word", color="black")
    area = ax.axhspan(1, 2, color="#08306b")
    keep(ground, word)
    turn(area)
    assert [artist.get_gid() for artist in (ground, word, area)] == ["as-is-1", "as-is-2", "turned-1"]
    before, after = svg(figure), darkened(svg(figure))
    parts = [re.findall(r'\n( *)<g [^>]*id="as-is-\d">(.*?)\n\1</g>', text, re.S) for text in (before, after)]
    assert parts[0] == parts[1]
    assert len(parts[0]) == 2
    assert '<g fill="#000000" id="as-is-2">' in after  # black is what names no colour
    assert dark("#08306b", turned=True) in after
    assert darkened(after).count("#c6dbef") == before.count("#c6dbef") > 0


def test_the_same_bytes_each_time() -> None:
    figure, _ = plt.subplots()
    text = svg(figure)
    assert darkened(text) == darkened(text)
