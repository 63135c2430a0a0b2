"""Scenes: plain data, checked where they are made, and drawn by matplotlib."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ssl_theory.display.labels import fill, formatted, runs
from ssl_theory.display.packing import pack, rounded, unpack
from ssl_theory.display.scene_figures import draw_scene, still
from ssl_theory.display.scenes import (
    Area,
    Arrows,
    Bars,
    Grid,
    Handle,
    Line,
    Nodes,
    Panel,
    Points,
    Rule,
    Scene,
    Text,
    around,
    extents,
)


@pytest.fixture(autouse=True)
def _plots() -> Iterator[None]:
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def scene(*marks, **look) -> Scene:
    return Scene([Panel(marks, **look)])


EVERYTHING = [
    Line(
        [1.0, 2.0, np.nan, 3.0], torch.tensor([1.0, 2.0, 3.0, 4.0]), "green", "dashed", label="$\\lambda_1$"
    ),
    Points([1, 2], [2, 1], ["blue", "orange"], "diamond", [4, 9], "dots"),
    Bars([1, 2, 3], [1.0, -1.0, None], "sky", label="bars"),
    Area([1, 2, 3], 0.0, [1, None, 2], "purple", label="area"),
    Rule(x=[1.5, 2.5], colour="grey"),
    Rule(y=0.0, dash="solid", label="zero"),
    Text([1], [1], ["+1"]),
    Arrows([1, None], [1, None], [0.5, None], [0.5, None], ["blue", "ink"], label="arrow"),
    Grid(np.eye(3), 0.0, 1.0, (1.0, 1.0, 2.0, 2.0), "sequential", "grid"),
    Nodes([1, 0, 2], [0, -1, -1], (-1, 0, 0), [0.5, None, -1.0], [0, 0.8, -0.5], rings=[0], click=[1, 2]),
    Handle([1, 2, 3], [1, 2, 1], "a"),
]


def test_a_scene_is_plain_data_and_every_mark_is_drawn():
    whole = scene(*EVERYTHING, x="$t$", y="size", title="all of it", xticks=[(1, "one"), (2, "two")])
    assert json.loads(json.dumps(whole.data())) == whole.data()
    kinds = {mark["kind"] for mark in whole.data()["panels"][0]["marks"]}
    assert len(kinds) == 10
    figure = draw_scene(whole)
    assert figure.axes[0].get_title() == "all of it"
    figure.canvas.draw()


@pytest.mark.parametrize("axes", [True, False])
def test_looks_of_a_panel_reach_matplotlib(axes):
    look = {"xlim": (3.0, 0.1), "xlog": True, "ylog": True, "equal": not axes, "axes": axes}
    ax = draw_scene(scene(Line([0.1, 1], [1, 100]), **look)).axes[0]
    assert ax.get_xlim() == (3.0, 0.1)
    assert (ax.get_xscale(), ax.get_yscale(), ax.axison) == ("log", "log", axes)


def test_named_values_are_put_in_their_places_and_kept_apart():
    named = Scene(
        [Panel([Line([0, 1], "@y", label="slope {slope:.1f}")], title="$x_{slope}$ {word}")],
        {"y": np.array([0.0, 2.0]), "slope": 2.0, "word": "rises"},
    )
    panel, template = named.data()["panels"][0], named.template()["panels"][0]
    assert panel["marks"][0]["y"] == [0.0, 2.0]
    assert (panel["marks"][0]["label"], panel["title"]) == ("slope 2.0", "$x_{slope}$ rises")
    assert (template["marks"][0]["y"], template["title"]) == ("@y", "$x_{slope}$ {word}")


def test_limits_are_a_little_beyond_all_that_is_shown():
    panel = scene(
        Bars([0, 1], [2.0, -3.0]), Area([0, 4], -5.0, 1.0), Arrows([0], [0], [9], [1]), Rule(y=7.0)
    ).data()["panels"][0]
    assert (min(extents(panel, "x")), max(extents(panel, "x"))) == (-0.4, 9)
    assert (min(extents(panel, "y")), max(extents(panel, "y"))) == (-5.0, 7.0)
    assert around([0.0, 10.0], log=False) == (-0.5, 10.5)
    assert around([2.0, 10.0], log=False, lift=True) == (0.0, 10.4)
    assert around([1.0, 100.0], log=True) == pytest.approx((100**-0.05, 100**1.05))
    assert around([3.0], log=False)[0] < 3 < around([3.0], log=False)[1]
    assert around([], log=True) == (0.1, 1.0)
    logged = scene(Line([-1.0, 2.0], [1, 1]), xlog=True).data()["panels"][0]
    assert extents(logged, "x") == [2.0]


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Scene([]), ValueError, "panels must hold at least one panel, got none"),
        (lambda: Scene(["panel"]), TypeError, "panels must hold panels, got str"),
        (lambda: scene("line"), TypeError, "marks must hold marks, got str"),
        (lambda: Scene([Panel([])], widths=[1, 2]), ValueError, "widths must hold 1 numbers, got 2"),
        (lambda: scene(Line([1, 2], [1])), ValueError, "fields of line must be of one length, got .*'x': 2"),
        (lambda: scene(Points([1], [1], "#f00")), ValueError, "colour of points must be one of .*got '#f00'"),
        (lambda: scene(Line([1], [1], dash="wavy")), ValueError, "dash of line must be one of .*got 'wavy'"),
        (lambda: scene(Points([1], [1], shape="star")), ValueError, "shape of points must be one of"),
        (lambda: scene(Grid([[1]], scale="hot")), ValueError, "scale of grid must be one of .*got 'hot'"),
        (lambda: scene(Grid([[1, 2], [3]])), ValueError, "values of grid must be a matrix"),
        (lambda: scene(Grid([])), ValueError, "values of grid must be a matrix"),
        (lambda: scene(Rule()), ValueError, "rule must have either x or y"),
        (lambda: scene(Line("@t", [1])), ValueError, "marks may name .*got '@t'"),
        (lambda: scene(Line([1], [np.inf])), ValueError, "values must be finite or NaN, got inf"),
        (lambda: scene(Nodes([0], [0], [3], [1])), ValueError, "parents of nodes must come before"),
        (
            lambda: scene(Nodes([0], [0], [-1], [1], rings=[1])),
            ValueError,
            "rings of nodes must be among 1 nodes",
        ),
        (lambda: scene(Handle([1, 2], [1], "a")), ValueError, "handle must have as many x as y, got 2 and 1"),
        (lambda: scene(xlim=(1, 1)), ValueError, "xlim must be two different numbers"),
        (lambda: scene(ylim=(0, 1), ylog=True), ValueError, "ylim must be two positive numbers"),
        (lambda: scene(title="$x"), ValueError, "dollar signs in pairs"),
    ],
)
def test_bad_scenes_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("plain", [("plain", "")]),
        ("$n_{\\mathrm{eff}}$ of", [("n", "i"), ("eff", "sub"), (" of", "")]),
        ("$\\|\\bar w\\|^{-2}$", [("‖", ""), ("w\u0304", "i"), ("‖", ""), ("−2", "sup")]),
        ("$\\Sigma - \\beta x_i$", [("Σ\u2009−\u2009", ""), ("βx", "i"), ("i", "subi")]),
        ("$a = -1$", [("a", "i"), ("\u2005=\u2005−1", "")]),  # space around a relation, none after a sign
        (
            "$(-a, +b)_{i-1}$",
            [("(−", ""), ("a", "i"), (",+", ""), ("b", "i"), (")", ""), ("i", "subi"), ("−1", "sub")],
        ),
    ],
)
def test_mathematics_becomes_runs_of_letters(label, expected):
    assert runs(label) == expected


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("$\\int$", r"knows no command \\int"),
        ("$x_$", "must not end in the middle"),
        ("${x$", "braces must match"),
        ("$x}$", "braces must match"),
        ("a $ b", "dollar signs in pairs"),
    ],
)
def test_labels_that_cannot_be_drawn_are_named(label, message):
    with pytest.raises(ValueError, match=message):
        runs(label)


def test_texts_are_filled_outside_of_mathematics():
    values = {"a": -1.5, "b": "red", "c": 0.25, "d": 3}
    assert fill("{a:.2f} {b} {c:.0%} {d:d} {a} $x_{a}$", values) == "−1.50 red 25\u202f% 3 −1.5 $x_{a}$"
    assert fill("{left}", {}) == "{left}"
    assert (formatted(1e-7, ".1e"), formatted(2.0, "+.1f")) == ("1.0e−07", "+2.0")


@pytest.mark.bad_input
def test_forms_that_the_script_does_not_know_are_named():
    with pytest.raises(ValueError, match=r"form must be like .*got ',d'"):
        formatted(1000, ",d")
    with pytest.raises(ValueError, match=r"text may use \['a'\], got the field 'b'"):
        fill("{b}", {"a": 1})


PARTS = st.recursive(
    st.one_of(st.integers(0, 3), st.text("ab", max_size=2)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xyz"), inner)),
    max_leaves=12,
)


@given(st.lists(PARTS, min_size=1, max_size=4))
def test_packed_scenes_come_back_as_they_were(scenes):
    packed = json.loads(json.dumps(pack([{"part": part} for part in scenes])))
    packed["at"] = packed["at"] or [[]] * len(scenes)
    assert [unpack(packed, k) for k in range(len(scenes))] == [{"part": part} for part in scenes]


def test_a_still_is_a_small_png_that_states_its_size():
    shown = still(scene(Line([0, 1], [0, 1])), 'a "line" <b>')
    found = re.fullmatch(
        r'<img src="data:image/png;base64,(.+)" alt="a &quot;line&quot; &lt;b&gt;"'
        r' width="(\d+)" height="(\d+)">',
        shown,
    )
    assert found is not None
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as image:
        assert (image.format, image.mode) == ("PNG", "P")
        assert image.width == pytest.approx(1.5 * int(found[2]), abs=2)


def test_numbers_are_stored_as_exactly_as_a_picture_needs():
    assert rounded({"a": [1.0, 0.123456789, None, "x", 3]}) == {"a": [1, 0.12346, None, "x", 3]}


def test_a_grid_on_logarithmic_axes_has_cells_of_one_size_on_the_page() -> None:
    grid = Grid([[1.0, 2.0], [3.0, 4.0]], box=(0.01, 1.0, 1.0, 100.0))
    figure = draw_scene(Scene([Panel([grid], xlog=True, ylog=True, xlim=(0.01, 1.0), ylim=(1.0, 100.0))]))
    (mesh,) = figure.axes[0].collections
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], [0.01, 0.1, 1.0])
    np.testing.assert_allclose(corners[:, 0, 1], [1.0, 10.0, 100.0])
    np.testing.assert_array_equal(mesh.get_array(), [[3.0, 4.0], [1.0, 2.0]])  # first row above
