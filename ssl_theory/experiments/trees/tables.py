"""The tables of T11: which settings they hold, and how they are written so that a stopped run goes on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ssl_theory.experiments.trees.settings import TreeExperiment
from ssl_theory.experiments.trees.summaries import MOMENTS, level_summary
from ssl_theory.experiments.trees.train import run
from ssl_theory.training import resolve_device
from ssl_theory.training.checkpoints import atomic_write

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


def setting_name(experiment: TreeExperiment) -> str:
    """Return what a cell of the main table is called."""
    return f"δ = {experiment.polarity[0]:g}, {experiment.width} neurons"


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
            return pd.read_csv(path)
    raise FileNotFoundError(f"name must be that of a table in book/results, got {name!r}")


def tabulate(
    experiments: Mapping[str, TreeExperiment],
    path: Path | None = None,
    *,
    device: str = "cpu",
    epochs: Sequence[int] = MOMENTS,
    **how: Any,
) -> pd.DataFrame:
    """Run experiments one after the other and return their table.

    Args:
        experiments: Settings by name.
        path: CSV file, written anew after each setting. Settings that it holds already are not run again, and
            one that was stopped goes on from its checkpoints, in a folder beside the file. Rows of other
            settings stay. None to keep nothing.
        device: As for `run`.
        epochs: As for `level_summary`.
        **how: Further arguments of `run`: `together`, `compile`, `progress`.

    Returns:
        `level_summary` of each, with its name in the column "setting", in the order asked for.

    Raises:
        ValueError: If the file holds another experiment under one of the names.
        OSError: If it cannot be written; found out before the first run.
    """
    place = str(resolve_device(device))
    table = _read(path)
    for name, experiment in experiments.items():
        found = table[table["setting"] == name]
        if len(found):
            _require_same(name, experiment, found)
            continue
        folder = path and path.with_name(f".{path.stem}-{place.replace(':', '-')}")
        if folder:
            folder.mkdir(exist_ok=True)
        base = folder and folder / hashlib.sha256(name.encode()).hexdigest()[:12]
        rows = run(experiment, device=place, checkpoint=base, **how)
        part = level_summary(experiment, rows, place, epochs=epochs)
        part.insert(0, "setting", name)
        table = pd.concat([table, part], ignore_index=True) if len(table) else part
        if path and folder:
            with atomic_write(path) as file:
                table.to_csv(file, index=False, float_format="%.6g")
            table = pd.read_csv(path)  # the same digits, whether run now or found
            shutil.rmtree(folder)
    return pd.concat([table[table["setting"] == name] for name in experiments], ignore_index=True)


def _read(path: Path | None) -> pd.DataFrame:
    """Return the table in a file, after making sure that the file can be written."""
    empty = pd.DataFrame({"setting": []})
    if path is None:
        return empty
    with path.open("ab"):
        pass
    if not path.stat().st_size:
        return empty
    table = pd.read_csv(path)
    if "setting" not in table:
        raise ValueError(f"path must hold a table of this experiment, or nothing, got another file: {path}")
    return table


def _require_same(name: str, experiment: TreeExperiment, found: pd.DataFrame) -> None:
    for field, value in asdict(experiment).items():
        if field == "polarity":
            held: Any = (float(found["polarity_low"].iloc[0]), float(found["polarity_high"].iloc[0]))
        else:
            held = found[field].iloc[0]
        if held != value:
            raise ValueError(f"path holds {name!r} with {field} = {held}, got {value}; name another file")
