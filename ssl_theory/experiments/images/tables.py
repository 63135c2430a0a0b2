"""The stored tables of T12: which settings they hold, and how they are made again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pandas as pd
import torch

from ssl_theory.experiments.images.settings import ImageExperiment, LossName
from ssl_theory.experiments.images.train import labelled, pixels, run

_MAIN = ImageExperiment(seeds=5)
_SWEEP = ImageExperiment(seeds=2, epochs=20, measure_every=20)

TABLES: dict[str, tuple[ImageExperiment, ...]] = {
    "images": tuple(replace(_MAIN, loss=loss) for loss in get_args(LossName)),
    "images-long": tuple(replace(_MAIN, loss=loss, epochs=140) for loss in ("infonce", "covariance")),
    "images-beta": tuple(replace(_SWEEP, beta=b) for b in (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0)),
    "images-temperature": tuple(
        replace(_SWEEP, loss=loss, temperature=t)
        for loss in ("infonce", "covariance")
        for t in (0.05, 0.1, 0.2, 0.5, 1.0)
    ),
    "images-strength": tuple(replace(_SWEEP, strength=s) for s in (0.0, 0.25, 0.5, 1.0, 1.5)),
}
OPERATORS = tuple(replace(_SWEEP, loss=loss, measure_every=10, seeds=3) for loss in ("infonce", "covariance"))


def table(
    experiments: Sequence[ImageExperiment],
    *,
    folder: str | Path | None = None,
    device: str = "auto",
    progress: bool = False,
) -> pd.DataFrame:
    """Run experiments on one data set and return their rows, those of the pixels first.

    Args:
        experiments: What to run.
        folder: Where checkpoints are kept; what is complete is not run again.
        device: As for `resolve_device`.
        progress: Show progress bars.

    Returns:
        Rows as `labelled` makes them, with torch's version and the device.
    """
    where = {"torch": torch.__version__, "device": device}
    base = labelled(experiments[0], pixels(experiments[0], device=device), loss_name="pixels", epochs=0)
    tables = [base]
    for experiment in experiments:
        rows = run(experiment, device=device, folder=folder, progress=progress)
        tables.append(labelled(experiment, rows))
    return pd.concat(tables, ignore_index=True).assign(**where)
