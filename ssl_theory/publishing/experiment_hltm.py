"""The command `ssl-theory experiment hltm`: the table of the latent trees from the shell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ssl_theory.publishing.experiment_options import Output, Place, combinations, grid, parse, shard_of

if TYPE_CHECKING:
    import pandas as pd

    from ssl_theory.experiments.trees import TreeExperiment

SINGLE = ("seeds", "seed")
LARGE = 20  # times the usual setting


@dataclass(frozen=True)
class TreePlace(Place):
    """Where to run, and how.

    Args:
        output: CSV file of the table; if it is there it goes on, and its other rows stay.
        together: Seeds trained at once; else as many as fit.
        compile: Mode of torch.compile.
    """

    output: Output
    together: int | None = None
    compile: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] | None = None


def latent_trees(arguments: Sequence[str], about: str) -> None:
    """Run all settings asked for, every polarity with every width and so on, and write one table.

    Args:
        arguments: Options, as in the help.
        about: What the experiment asks, for the help.

    Raises:
        UsageError: If the options do not fit.
        MemoryError: If not even one seed fits.
    """
    from ssl_theory.experiments.trees import MOMENTS, TreeExperiment, tabulate
    from ssl_theory.publishing.experiment import cluster
    from ssl_theory.validation import require_integer

    usual = TreeExperiment()
    low = "δ, smallest |ρ| of a tree's edges; the largest is 1, the signs are random."
    settings = grid(usual, single=SINGLE, polarity=(float, usual.polarity[0], low))
    options = parse(settings, TreePlace, arguments, "experiment hltm", about)
    how, experiments = options.how, _experiments(options.settings)
    shard = shard_of(how.shard)
    if how.together is not None:
        require_integer("together", how.together, 1)
    _say(experiments, how)
    with cluster(how.dask) as executor:
        table = tabulate(
            experiments,
            how.output,
            device=how.device,
            epochs=sorted({*MOMENTS, *(e.epochs for e in experiments.values())}),
            executor=executor,
            shard=shard,
            report=lambda line: print(line, flush=True),
            together=how.together,
            compile=how.compile or False,
            progress=executor is None,
        )
    if shard is None:
        _show(table)
        print(f"{len(table)} rows in {how.output}")
    else:
        print(f"{len(table)} rows beside {how.output}; the same command without --shard gathers them")


def _experiments(options: Any) -> dict[str, TreeExperiment]:
    """Return the settings asked for by name, polarities changing first."""
    from ssl_theory.experiments.trees import TreeExperiment, setting_name

    fields, several = combinations(options)
    further = [name for name in several if name not in ("polarity", "width")]
    experiments = [TreeExperiment(**{**one, "polarity": (one["polarity"], 1.0)}) for one in fields]
    return {setting_name(experiment, further): experiment for experiment in experiments}


def _say(experiments: Mapping[str, TreeExperiment], how: TreePlace) -> None:
    """Print what will run before it runs.

    Args:
        experiments: Settings by name.
        how: Where.

    Raises:
        ValueError: If the device is not there.
        MemoryError: If not even one seed of a setting fits.
    """
    from ssl_theory.experiments.trees import TreeExperiment, bytes_per_seed, products, seeds_at_once
    from ssl_theory.training import resolve_device

    shown = [*list(experiments)[:12], *(["…"] if len(experiments) > 12 else [])]
    print(f"{len(experiments)} settings: {'; '.join(shown)}")
    first = next(iter(experiments.values()))
    updates = f"{first.seeds:,} seeds each, {first.epochs * first.steps:,} updates"
    work = sum(map(products, experiments.values())) / products(TreeExperiment())
    print(f"{updates}; {work:.2g} times the work of the usual setting", flush=True)
    groups = 1
    if how.dask is None:
        device = resolve_device(how.device)
        need = max(bytes_per_seed(e, device) for e in experiments.values()) / 2**20
        fitting = min(seeds_at_once(e, device) for e in experiments.values())
        together = min(how.together or fitting, first.seeds)
        groups = -(-first.seeds // together)
        print(f"{together:,} seeds at a time on {device}, each with about {need:,.0f} MiB", flush=True)
    if work > LARGE or groups > LARGE:
        print("this is large: fewer --seeds, --epochs or a smaller --depth end sooner", flush=True)


def _show(table: pd.DataFrame) -> None:
    """Print the correlations at the start, after one epoch and at the end, beside their limits."""
    shown = table[table["epoch"].isin((0, 1)) | (table["epoch"] == table["epochs"])]
    columns = ["setting", "level", "epoch", "mean", "std", "limit"]
    print(shown[columns].round(3).to_string(index=False))
