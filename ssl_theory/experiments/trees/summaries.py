"""What is said of many seeds: means by level, and how much of the update is explained."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import torch

import ssl_theory
from ssl_theory.experiments.trees.settings import TreeExperiment

_SPREAD = {"belief": "belief_correlation", "sum": "sum_correlation", "best_sum": "best_sum_correlation"}
_MEANS = {"limit": "ceiling", "sum_limit": "sum_ceiling", "norm": "operator_norm"}
MOMENTS = (0, 1, 2, 4, 8, 12, 16, 20)  # epochs that are stored


def level_table(rows: pd.DataFrame, value: str = "correlation", *, epochs: tuple[int, ...]) -> pd.DataFrame:
    """Return mean and standard deviation over seeds of a level's mean, for each level and epoch.

    Args:
        rows: What `run` returned.
        value: The column to summarise.
        epochs: Which epochs.

    Returns:
        Index (level, epoch), columns "mean", "std" (NaN for one seed) and "seeds".

    Raises:
        ValueError: If the rows hold none of an epoch.
    """
    missing = set(epochs) - set(rows["epoch"])
    if missing:
        raise ValueError(f"epochs must be among {sorted(set(rows['epoch']))}, got {sorted(missing)}")
    chosen = rows[rows["epoch"].isin(epochs)]
    by_seed = chosen.groupby(["level", "epoch", "seed"])[value].mean()
    table = by_seed.groupby(["level", "epoch"]).agg(["mean", "std", "count"])
    return table.rename(columns={"count": "seeds"})


def explained(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how much of the measured update the leading operator explains, by level and epoch.

    Args:
        rows: What `run` returned.

    Returns:
        Index (level, epoch); `cosine` of the two updates of a level, all nodes and seeds together, and
        `ratio`, the norm of the leading one over that of the measured one. Estimates: noise may carry a
        cosine beyond 1.
    """
    sums = rows.groupby(["level", "epoch"])[["update_dot", "update_square", "leading_square"]].sum()
    update, leading = (
        sums["update_square"].clip(lower=0.0) ** 0.5,
        sums["leading_square"].clip(lower=0.0) ** 0.5,
    )
    return pd.DataFrame({"cosine": sums["update_dot"] / (update * leading), "ratio": leading / update})


def level_summary(
    experiment: TreeExperiment, rows: pd.DataFrame, device: str, *, epochs: Sequence[int] = MOMENTS
) -> pd.DataFrame:
    """Return what is stored of one experiment: a row for each level and chosen epoch.

    Args:
        experiment: What was run.
        rows: What `run` returned.
        device: Where it ran, for the record.
        epochs: Which epochs; those that were not run are left out.

    Returns:
        The setting; mean and standard deviation over seeds of a level's mean `correlation` ("mean", "std"),
        `belief_correlation` ("belief", "belief_std"), and of pre-activations, `sum_correlation` ("sum",
        "sum_std") and `best_sum_correlation` ("best_sum", "best_sum_std"); means of their limits `ceiling`
        ("limit") and `sum_ceiling` ("sum_limit") and of `operator_norm` ("norm"); `cosine` and `ratio` of the
        leading and the measured update, and `kept`, how much of the leading one is in the measured one: their
        inner product over the leading one's square; seeds, torch's version, device.
    """
    kept = tuple(epoch for epoch in epochs if epoch in set(rows["epoch"]))
    table = level_table(rows, epochs=kept)
    for column, value in _SPREAD.items():
        found = level_table(rows, value, epochs=kept)
        table[[column, f"{column}_std"]] = found[["mean", "std"]]
    for column, value in _MEANS.items():
        table[column] = level_table(rows, value, epochs=kept)["mean"]
    sums = rows.groupby(["level", "epoch"])[["update_dot", "leading_square"]].sum()
    table["kept"] = sums["update_dot"] / sums["leading_square"].where(sums["leading_square"] > 0.0)
    # a measured update within its noise of 0 has no direction
    table = table.join(explained(rows).replace([math.inf, -math.inf], math.nan)).reset_index()
    setting = {n: v for n, v in experiment.labels.items() if n != "seeds"}  # they stand beside the means
    return table.assign(**setting, **_made(rows, device))


def seed_summary(
    experiment: TreeExperiment, rows: pd.DataFrame, device: str, *, epochs: Sequence[int] = MOMENTS
) -> pd.DataFrame:
    """Return a row for each level, chosen epoch and seed, so that settings can be compared seed by seed.

    Args:
        experiment: What was run.
        rows: What `run` returned.
        device: Where it ran, for the record.
        epochs: Which epochs; those that were not run are left out.

    Returns:
        Means over the nodes of a level of `correlation` ("mean") and of what `level_summary` gives means of,
        under the names used there, "network" for the number of the seed; the setting, torch's version,
        device.
    """
    columns = {"mean": "correlation"} | _SPREAD | _MEANS
    chosen = rows[rows["epoch"].isin(epochs)]
    table = chosen.groupby(["level", "epoch", "seed"])[list(columns.values())].mean()
    table.columns = pd.Index(columns)
    table = table.reset_index(names=["level", "epoch", "network"])
    return table.assign(**experiment.labels, **_made(rows, device))


def _made(rows: pd.DataFrame, device: str) -> dict[str, str | int]:
    together = int(rows.groupby("group")["seed"].nunique().max())
    versions = {"torch": torch.__version__, "ssl_theory": ssl_theory.__version__}
    return {"together": together, **versions, "device": device}
