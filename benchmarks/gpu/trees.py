"""A setting of the tree table, whole, beside the stored one, which a CPU computed from other batches."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pandas as pd

from benchmarks.gpu.report import Report
from benchmarks.gpu.setting import Setting
from ssl_theory.experiments.trees import MOMENTS, TreeExperiment, level_table, run, setting_name, stored

SAME, OTHER = "δ = 0.8, 10 neurons", "δ = 0.7, 10 neurons"
TARGET = 60.0  # seconds
DEVIATIONS = 3.0  # standard errors of a difference of means over independent seeds


def measure(setting: Setting, report: Report) -> None:
    experiment = TreeExperiment(polarity=(0.8, 1.0), width=10, seeds=30, epochs=20)
    assert setting_name(experiment) == SAME
    table = stored("latents")
    known = table[table["setting"] == SAME]
    fields = {k: v for k, v in asdict(experiment).items() if k in known and k not in ("epochs", "polarity")}
    different = {k: str(known[k].iloc[0]) for k, v in fields.items() if known[k].iloc[0] != v}
    report.number("fields in which the stored setting differs", different)
    report.number("seeds of the trees and networks", f"0 to {experiment.seeds - 1}")
    small = replace(experiment, seeds=2, depth=5, steps=2, evaluation=64)
    experiment = setting.pick(experiment, small)

    graph = False
    with report.guarded("kernel by kernel"):
        step(setting, report, experiment, graph=False)
    with report.guarded("CUDA graph"):
        step(setting, report, experiment, graph=True)
        graph = not setting.rehearsal
    epochs, each = affordable(setting, report, experiment, graph)
    rows, wall = setting.once(lambda: train(setting, experiment, graph, epochs=epochs))
    report.number("epochs that were run", epochs)
    report.number("as a CUDA graph", graph)
    report.number("seconds an epoch of 30 seeds, measured alone", each)
    report.at_most("seconds for 30 seeds and 20 epochs", wall * 20 / epochs, TARGET)
    compare(report, table, rows, epochs)


def train(setting: Setting, experiment: TreeExperiment, graph: bool, **changes: int) -> pd.DataFrame:
    return run(replace(experiment, **changes), device=setting.name, graph=graph and not setting.rehearsal)


def step(setting: Setting, report: Report, experiment: TreeExperiment, *, graph: bool) -> None:
    """Time a step, from runs that differ in their number alone; the first of them warms up."""
    few, many = setting.pick((20, 220), (1, 3))
    times = [
        setting.once(lambda count=count: train(setting, experiment, graph, epochs=1, steps=count))[1]
        for count in (few, few, many)
    ]
    how = "as a CUDA graph" if graph else "kernel by kernel"
    report.number(f"milliseconds a step of 30 seeds, {how}", 1e3 * (times[2] - times[1]) / (many - few))


def affordable(
    setting: Setting, report: Report, experiment: TreeExperiment, graph: bool
) -> tuple[int, float]:
    """Return how many epochs fit into the time that is left, and the seconds of one."""
    times = [setting.once(lambda e=e: train(setting, experiment, graph, epochs=e))[1] for e in (0, 1)]
    report.number("seconds to set up and measure once", times[0])
    each = max(times[1] - times[0], 1e-3)
    fits = int((0.9 * setting.left() - times[0]) / each)
    if fits < 1:
        raise TimeoutError(f"an epoch takes {each:.0f} s, {setting.left():.0f} s are left")
    return max(m for m in MOMENTS[1:] if m <= fits), each


def compare(report: Report, table: pd.DataFrame, rows: pd.DataFrame, epochs: int) -> None:
    """Compare levels and epochs with the stored table, in standard errors of the difference of two means.

    Trees and first weights are those of the stored run, so that differences come out smaller than between
    independent runs. Another setting of the table shows what the comparison would notice.
    """
    moments = tuple(m for m in MOMENTS if m <= epochs)
    for column, label in (("correlation", "mean"), ("belief_correlation", "belief")):
        found = level_table(rows, column, epochs=moments)
        same, other = (chosen(table, name, label, moments) for name in (SAME, OTHER))
        z = deviations(found, same)
        report.at_most(f"{column}: most standard errors from the stored table", float(z.max()), DEVIATIONS)
        report.number(f"{column}: root mean square of them", float((z**2).mean() ** 0.5))
        power = float(deviations(found, other).max())
        report.at_least(f"{column}: most standard errors from another setting of it", power, DEVIATIONS)
        for place, means in (("here", found["mean"]), ("stored", same["mean"])):
            last = [round(float(v), 4) for v in means.xs(epochs, level="epoch")]
            report.number(f"{column} at epoch {epochs} by level, {place}", last)


def chosen(table: pd.DataFrame, setting: str, label: str, epochs: tuple[int, ...]) -> pd.DataFrame:
    """Return mean, standard deviation and number of seeds by level and epoch."""
    part = table[(table["setting"] == setting) & table["epoch"].isin(epochs)]
    spread = "std" if label == "mean" else f"{label}_std"
    named = {"mean": part[label], "std": part[spread], "seeds": part["seeds"]}
    return pd.DataFrame(named | {k: part[k] for k in ("level", "epoch")}).set_index(["level", "epoch"])


def deviations(found: pd.DataFrame, known: pd.DataFrame) -> pd.Series:
    """Return the distance of two means for each level and epoch, in standard errors."""
    error = (found["std"] ** 2 / found["seeds"] + known["std"] ** 2 / known["seeds"]) ** 0.5
    z = ((found["mean"] - known["mean"]).abs() / error).dropna()
    if z.empty or not all(map(math.isfinite, z)):
        raise ValueError("no level and epoch can be compared")
    return z
