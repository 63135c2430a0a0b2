"""Drawing latent trees: any quantity as the colour of the nodes, polarity as the width of the edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.pyplot import subplots
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ssl_theory.display.dark import keep
from ssl_theory.display.figures import GREY, INK, SEQUENTIAL, to_array
from ssl_theory.display.scenes import Nodes, Panel
from ssl_theory.hltm import Topology

NODE, WIDEST = 150.0, 3.2  # area of a node and width of an edge of polarity ±1, in points


def draw_tree(
    topology: Topology,
    values: ArrayLike | Tensor | None = None,
    *,
    polarities: ArrayLike | Tensor | None = None,
    label: str = "",
    limits: tuple[float, float] | None = None,
    colours: str = SEQUENTIAL,
    numbers: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw a tree with its root on top.

    Args:
        topology: The tree, such as `tree.topology`.
        values: The quantity shown as colour, shape (nodes,); NaN leaves a node empty; None for all nodes.
        polarities: ρ of the edge above each node, shape (nodes,), the root's unused: an edge is as wide as
            |ρ| is large, and dashed where ρ is negative. None draws thin lines.
        label: The quantity's name and unit, written on the colour bar.
        limits: Values at the two ends of the colour scale; None for the smallest and largest value. Give them
            to compare trees.
        colours: Name of a matplotlib colour map.
        numbers: Whether each node's number is written in it.
        ax: Where to draw; a new figure if None.

    Returns:
        The axes.

    Raises:
        ValueError: If values or polarities do not hold one number per node, or a polarity lies outside
            [−1, 1].
    """
    places = positions(topology)
    shades = _per_node("values", topology, values, np.nan)
    widths = _widths(topology, polarities)
    if ax is None:
        ax = subplots(
            figsize=(min(7.2, 1.6 + 0.45 * len(topology.leaves)), 1.0 + 0.75 * len(topology.levels))
        )[1]
    ends = [(places[parent], places[node]) for node, parent in enumerate(topology.parents) if node]
    ax.add_collection(
        LineCollection(
            ends,
            linewidths=np.abs(widths[1:]) * WIDEST,
            linestyles=["--" if rho < 0 else "-" for rho in widths[1:]],
            colors=GREY,
            zorder=1,
        )
    )
    known = shades[~np.isnan(shades)]
    low, high = limits or ((known.min(), known.max()) if len(known) else (0.0, 1.0))
    scale = ScalarMappable(Normalize(low, high), colormaps[colours])
    faces = scale.to_rgba(shades)
    faces[np.isnan(shades)] = 1.0  # white
    nodes = ax.scatter(
        places[:, 0],
        places[:, 1],
        s=NODE * _shrink(topology),
        c=faces,
        edgecolors=INK,
        linewidths=0.7,
        zorder=2,
    )
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
    shown = enumerate(places) if numbers else ()
    words = [ax.annotate(str(node), place, color=_ink_on(faces[node]), **look) for node, place in shown]
    keep(nodes, *words)  # in the colours of the bar
    if len(known):
        bar = ax.figure.colorbar(scale, ax=ax, shrink=0.8, pad=0.02, label=label)
        bar.outline.set_visible(False)
    ax.set_axis_off()
    ax.margins(0.06, 0.1)
    return ax


def positions(topology: Topology) -> NDArray[Any]:
    """Return the nodes' places, shape (nodes, 2): leaves side by side, parents above the mean child."""
    places = np.zeros((len(topology), 2))
    places[:, 1] = [-depth for depth in topology.depths]
    leaves = 0
    stack = [(0, False)]
    while stack:
        node, done = stack.pop()
        below = list(topology.children[node])
        if not below:
            places[node, 0] = leaves
            leaves += 1
        elif done:
            places[node, 0] = places[below, 0].mean()
        else:
            stack += [(node, True), *((child, False) for child in reversed(below))]
    return places


def _per_node(
    name: str, topology: Topology, given: ArrayLike | Tensor | None, default: float
) -> NDArray[Any]:
    if given is None:
        return np.full(len(topology), default)
    array = to_array(given).astype(float)
    if array.shape != (len(topology),):
        raise ValueError(f"{name} must have shape ({len(topology)},), one per node, got {array.shape}")
    return array


def _shrink(topology: Topology) -> float:
    """Return how much smaller nodes must be to stand side by side."""
    return min(1.0, 18.0 / len(topology.leaves))


def _ink_on(face: NDArray[Any]) -> str:
    red, green, blue = face[:3]
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK


def tree_panel(
    topology: Topology,
    values: ArrayLike | Tensor | None = None,
    *,
    polarities: ArrayLike | Tensor | None = None,
    **look: Any,
) -> Panel:
    """Return a panel with a tree, its root on top.

    Args:
        topology: The tree.
        values: The quantity shown as colour, shape (nodes,); NaN leaves a node empty; None for all nodes.
        polarities: ρ of the edge above each node, shape (nodes,), the root's unused; None draws thin lines.
        **look: Other fields of `Nodes`, and `title` of the panel.

    Returns:
        The panel, without axes.

    Raises:
        ValueError: If values or polarities do not hold one number per node, or a polarity lies outside
            [−1, 1].
    """
    places = positions(topology)
    shades, widths = _per_node("values", topology, values, np.nan), _widths(topology, polarities)
    title = look.pop("title", "")
    nodes = Nodes(places[:, 0], places[:, 1], topology.parents, shades, widths, **look)
    wide, deep = float(places[:, 0].max()), float(-places[:, 1].min())
    return Panel([nodes], "", "", title, (-0.6, wide + 0.6), (-deep - 0.35, 0.35), axes=False)


def _widths(topology: Topology, polarities: ArrayLike | Tensor | None) -> NDArray[Any]:
    widths = _per_node("polarities", topology, polarities, 0.3)
    if np.any(np.abs(widths[1:]) > 1.0):
        raise ValueError(f"polarities must lie in [−1, 1], got {widths[1:].min()} to {widths[1:].max()}")
    widths[0] = 0.0
    return widths
