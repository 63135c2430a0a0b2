"""How large the largest of some random half gaps is, exactly (T10)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssl_theory.display.scenes import Area, Line, Panel, Rule, Scene
from ssl_theory.hltm import lucky

__all__ = ["Lucky"]

END, FAILURE = 5.0, 0.05


@dataclass(frozen=True)
class Lucky:
    """The density of the largest |Y_j| of M neurons with n equal inputs, in standard deviations.

    Attributes:
        points: Thresholds at which the exact law is tabulated.
    """

    points: int = 201

    @property
    def data(self) -> dict[str, Any]:
        """The thresholds."""
        return {"grid": self._grid()}

    def __call__(self, fan: int, neurons: int, threshold: float) -> Scene:
        """Return the picture for a fan-in n, M neurons and a threshold v."""
        grid = self._grid()
        inputs = torch.ones(fan, dtype=torch.float64)
        p = lucky.tail(inputs, torch.tensor([*grid, threshold], dtype=torch.float64)).numpy()
        chance = float(p[-1])
        none = np.exp(neurons * np.log1p(-np.minimum(p[:-1], 1 - 2**-53)))
        none[p[:-1] >= 1] = 0.0
        density, middle = np.diff(none) / np.diff(grid), (grid[1:] + grid[:-1]) / 2
        values = {
            "density": density,
            "lucky": np.where(middle >= threshold, density, np.nan),
            "median": float(np.interp(0.5, none, grid)),
            "bound": math.sqrt(2 * math.log(2 * neurons)),
            "ceiling": math.sqrt(3 * fan),
            "edge": threshold,
            "some": -math.expm1(neurons * math.log1p(-chance)) if chance < 1 else 1.0,
            "chance": chance,
            "enough": _enough(chance),
        }
        marks = [
            Area(middle, 0.0, "@density", "sky", 0.3, "density"),
            Area(middle, 0.0, "@lucky", "blue", 0.6, "beyond the threshold"),
            Line(middle, "@density"),
            Rule(x="@median", colour="blue", dash="solid", label="median"),
            Rule(x="@bound", colour="grey", label="bound on the mean"),
            Rule(x="@ceiling", colour="vermilion", dash="dotted", width=1.8, label="ceiling"),
            Rule(x="@edge", colour="ink", dash="dashed", label="threshold"),
        ]
        title = "at least one beyond the threshold: {some:.1%}; for 95\u202f%, {enough}"
        panel = Panel(
            marks,
            "largest $|Y_j|$ / sd $Y$",
            "density (in 1 / sd $Y$)",
            title,
            xlim=(0.0, END),
            ylim=(0.0, 2.4),
        )
        return Scene([panel], values, height=230)

    def _grid(self) -> NDArray[Any]:
        return np.linspace(0.0, END, self.points)


def _enough(chance: float) -> str:
    if chance <= 0:
        return "no number of neurons reaches it"
    return f"{lucky.neurons_enough(chance, FAILURE)} neurons reach it"
