"""A drawn tree shows what it was given."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from matplotlib import colormaps
from matplotlib.collections import LineCollection, PathCollection

from ssl_theory.display.figures import SEQUENTIAL
from ssl_theory.display.trees import WIDEST, draw_tree, positions
from ssl_theory.hltm import LatentTree, Topology
from tests.hltm.cases import parent_lists

pytestmark = pytest.mark.usefixtures("theme")


@given(parent_lists(12))
def test_no_two_nodes_meet_and_subtrees_do_not_cross(parents: list[int]) -> None:
    tree = Topology(parents)
    places = positions(tree)
    assert len({tuple(place) for place in places.tolist()}) == len(parents)
    for node in tree.inner:
        below = [tree.leaves_below(child) for child in tree.children[node]]
        spans = [(places[list(leaves), 0].min(), places[list(leaves), 0].max()) for leaves in below]
        assert all(left[1] < right[0] for left, right in pairwise(spans))
        assert places[node, 0] == pytest.approx(places[list(tree.children[node]), 0].mean())


def test_colours_widths_and_dashes() -> None:
    tree = LatentTree([-1, 0, 0], [1.0, 0.5, -1.0])
    values = [0.0, 1.0, math.nan]
    ax = draw_tree(tree.topology, values, polarities=tree.polarities, label="belief", numbers=True)
    (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
    assert lines.get_linewidths() == pytest.approx([0.5 * WIDEST, WIDEST])
    assert [style[1] is not None for style in lines.get_linestyles()] == [False, True]
    (nodes,) = (c for c in ax.collections if isinstance(c, PathCollection))
    colours = nodes.get_facecolors()
    assert np.allclose(colours[:2], [colormaps[SEQUENTIAL](0.0), colormaps[SEQUENTIAL](1.0)])
    assert np.allclose(colours[2], 1.0)
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2"]
    assert ax.figure.axes[1].get_ylabel() == "belief"


def test_given_limits_and_no_values() -> None:
    tree = Topology.regular(2, 3)
    ax = draw_tree(tree, np.full(13, 0.5), limits=(0.0, 1.0))
    (nodes,) = (c for c in ax.collections if isinstance(c, PathCollection))
    assert np.allclose(nodes.get_facecolors(), colormaps[SEQUENTIAL](0.5))
    assert len(draw_tree(tree).figure.axes) == 1
    draw_tree(Topology([-1]))


@pytest.mark.bad_input
def test_one_number_per_node() -> None:
    tree = Topology([-1, 0])
    with pytest.raises(ValueError, match=r"values must have shape \(2,\), one per node, got \(3,\)"):
        draw_tree(tree, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"polarities must lie in \[−1, 1\]"):
        draw_tree(tree, polarities=[1.0, 2.0])
