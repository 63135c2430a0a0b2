"""The tables of T11: which settings they hold, and how they are made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ssl_theory.experiments.store import Label, Setting, read_exactly
from ssl_theory.experiments.sweep import Report, Shard, sweep
from ssl_theory.experiments.trees.memory import seeds_at_once
from ssl_theory.experiments.trees.settings import ADDED, TreeExperiment
from ssl_theory.experiments.trees.summaries import MOMENTS, level_summary
from ssl_theory.experiments.trees.train import run
from ssl_theory.training import resolve_device
from ssl_theory.training.checkpoints import atomic_write

Summary = Callable[..., pd.DataFrame]
POLARITIES, WIDTHS = (0.7, 0.8, 0.9), (2, 5, 10)

_PACKAGE = Path(__file__).parents[2]
_BASE = TreeExperiment(seeds=8, epochs=4)
_ADAM: dict[str, Any] = {"optimizer": "adam", "rate": 0.01}
_CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "τ = 0.03": {"temperature": 0.03},
    "τ = 0.3": {"temperature": 0.3},
    "τ = 1": {"temperature": 1.0},
    "step size 0.01": {"rate": 0.01},
    "step size 0.03": {"rate": 0.03},
    "step size 0.3": {"rate": 0.3},
    "step size 1": {"rate": 1.0},
    "no biases": {"bias": False},
    "not normalised": {"normalise": False},
    "neither": {"bias": False, "normalise": False},
    "uniform start": {"init": "uniform"},
    "batch 32": {"batch": 32},
    "Adam": _ADAM,
    "Adam, falling step": _ADAM | {"schedule": "cosine"},
    "Adam, falling step, not normalised": _ADAM | {"schedule": "cosine", "normalise": False},
    "one weight a batch (−p)": {"loss": "shared-weight"},
    "simple loss": {"loss": "simple"},
    "no negatives": {"loss": "positives"},
    "weak polarities": {"polarity": (0.4, 0.6)},
    "one neuron a node": {"width": 1},
    "one neuron, not normalised": {"width": 1, "normalise": False},
    "one neuron, not normalised, Adam, falling step": _ADAM
    | {"schedule": "cosine", "width": 1, "normalise": False},
}


def grid(seeds: int = 30, epochs: int = 20) -> dict[str, TreeExperiment]:
    """Return the nine settings of the main table: three intervals of polarities, three widths."""
    settings = (
        TreeExperiment(polarity=(low, 1.0), width=width, seeds=seeds, epochs=epochs)
        for width in WIDTHS
        for low in POLARITIES
    )
    return {setting_name(experiment): experiment for experiment in settings}


def setting_name(experiment: TreeExperiment, further: Sequence[str] = ()) -> str:
    """Return what a cell of the main table is called.

    Args:
        experiment: The cell.
        further: Fields that tell it from others, besides polarity and width.

    Returns:
        Numbers with as many digits as it takes to tell them from others.
    """
    others = [f"{name.replace('_', ' ')} = {_short(experiment.labels[name])}" for name in further]
    low = _short(experiment.labels["polarity_low"])
    return ", ".join([f"δ = {low}", f"{experiment.width} neurons", *others])


def _short(value: Label) -> str:
    brief = f"{value:g}" if isinstance(value, float) else str(value)
    return brief if not isinstance(value, float) or float(brief) == value else repr(value)


def variations(**changes: Any) -> dict[str, TreeExperiment]:
    """Return the settings of the second table: one thing changed at a time, on the same trees.

    Args:
        **changes: Fields of `TreeExperiment` to set in all of them, for a smaller run.
    """
    return {name: replace(_BASE, **{**change, **changes}) for name, change in _CHANGES.items()}


def stored(name: str) -> pd.DataFrame:
    """Return a table that comes with the book, book/results/<name>.csv.

    Raises:
        FileNotFoundError: If there is none of this name.
    """
    places = [folder / "results" / f"{name}.csv" for folder in (_PACKAGE.parent / "book", _PACKAGE / "_book")]
    for path in places:
        if path.exists():
            return read_exactly(path)
    raise FileNotFoundError(f"name must be that of a table in book/results, got {name!r}")


def tabulate(
    experiments: Mapping[str, TreeExperiment],
    path: Path | None = None,
    *,
    device: str = "cpu",
    epochs: Sequence[int] = MOMENTS,
    summary: Summary = level_summary,
    executor: Executor | None = None,
    shard: Shard | None = None,
    report: Report | None = None,
    **how: Any,
) -> pd.DataFrame:
    """Run experiments and return their table.

    Args:
        experiments: Settings by name.
        path: CSV file, as for `sweep`; None to keep nothing.
        device: As for `resolve_device`, where the experiments run.
        epochs: As for `level_summary`.
        summary: `level_summary` or `seed_summary`.
        executor: As for `sweep`.
        shard: As for `sweep`.
        report: As for `sweep`.
        **how: Further arguments of `run`: `together`, `compile`, `progress`.

    Returns:
        The summary of each, with its name in the column "setting", in the order asked for.

    Raises:
        ValueError: If the device is not there, or as for `sweep`.
        OSError: As for `sweep`.
    """
    if executor is None:
        resolve_device(device)
    settings = [
        Setting(
            name,
            experiment.labels,
            partial(_summarised, name, experiment, device, tuple(epochs), summary, how),
        )
        for name, experiment in experiments.items()
    ]
    return sweep(settings, path, executor=executor, shard=shard, names="setting", added=ADDED, report=report)


def _summarised(
    name: str,
    experiment: TreeExperiment,
    device: str,
    epochs: Sequence[int],
    summary: Summary,
    how: Mapping[str, Any],
    folder: Path | None,
) -> pd.DataFrame:
    place = str(resolve_device(device))
    if folder is not None and how.get("together") is None:
        how = {**how, "together": _together(experiment, place, folder / "together")}
    rows = run(experiment, device=place, checkpoint=folder and folder / "seeds", **how)
    part = summary(experiment, rows, place, epochs=epochs)
    part.insert(0, "setting", name)
    return part


def _together(experiment: TreeExperiment, device: str, note: Path) -> int:
    """Return how many seeds share batches: as many as fit, or as did when a run that was stopped began."""
    if not note.exists():
        with atomic_write(note) as file:
            file.write(str(seeds_at_once(experiment, resolve_device(device))).encode())
    return int(note.read_text(encoding="ascii"))
