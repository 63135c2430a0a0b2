"""How the neurons of a tree network read those below: index arithmetic, done once per network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ssl_theory.hltm.topology import Topology, span
from ssl_theory.validation import require_integer

__all__: list[str] = []


@dataclass(frozen=True)
class Level:
    """The inner nodes of one level, padded to a common number of neurons and inputs.

    The rows below a level are the neurons of the next level's inner nodes (padded ones included), then the
    leaves among the nodes of the next level, then, where `gather` is used, one row of zeros.
    """

    nodes: tuple[int, ...]
    widths: tuple[int, ...]
    """Neurons of each node."""
    fans: tuple[int, ...]
    """Inputs of each node."""
    leaf_rows: slice | list[int]
    """Places in the list of leaves of those that this level reads."""
    gather: list[int] | None
    """The rows read, node by node; None if each is read in its place, so that a reshape will do."""
    neurons_below: int
    """Rows that are neurons."""

    @cached_property
    def width(self) -> int:
        """The largest number of neurons."""
        return max(self.widths)

    @cached_property
    def fan(self) -> int:
        """The largest number of inputs."""
        return max(self.fans)


def wire(topology: Topology, widths: Mapping[int, int]) -> tuple[Level, ...]:
    """Return the levels of a network shaped like the tree, the root's first.

    Args:
        topology: The tree.
        widths: |N_μ| of every inner node.

    Returns:
        One entry per level that has inner nodes.
    """
    levels: list[Level] = []
    rows: dict[int, list[int]] = {}
    neurons = 0
    for depth in reversed(range(len(topology.inner_levels))):
        leaves = [v for v in topology.levels[depth + 1] if not topology.children[v]]
        rows.update({leaf: [neurons + place] for place, leaf in enumerate(leaves)})
        level = _level(topology, widths, topology.inner_levels[depth], leaves, rows, neurons)
        rows = {
            node: list(range(place * level.width, place * level.width + widths[node]))
            for place, node in enumerate(level.nodes)
        }
        neurons = len(level.nodes) * level.width
        levels.append(level)
    return tuple(reversed(levels))


def _level(
    topology: Topology,
    widths: Mapping[int, int],
    nodes: tuple[int, ...],
    leaves: list[int],
    rows: Mapping[int, list[int]],
    neurons: int,
) -> Level:
    read = [[row for child in topology.children[node] for row in rows[child]] for node in nodes]
    fans = tuple(map(len, read))
    nothing = neurons + len(leaves)
    gather = [row for own in read for row in own + [nothing] * (max(fans) - len(own))]
    places = [topology.leaves.index(leaf) for leaf in leaves]
    return Level(
        nodes=nodes,
        widths=tuple(widths[node] for node in nodes),
        fans=fans,
        leaf_rows=span(places) if places else slice(0, 0),
        gather=None if gather == list(range(nothing)) else gather,
        neurons_below=neurons,
    )


def check_widths(topology: Topology, widths: int | Mapping[int, int]) -> dict[int, int]:
    """Return the number of neurons of every inner node.

    Args:
        topology: The tree, which must have an inner node.
        widths: One number for all, or one for each inner node.

    Returns:
        Node to number of neurons.

    Raises:
        TypeError: If a width is not an integer.
        ValueError: If the tree has no inner node, a width is not positive, or the nodes named are not the
            inner nodes.
    """
    if not topology.inner:
        raise ValueError("tree must have a node with children to be given neurons, got a single root")
    if not isinstance(widths, Mapping):
        width = require_integer("widths", widths, 1)
        return dict.fromkeys(topology.inner, width)
    if set(widths) != set(topology.inner):
        raise ValueError(f"widths must name the inner nodes {topology.inner}, got {tuple(widths)}")
    return {node: require_integer(f"widths[{node}]", widths[node], 1) for node in topology.inner}
