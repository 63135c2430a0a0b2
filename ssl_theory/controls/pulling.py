"""Pulling positives harder: the spectrum of Σ − βΣ_aug, and what a linear layer does under it (T5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.display.scenes import Line, Panel, Points, Rule, Scene

__all__ = ["Pulling"]

COLOURS = ("purple", "sky", "green", "blue")


@dataclass(frozen=True)
class Pulling:
    """Inputs with a covariance between objects and one within, and the start of a linear layer.

    Attributes:
        between: Σ, of the mean views, shape (4, 4).
        within: Σ_aug, of the views around them, shape (4, 4).
        start: W(0), shape (n, 4).
        units: Length of the picture in time, in units of 1/(4 λ_max(Σ)).
    """

    between: Float[Tensor, "4 4"]
    within: Float[Tensor, "4 4"]
    start: Float[Tensor, "n 4"]
    units: float = 3.0

    @property
    def threshold(self) -> float:
        """β_c, the largest β at which Σ − βΣ_aug has an eigenvalue that is not negative."""
        root = torch.linalg.cholesky(self.within)
        half = torch.linalg.solve_triangular(root, self.between, upper=False)
        return float(torch.linalg.eigvalsh(torch.linalg.solve_triangular(root, half.mT, upper=False))[-1])

    @property
    def data(self) -> dict[str, Any]:
        """Both covariances, the threshold, the start and the times."""
        return {
            "between": self.between, "within": self.within, "threshold": self.threshold, "start": self.start,
            "moments": np.linspace(0.0, self.units, 61),
            "pace": 1 / (4 * float(torch.linalg.eigvalsh(self.between)[-1])),
        }  # fmt: skip

    def __call__(self, beta: float) -> Scene:
        """Return the picture at a β in units of β_c."""
        data = self.data
        grid = [2 * k / 60 for k in range(61)]
        spectra = torch.stack([torch.linalg.eigvalsh(self._form(factor)) for factor in grid])
        found, axes = torch.linalg.eigh(self._form(beta))
        parts = (self.start @ axes).square().sum(0)
        times = torch.from_numpy(data["moments"]) * data["pace"]
        norms = torch.exp(4 * times[:, None] * found) @ parts / parts.sum()
        top = float(found[-1])
        values = {f"curve_{k + 1}": spectra[:, k] for k in range(len(found))} | {
            "values": found, "here": [float(beta)] * len(found), "norms": norms, "top": top,
            "growing": int((found > 0).sum()),
            "word": "some direction still grows" if top > 0 else "everything shrinks",
        }  # fmt: skip
        largest = float(spectra[0, -1])
        lines = [Line(grid, f"@curve_{k + 1}", COLOURS[k % 4], width=1.5) for k in range(len(found))]
        spectrum = [
            Rule(y=0.0, dash="solid", width=1.0),
            *lines,
            Points("@here", "@values", "vermilion", size=9.0, label="at this $\\beta$"),
        ]
        course = [Rule(y=1.0, dash="solid", width=1.0), Line(data["moments"], "@norms", "vermilion")]
        names = "eigenvalues of $\\Sigma - \\beta\\Sigma_{\\mathrm{aug}}$", "$\\|W(t)\\|^2 / \\|W(0)\\|^2$"
        left = Panel(spectrum, "$\\beta/\\beta_c$", names[0], xlim=(0.0, 2.0), ylim=(-largest, 1.1 * largest))
        right = Panel(
            course, "time $4 t \\lambda_{\\max}(\\Sigma)$", names[1], "{word}", xlim=(0.0, self.units),
            ylim=(1e-3, 30.0), ylog=True,
        )  # fmt: skip
        return Scene([left, right], values)

    def _form(self, factor: float) -> Tensor:
        return self.between - factor * self.threshold * self.within
