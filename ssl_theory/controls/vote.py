"""The vote of a level: how the shares of its nodes grow, together or each alone (T9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssl_theory.display.scenes import Arrows, Bars, Panel, Rule, Scene
from ssl_theory.hltm import LevelState

__all__ = ["Vote"]

COLOURS = ("blue", "green", "orange", "purple", "sky", "vermilion")


@dataclass(frozen=True)
class Vote:
    """A level of some nodes and outputs, of which a reader chooses how many take part.

    Attributes:
        state: Of one network (S = 1), with at most six nodes.
        names: Numbers of the nodes; from 0 on if empty.

    Raises:
        ValueError: If the state holds another number of networks, or more nodes.
    """

    state: LevelState
    names: Sequence[int] = ()

    def __post_init__(self) -> None:
        """Check the numbers."""
        networks, nodes = self.state.jacobian.shape[:2]
        if networks != 1 or nodes > len(COLOURS):
            raise ValueError(f"state must hold one network of at most six nodes, got {networks} of {nodes}")

    @property
    def data(self) -> dict[str, Any]:
        """For each node ρ_{0μ}‖a_μ‖J_μ and W_μ a_μ/‖a_μ‖, and 1 − ρ_0²."""
        nodes, width = self.state.weight.shape[1:3]
        blocks = self.state.gap_to_output()[0].view(-1, nodes, width).movedim(1, 0)
        gaps = self.state.gap_vector()[0].view(nodes, width)
        return {"blocks": blocks, "gaps": gaps, "rate": 1 - float(self.state.root_polarity[0]) ** 2}

    def __call__(self, outputs: int, nodes: int, law: str, time: float) -> Scene:
        """Return the picture of the first nodes and outputs, time in units of their fastest growth."""
        shares = self.shares(outputs, nodes, law, time).numpy()
        gap = shares.sum(0)
        cosines = shares @ gap / (np.linalg.norm(shares, axis=1) * np.linalg.norm(gap))
        flat = np.zeros((nodes, 2))
        flat[:, : min(outputs, 2)] = shares[:, :2]
        ends = np.concatenate([np.zeros((1, 2)), np.cumsum(flat, 0)])
        low, high, all_nodes = ends.min(0), ends.max(0), self.state.weight.shape[1]
        reach, middle = (high - low).max() / 2, (low + high) / 2

        def padded(values: NDArray[Any]) -> NDArray[Any]:
            return np.append(values, [np.nan] * (all_nodes - nodes))

        values = {
            "tail_x": padded((ends[:-1, 0] - middle[0]) / reach), "from_x": float(-middle[0] / reach),
            "tail_y": padded((ends[:-1, 1] - middle[1]) / reach), "from_y": float(-middle[1] / reach),
            "share_x": padded(flat[:, 0] / reach), "share_y": padded(flat[:, 1] / reach),
            "gap_x": float(ends[-1, 0] / reach), "gap_y": float(ends[-1, 1] / reach),
            "cosines": padded(cosines), "against": int((cosines < 0).sum()),
            "size": float(np.linalg.norm(gap)), "worst": float(cosines.min()),
        }  # fmt: skip
        return Scene(_panels(self.names or range(all_nodes)), values, height=240)

    def shares(self, outputs: int, nodes: int, law: str, time: float) -> Tensor:
        """Return the shares g_μ of the first nodes to the first outputs, shape (nodes, outputs)."""
        state = self.state._replace(
            jacobian=self.state.jacobian[:, :nodes, :outputs], weight=self.state.weight[:, :nodes],
            child_vector=self.state.child_vector[:, :nodes],
            path_polarity=self.state.path_polarity[:, :nodes],
        )  # fmt: skip
        block = state.gap_to_output()[0]
        rate = (1 - float(state.root_polarity[0]) ** 2) * float(torch.linalg.matrix_norm(block, 2)) ** 2
        flow = state.flow if law == "coupled" else state.own_flow
        return state._replace(weight=flow([time / rate])[0]).shares()[0]


def _panels(names: Sequence[int]) -> list[Panel]:
    nodes, colours = len(names), COLOURS[: len(names)]
    arrows = [
        Arrows("@tail_x", "@tail_y", "@share_x", "@share_y", colours),
        Arrows("@from_x", "@from_y", "@gap_x", "@gap_y", "ink", 3.0, "their sum, the gap $g$"),
    ]
    limits = (-1.08, 1.08)
    bars = [Bars(range(nodes), "@cosines", colours), Rule(y=0.0, colour="ink", dash="solid", width=1.0)]
    return [
        Panel(arrows, "first output", "second output", "the shares, head to tail", limits, limits, equal=True,
              xticks=(), yticks=()),
        Panel(bars, "node", "cosine of share and gap", "{against:d} against the sum", (-0.6, nodes - 0.4),
              limits, xticks=[(k, str(name)) for k, name in enumerate(names)]),
    ]  # fmt: skip
