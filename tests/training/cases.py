"""A small training run with everything that makes resuming hard: momentum, dropout, batch statistics."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR

from ssl_theory.training import fit

STEPS = 12


class Case:
    """A model, its generator and a loss; `at` maps steps to what happens when their batch has been drawn."""

    def __init__(self, at: dict[int, Any] | None = None) -> None:
        torch.manual_seed(3)  # dropout draws from the global state
        self.generator = torch.Generator().manual_seed(7)
        self.model = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 2)
        )
        self.at = at or {}

    def loss(self, step: int) -> Tensor:
        x = torch.randn(8, 4, generator=self.generator)
        self.at.get(step, lambda: None)()
        return (self.model(x) - x[:, :2].abs()).square().mean()

    def measure(self, step: int) -> dict[str, Any]:
        noise = float(torch.rand((), generator=self.generator))
        return {"noise": noise, "layer": [1, 2], "norm": [self.model[i].weight.norm() for i in (0, 4)]}

    def fit(self, checkpoint: Path | None = None, **changes: Any) -> pd.DataFrame:
        settings: dict[str, Any] = {
            "steps": STEPS,
            "optimizer": partial(torch.optim.Adam, lr=0.05),
            "schedule": partial(MultiStepLR, milestones=[4, 9]),
            "measure": self.measure,
            "measure_every": 5,
            "checkpoint_every": 3,
            "generators": [self.generator],
            "configuration": {"data": "noise", "sizes": (4, 6, 2)},
        }
        return fit(self.model, self.loss, checkpoint=checkpoint, **{**settings, **changes})


def same(a: Case, b: Case) -> bool:
    """Return whether two cases hold the same weights, buffers and random states, bit for bit."""
    states = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in states) and torch.equal(
        a.generator.get_state(), b.generator.get_state()
    )
