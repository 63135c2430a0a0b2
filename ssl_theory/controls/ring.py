"""A ReLU neuron on a ring of pixels that sees two patterns: where descent takes it (T6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ssl_theory.display.scenes import Handle, Line, Panel, Points, Rule, Scene, Text
from ssl_theory.networks import ReLUNetwork
from ssl_theory.views import cyclic_translations

__all__ = ["Ring", "ring_path", "ring_separation"]

STEPS = 150


def ring_separation(w: Float[Tensor, "neurons n"]) -> Float[Tensor, "neurons n"]:
    """Return δ = K̄(11) − K̄(101) of ReLU neurons on a ring, from the gates of all translations."""
    n = w.shape[1]
    objects = torch.zeros(2, n, dtype=w.dtype, device=w.device)
    objects[0, [0, 1]] = objects[1, [0, 2]] = 1
    views = cyclic_translations(objects)
    gates = ReLUNetwork([w, torch.ones_like(w[:, :1]).T]).gates(views, 1).to(w)
    mean = torch.einsum("oav,oam->omv", views, gates) / n
    return mean[0] - mean[1]


def ring_path(w: Float[Tensor, " n"], eta: float, steps: int = STEPS) -> Float[Tensor, "steps n"]:
    """Return the neuron along `steps` steps of descent on −γ²/4, renormalised, the start included."""
    path = [w / w.norm()]
    for _ in range(steps):
        delta = ring_separation(path[-1][None])[0]
        moved = path[-1] + 0.5 * eta * (delta @ path[-1]) * delta
        path.append(moved / moved.norm())
    return torch.stack(path)


@dataclass(frozen=True)
class Ring:
    """A circle of starts through weight space, the gap of each, and the flow from one of them.

    Attributes:
        first: w at the angle 0, shape (n,).
        second: w at 90 degrees, shape (n,).
        eta: Size of a step of descent.
        arc: The last start in degrees; the first is 0.
    """

    first: Float[Tensor, " n"]
    second: Float[Tensor, " n"]
    eta: float = 0.5
    arc: int = 360

    @property
    def angles(self) -> list[int]:
        """The starts in degrees."""
        return list(range(0, self.arc + 1, 2 if self.arc > 180 else 1))

    @property
    def data(self) -> dict[str, Any]:
        """The plane of the starts, and the size of a step."""
        return {"first": self.first, "second": self.second, "eta": self.eta}

    def __call__(self, angle: float, steps: int) -> Scene:
        """Return the picture for a start at an angle in degrees, after some steps of descent."""
        path = ring_path(self._start(np.array([float(angle)]))[0], self.eta)
        gaps = (ring_separation(path) * path).sum(1).numpy()
        now = path[steps]
        starts = np.array(self.angles, dtype=float)
        circle = self._start(starts)
        shown = ((ring_separation(circle) * circle).sum(1) / circle.norm(dim=1)).numpy()
        return Scene(
            [self._ring(len(now)), _circle(starts, shown), _course()],
            _values(path, gaps, steps),
            widths=(1.0, 1.3, 1.3),
            height=210,
        )

    def _start(self, degrees: NDArray[Any]) -> Tensor:
        psi = torch.from_numpy(np.deg2rad(degrees))[:, None]
        return self.first.cpu() * psi.cos() + self.second.cpu() * psi.sin()

    def _ring(self, n: int) -> Panel:
        x, y = _places(n)
        marks = [
            Line("@near_x", "@near_y", "green", width=2.2, label="“11” on"),
            Line("@far_x", "@far_y", "purple", "dashed", 2.2, label="“101” on"),
            Points(x, y, "@colours", size="@sizes"),
            Text(1.36 * x, 1.36 * y, "@counts"),
        ]
        limits = (-1.6, 1.6)
        return Panel(marks, title="the neuron", xlim=limits, ylim=limits, axes=False, equal=True)


def _circle(starts: NDArray[Any], gaps: NDArray[Any]) -> Panel:
    reach = 1.1 * float(np.abs(gaps).max())
    marks = [
        Rule(y=0.0, dash="solid", width=1.0),
        Line(starts, gaps, "ink", width=1.5),
        Handle(starts, gaps, "angle"),
    ]
    names = "start $\\psi$ (degrees)", "gap $\\gamma/\\|w\\|$ at the start: drag it"
    end = int(starts[-1])
    limits: dict[str, Any] = {"xlim": (0, end), "ylim": (-reach, reach)}
    return Panel(marks, *names, xticks=range(0, end + 1, 45 if end <= 180 else 90), **limits)


def _course() -> Panel:
    marks = [
        Rule(y=0.0, dash="solid", width=1.0),
        Line(np.arange(STEPS + 1), "@gaps", "vermilion"),
        Points("@now", "@gap", "vermilion", size=10.0),
    ]
    title, name = "{fate}", "gap $\\gamma/\\|w\\|$ along descent"
    return Panel(marks, "step", name, title, xlim=(0.0, float(STEPS)), ylim=(-0.5, 0.5))


def _places(n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    angles = 2 * np.pi * np.arange(n) / n
    return np.sin(angles), np.cos(angles)


def _values(path: Tensor, gaps: NDArray[Any], steps: int) -> dict[str, Any]:
    now = path[steps].numpy()
    n = len(now)
    x, y = _places(n)
    lines = {}
    for name, distance in (("near", 1), ("far", 2)):
        ends = [(v, (v + distance) % n) for v in range(n) if now[v] + now[(v + distance) % n] > 1e-9]
        off = [v for v in range(n) if not now[v] + now[(v + distance) % n] > 1e-9]
        pieces = dict(ends)
        for axis, place in (("x", x), ("y", y)):
            lines[f"{name}_{axis}"] = [
                value
                for v in range(n)
                for value in ([np.nan] if v in off else [place[v], place[pieces[v]], np.nan])
            ]
    counts = (n * ring_separation(path[steps][None])[0]).round().int().tolist()
    blind = bool((ring_separation(path[:1]).abs() < 1e-12).all())
    learned = "learns “11”" if gaps[-1] > 0 else "learns “101”"
    return lines | {
        "sizes": 5 + 23 * np.abs(now) / np.abs(now).max(),
        "colours": ["vermilion" if value > 0 else "blue" for value in now],
        "counts": [f"{count:+d}".replace("-", "−") if count else "0" for count in counts],
        "gaps": gaps,
        "now": steps,
        "gap": float(gaps[steps]),
        "end": float(gaps[-1]),
        "fate": "blind: it stays where it is" if blind else learned,
    }
