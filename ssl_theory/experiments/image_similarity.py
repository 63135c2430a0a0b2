"""How alike the features are that two losses teach, beside those of one loss from two seeds (T12)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_theory.experiments.images import ImageExperiment, ImageRun
from ssl_theory.experiments.images.settings import ADDED, LossName
from ssl_theory.experiments.images.tables import made_on
from ssl_theory.experiments.store import Setting
from ssl_theory.experiments.sweep import Report, sweep
from ssl_theory.images.evaluation import features
from ssl_theory.inspection import linear_cka, subspace_similarity

__all__ = ["similarity", "similarity_table"]

DIRECTIONS = 10
PARTS = ("features", "outputs")


def similarity(
    first: ImageRun, second: ImageRun, *, directions: int = DIRECTIONS, copies: int = 4
) -> pd.DataFrame:
    """Return how alike two encoders' mean features of the test images are.

    Both are seen in evaluation mode, on the same random views of all test images.

    Args:
        first: A run, trained or not.
        second: Another run on the same data.
        directions: k of the subspaces.
        copies: Views of each image.

    Returns:
        A row for the "features" of the encoder and one for the "outputs" of the projector: `part`, `cka` and
        `subspace`, as `linear_cka` and `subspace_similarity` return them.

    Raises:
        ValueError: If the runs are on different data, or the features have fewer directions.
    """
    if first.experiment.data != second.experiment.data:
        raise ValueError(
            f"second must be on the data of first, {first.experiment.data}, got {second.experiment.data}"
        )
    both = [_means(run, copies) for run in (first, second)]
    return pd.DataFrame(
        [
            {
                "part": part,
                "cka": linear_cka(both[0][part], both[1][part]),
                "subspace": subspace_similarity(both[0][part], both[1][part], directions),
            }
            for part in PARTS
        ]
    )


def _means(run: ImageRun, copies: int) -> dict[str, Float[Tensor, "N n"]]:
    encoder, projector = run.settled()
    models = {"features": encoder, "outputs": nn.Sequential(encoder, projector)}
    found = {}
    for part, model in models.items():
        random = torch.Generator(run.data.device).manual_seed(0)  # the same views for all runs
        found[part] = features(model, run.data.test, run.data.view, generator=random, copies=copies).mean(0)
    return found


def similarity_table(
    base: ImageExperiment,
    losses: Sequence[LossName],
    *,
    folder: str | Path | None = None,
    device: str = "cpu",
    executor: Executor | None = None,
    report: Report | None = None,
) -> pd.DataFrame:
    """Return how alike the features of the first loss are to those of all losses, seed by seed.

    Args:
        base: Everything but the loss; each seed is compared with itself and with the next.
        losses: The losses, the first of which is compared.
        folder: Of the table, similarity.csv as `sweep` writes it, and of the trained networks, as `table`
            keeps them there: those of a study of accuracies are used again. None to keep nothing.
        device: As for `resolve_device`, where the experiments run.
        executor: As for `sweep`.
        report: As for `sweep`.

    Returns:
        Rows of `similarity` for each seed and each `other`, a loss or "random", encoders that were not
        trained; `other_seed`, `seed` itself or the next one; with the settings, torch's version and the
        device.

    Raises:
        ValueError: As for `ImageRun.on` and `sweep`.
        OSError: As for `sweep`.
    """
    keep = None if folder is None else Path(folder)
    base = replace(base, loss=losses[0])
    settings = [
        Setting(
            f"{base.loss} beside {', '.join(losses)}, seed {seed}",
            base.labels | {"seed": seed, "others": " ".join(losses)},
            partial(_one_seed, base, tuple(losses), seed, device, keep),
        )
        for seed in range(base.seed, base.seed + base.seeds)
    ]
    path = None if keep is None else keep / "similarity.csv"
    return sweep(settings, path, executor=executor, added=ADDED, report=report)


def _one_seed(
    base: ImageExperiment,
    losses: tuple[LossName, ...],
    seed: int,
    device: str,
    keep: Path | None,
    _: Path | None,
) -> pd.DataFrame:
    following = base.seed + (seed + 1 - base.seed) % base.seeds
    trained = partial(_trained, device=device, keep=keep)
    own, tables = trained(base, seed), []
    others = {"random": replace(base, epochs=0)} | {loss: replace(base, loss=loss) for loss in losses}
    for other, experiment in others.items():
        for other_seed in dict.fromkeys((seed, following)):
            if (other, other_seed) != (base.loss, seed):
                rows = similarity(own, trained(experiment, other_seed))
                tables.append(rows.assign(other=other, other_seed=other_seed))
    labels = base.labels | made_on(device)
    rows = pd.concat(tables, ignore_index=True)
    return rows.assign(seed=seed, others=" ".join(losses), **labels)


def _trained(experiment: ImageExperiment, seed: int, *, device: str, keep: Path | None) -> ImageRun:
    run = ImageRun.on(experiment, seed, device=device)
    if experiment.epochs:
        run.train(None if keep is None else keep / f"{experiment.name}-{seed}.pt")
    return run
