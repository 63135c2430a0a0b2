"""What the pixels of a tree say of every latent, at most, and to a loss of pairs (T7, T11, T14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ssl_theory.display.scenes import Bars, Line, Nodes, Panel, Points, Scene
from ssl_theory.display.trees import positions
from ssl_theory.hltm import LatentTree, Topology, exact_ceilings

__all__ = ["Beliefs"]


@dataclass(frozen=True)
class Beliefs:
    """A symmetric tree whose pixels a reader sets, all edges of one polarity.

    Attributes:
        topology: The tree, small enough to enumerate its pixels.
    """

    topology: Topology

    @property
    def data(self) -> dict[str, Any]:
        """The tree."""
        return {"parents": self.topology.parents}

    def __call__(self, pixels: list[int], rho: float) -> Scene:
        """Return the picture for some pixels and a polarity of all edges."""
        tree = LatentTree(self.topology.parents, [1.0, *[float(rho)] * (len(self.topology) - 1)])
        means = tree.belief_means(torch.tensor([pixels]))[0].numpy()
        limits = exact_ceilings(tree).value.numpy()
        roots = tree.belief_means(tree.enumerate_leaves())[:, 0].numpy() / limits[0]
        inner, value = list(self.topology.inner), means[0] / limits[0]
        same = np.abs(roots - value) <= 1e-9
        values = {
            "means": means,
            "sorted": np.sort(roots),
            "value": float(value),
            "rank": float(((roots < value) & ~same).sum() + (same.sum() - 1) / 2),
            "root": float(means[0]),
            "limit": float(limits[0]),
            "eigenvalue": float(limits[0] ** 2),
            "sizes": np.abs(means[inner]),
            "limits": limits[inner],
            "widths": [0.0, *[float(rho)] * (len(self.topology) - 1)],
        }
        return Scene([self._tree(), self._nodes(), self._function()], values, (1.5, 1.0, 1.0), 220)

    def _tree(self) -> Panel:
        places, leaves = positions(self.topology), self.topology.leaves
        tree = Nodes(
            places[:, 0], places[:, 1], self.topology.parents, "@means", "@widths", click=leaves,
            toggles="pixels", label="belief $\\mathbb{E}[2z_\\mu - 1]$", rings=[0],
        )  # fmt: skip
        wide, deep = float(places[:, 0].max()), float(-places[:, 1].min())
        title = "root: {root:.2f}; click the pixels"
        return Panel([tree], "", "", title, (-0.5, wide + 0.5), (-deep - 0.35, 0.35), axes=False)

    def _nodes(self) -> Panel:
        inner = self.topology.inner
        marks = [
            Bars(range(len(inner)), "@sizes", label="here"),
            Points(range(len(inner)), "@limits", "vermilion", "diamond", 8.0, "limit $\\kappa_\\mu$"),
        ]
        ticks = [(k, str(node)) for k, node in enumerate(inner)]
        return Panel(
            marks, "latent $\\mu$", "size of the belief", xlim=(-0.6, len(inner) - 0.4), ylim=(0.0, 1.05),
            xticks=ticks,
        )  # fmt: skip

    def _function(self) -> Panel:
        count = 2 ** len(self.topology.leaves)
        marks = [
            Line(range(count), "@sorted", "grey", label="all patterns"),
            Points("@rank", "@value", "vermilion", size=10.0, label="this one"),
        ]
        title = "$\\lambda_1 = \\kappa_0^2$ = {eigenvalue:.2f}"
        return Panel(marks, "patterns, sorted", "$\\varphi_1$", title, (0.0, count - 1.0), (-3.2, 3.2))
