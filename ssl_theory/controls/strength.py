"""Whether the norms of a network grow, for a strength of the augmentation and a temperature (T4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ssl_theory.display.scenes import Grid, Handle, Line, Panel, Points, Rule, Scene
from ssl_theory.losses import InfoNCE, half_squared_distances
from ssl_theory.networks import ReLUNetwork

__all__ = ["Strength", "growth"]


def growth(outputs: Float[Tensor, "objects views n"], tau: float) -> float:
    """Return E[ξ (r_− − r_+)] = vec(W_l)ᵀ OP_l vec(W_l) of every layer l: InfoNCE with one negative."""
    u = _gaps(outputs)
    xi = InfoNCE(tau).pair_weights(torch.zeros_like(u), u[:, None])[:, 0]
    return float((xi * u).mean())


def _gaps(outputs: Float[Tensor, "objects views n"]) -> Float[Tensor, " triples"]:
    """Return u = r_− − r_+ of all triples of views."""
    objects, views = outputs.shape[:2]
    everyone = outputs.flatten(0, 1)
    far = half_squared_distances(everyone, everyone)
    near = far.view(objects, views, objects, views).diagonal(dim1=0, dim2=2).movedim(-1, 0)
    return (far[:, None] - near.reshape(objects * views, views, 1)).flatten()


@dataclass(frozen=True)
class Strength:
    """The growth of all squared norms of one network over strength and temperature.

    Attributes:
        net: The network, without biases.
        objects: Shape (N, n_0).
        noise: What the augmentation adds at strength 1, shape (N, A, n_0).
        strengths: Ascending, on a logarithmic scale.
        taus: Likewise.
    """

    net: ReLUNetwork
    objects: Float[Tensor, "N n_0"]
    noise: Float[Tensor, "N A n_0"]
    strengths: NDArray[Any]
    taus: NDArray[Any]

    @property
    def data(self) -> dict[str, Any]:
        """The network, its objects and their noise, and both scales."""
        return {
            "weights": [w.detach() for w in self.net.weights], "objects": self.objects, "noise": self.noise,
            "strengths": self.strengths, "taus": self.taus,
        }  # fmt: skip

    def __call__(self, s: float, tau: float) -> Scene:
        """Return the picture at a strength and a temperature."""
        curve = np.array([self._growth(strength, tau) for strength in self.strengths])
        here, scale = self._growth(s, tau), np.abs(curve).max()
        values = {
            "signs": self._signs, "curve": curve / scale, "here": here / scale, "s": float(s),
            "tau": float(tau), "growth": here, "word": "grow" if here > 0 else "shrink",
        }  # fmt: skip
        ends, taus = (self.strengths[0], self.strengths[-1]), (self.taus[0], self.taus[-1])
        box = (ends[0], taus[0], ends[1], taus[1])
        plane = [Grid("@signs", -1.6, 1.6, box), Handle(self.strengths, self.taus, "s", "tau", "ink")]
        slope = [
            Rule(y=0.0, dash="solid", width=1.0),
            Line(self.strengths, "@curve", "ink"),
            Points("@s", "@here", "vermilion", size=10.0),
        ]
        names: dict[str, Any] = {"x": "strength $s$ of the augmentation", "xlog": True, "xlim": ends}
        return Scene(
            [
                Panel(plane, y="temperature $\\tau$: drag the dot", ylim=taus, ylog=True, **names),
                Panel(slope, y="growth / largest", title="the norms {word}", ylim=(-1.1, 1.1), **names),
            ],
            values,
        )

    def _outputs(self, s: float) -> Tensor:
        return self.net(self.objects[:, None] + s * self.noise).detach()

    def _growth(self, s: float, tau: float) -> float:
        return growth(self._outputs(s), tau)

    @cached_property
    def _signs(self) -> NDArray[Any]:
        b = 1 / torch.from_numpy(self.taus[::-1].copy())
        gaps = (_gaps(self._outputs(s)) for s in self.strengths)
        columns = [(u * torch.sigmoid(-b[:, None] * u)).mean(1).sign() for u in gaps]
        return torch.stack(columns, 1).numpy()
