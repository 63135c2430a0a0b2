"""The stored tables of T12: which settings they hold, and how they are made again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ssl_theory.experiments.images.settings import ADDED, ImageExperiment, LossName
from ssl_theory.experiments.images.train import _Data, labelled, pixels, run
from ssl_theory.experiments.store import Label, Setting
from ssl_theory.experiments.sweep import Report, Shard, sweep
from ssl_theory.images.data import Name
from ssl_theory.training import distributed, resolve_device

TABLE = "table.csv"

_MAIN = ImageExperiment(seeds=10)
_SWEEP = ImageExperiment(seeds=5, epochs=20, measure_every=20)
_LOSSES: tuple[tuple[LossName, int], ...] = (
    ("infonce", 10),
    ("covariance", 10),
    ("covariance-plain", 5),
    ("triplet", 5),
    ("simple", 10),
)

BETAS = (-0.5, 0.0, 1.0, 4.0, 16.0, 64.0, 256.0)

TABLES: dict[str, tuple[ImageExperiment, ...]] = {
    "images": tuple(replace(_MAIN, loss=loss, seeds=seeds) for loss, seeds in _LOSSES),
    "images-long": tuple(
        replace(_MAIN, loss=loss, epochs=140, seeds=5) for loss in ("infonce", "covariance")
    ),
    "images-beta": tuple(replace(_SWEEP, beta=b) for b in BETAS),
    "images-temperature": tuple(
        replace(_SWEEP, loss=loss, temperature=t)
        for loss in ("infonce", "covariance")
        for t in (0.05, 0.1, 0.2, 0.5, 1.0)
    ),
    "images-strength": tuple(replace(_SWEEP, strength=s) for s in (0.0, 0.25, 0.5, 1.0, 1.5)),
}

PAPER_BETAS = (-0.5, -0.2, 0.2, 1.0, 4.0, 16.0, 64.0)


def paper_study(base: ImageExperiment) -> tuple[ImageExperiment, ...]:
    """Return the settings of the paper's study of images: four losses, two of them with β as well.

    Args:
        base: Everything but loss and β; `paper_base` for the paper's own.

    Returns:
        InfoNCE, its covariance loss, and the exact-covariance option of the authors' program with weights
        from the views and from the images without augmentation; InfoNCE and the last with β from negative to
        large as that program defines it.
    """
    losses: tuple[LossName, ...] = ("infonce", "covariance", "released-views", "released-originals")
    extended: tuple[LossName, ...] = ("infonce", "released-originals")
    return (
        *(replace(base, loss=loss) for loss in losses),
        *(
            replace(base, loss=loss, beta=beta, beta_convention="released")
            for loss in extended
            for beta in PAPER_BETAS
        ),
    )


def paper_base(data: Name) -> ImageExperiment:
    """Return what the paper's study of images trains: ResNet-18 for 500 epochs, the rest as in `usual`."""
    return replace(ImageExperiment.usual("cifar10"), data=data, epochs=500, measure_every=50)


def measured_on_gpu() -> dict[str, Any] | None:
    """Return what `python -m benchmarks gpu` measured on a GPU, or None where the repository is not there."""
    path = Path(__file__).parents[3] / "benchmarks" / "measured" / "gpu.json"
    found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found


def table(
    experiments: Sequence[ImageExperiment],
    *,
    folder: str | Path | None = None,
    device: str = "auto",
    data_folder: str | Path | None = None,
    executor: Executor | None = None,
    shard: Shard | None = None,
    report: Report | None = None,
    **how: Any,
) -> pd.DataFrame:
    """Run experiments on one data set and return their rows, those of the pixels first.

    Args:
        experiments: What to run.
        folder: Of the table, table.csv as `sweep` writes it, and of the trained networks; None to keep
            nothing.
        device: As for `resolve_device`, where the experiments run.
        data_folder: As for `load_images`.
        executor: As for `sweep`.
        shard: As for `sweep`.
        report: As for `sweep`.
        **how: Further arguments of `run`: `precision`, `compile`, `channels_last`, `progress`.

    Returns:
        Rows as `labelled` makes them, with torch's version and the device.

    Raises:
        ValueError: As for `run` and `sweep`.
        OSError: As for `sweep`; also if the data is not there.
    """
    keep = None if folder is None else Path(folder)
    place: dict[str, Any] = {"device": device, "data_folder": data_folder}
    settings = _pixel_settings(experiments[0], place)
    names = {e: _told_apart(e, experiments) for e in experiments}
    for e, name in names.items():
        for seed in range(e.seed, e.seed + e.seeds):
            work = partial(_trained, replace(e, seeds=1, seed=seed), place, how, keep)
            settings.append(Setting(f"{name}, seed {seed}", e.labels | {"seed": seed}, work))

    def data_is_there() -> None:
        for e in experiments:
            _Data.load(e, **place)

    return sweep(
        settings,
        keep and keep / TABLE,
        executor=executor,
        shard=shard,
        added=ADDED,
        check=data_is_there,
        report=report,
    )


def _pixel_settings(base: ImageExperiment, place: Mapping[str, Any]) -> list[Setting]:
    """Return what views themselves are worth: it depends on how they are drawn, not on the network."""
    views: dict[str, Label] = {"data": base.data, "strength": base.strength, "copies": base.copies}
    return [
        Setting(
            f"pixels, seed {seed}",
            views | {"loss_name": "pixels", "seed": seed},
            partial(_pixels, replace(base, seeds=1, seed=seed), place),
        )
        for seed in range(base.seed, base.seed + base.seeds)
    ]


def _told_apart(one: ImageExperiment, others: Sequence[ImageExperiment]) -> str:
    """Return the loss of an experiment, and what else tells it from the others."""
    varying = [n for n in one.labels if n != "loss_name" and len({e.labels[n] for e in others}) > 1]
    return ", ".join([one.loss, *(f"{n.replace('_', ' ')} = {one.labels[n]}" for n in varying)])


def _pixels(experiment: ImageExperiment, place: Mapping[str, Any], _: Path | None) -> pd.DataFrame:
    rows = pixels(experiment, **place)
    return labelled(experiment, rows, loss_name="pixels", epochs=0, **made_on(place["device"]))


def _trained(
    experiment: ImageExperiment,
    place: Mapping[str, Any],
    how: Mapping[str, Any],
    keep: Path | None,
    folder: Path | None,
) -> pd.DataFrame:
    """Return the rows of one seed; the network of a run that is complete is kept beside the table."""
    file = f"{experiment.name}-{experiment.seed}.pt"
    there = keep is not None and (keep / file).exists()
    rows = run(experiment, folder=keep if there else folder, **place, **how)
    if keep is not None and folder is not None and not there and distributed.rank() == 0:
        (folder / file).replace(keep / file)
    return labelled(experiment, rows, **made_on(place["device"]))


def made_on(device: str) -> dict[str, str]:
    """Return what a stored table says of its making: torch's version and the device's name.

    Args:
        device: As for `resolve_device`.

    Returns:
        `torch` and `device`.
    """
    place = resolve_device(device)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else str(place)
    return {"torch": str(torch.__version__), "device": name}
