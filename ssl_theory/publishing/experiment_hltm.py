"""The command `ssl-theory experiment hltm`: the table of the latent trees from the shell."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_theory.publishing.errors import BuildError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from ssl_theory.experiments.trees import TreeExperiment

OPTIONS: dict[str, tuple[type, str]] = {
    "seeds": (int, "networks in each setting, each on a tree of its own"),
    "epochs": (int, "epochs"),
    "depth": (int, "edges from the root to a leaf"),
    "branching": (int, "children of an inner node"),
    "root-polarity": (float, "polarity of the root's law"),
    "batch": (int, "triples in an update"),
    "steps": (int, "updates in an epoch"),
    "loss": (str, "infonce, simple, positives or shared-weight"),
    "temperature": (float, "temperature of the loss"),
    "optimizer": (str, "sgd or adam"),
    "rate": (float, "step size"),
    "schedule": (str, "constant or cosine"),
    "init": (str, "standard or uniform"),
    "evaluation": (int, "draws on which networks are measured"),
    "seed": (int, "source of all randomness"),
}


def add_hltm(kinds: Any) -> None:
    """Add `hltm` to the experiments of a parser.

    Args:
        kinds: What `add_subparsers` of the command `experiment` returned.
    """
    parser = kinds.add_parser("hltm", help="do hidden neurons learn the latents of a tree?")
    parser.set_defaults(command=latent_trees)
    parser.add_argument(
        "--polarity", type=float, nargs="+", help="smallest |polarity| of a tree, one or more"
    )
    parser.add_argument("--width", type=int, nargs="+", help="neurons of a node, one or more")
    for name, (kind, text) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, help=text)
    parser.add_argument("--no-bias", action="store_true", help="networks without biases")
    parser.add_argument("--no-normalise", action="store_true", help="outputs that are not normalised")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<index>")
    parser.add_argument("--together", type=int, help="seeds trained at once; else as many as fit")
    parser.add_argument("--compile", help="mode of torch.compile, such as default")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="CSV file of the table, continued if it is there"
    )


def latent_trees(options: argparse.Namespace) -> None:
    """Run all settings asked for, every polarity with every width, and write one table.

    The table is written anew after each setting. Settings that it holds are not run again, and one that was
    stopped goes on from its last epoch.

    Args:
        options: What the parser of `add_hltm` found.

    Raises:
        UsageError: If an option has a value that is not allowed, or the table cannot be written or holds
            something else.
        BuildError: If a checkpoint cannot be used, the memory does not suffice, or a run diverges.
    """
    from ssl_theory.experiments.trees import MOMENTS, tabulate
    from ssl_theory.training import CheckpointError, NonFiniteError

    experiments = _experiments(options)
    last = next(iter(experiments.values())).epochs
    how: dict[str, Any] = {"together": options.together, "compile": options.compile or False}
    print(f"{len(experiments)} settings: {'; '.join(experiments)}", flush=True)
    try:
        table = tabulate(
            experiments,
            options.output,
            device=options.device,
            epochs=sorted({*MOMENTS, last}),
            progress=True,
            **how,
        )
    except (CheckpointError, MemoryError) as error:
        raise BuildError(str(error)) from error
    except NonFiniteError as error:
        raise BuildError(f"{error}; try a lower --rate or a higher --temperature") from error
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    _show(table, last)
    print(f"{len(table)} rows in {options.output}")


def _experiments(options: argparse.Namespace) -> dict[str, TreeExperiment]:
    """Return the settings asked for by name."""
    from ssl_theory.experiments.trees import TreeExperiment, setting_name
    from ssl_theory.validation import require_integer

    names = [name.replace("-", "_") for name in OPTIONS]
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    given |= {"bias": not options.no_bias, "normalise": not options.no_normalise}
    usual = TreeExperiment()
    try:
        if options.together is not None:
            require_integer("together", options.together, 1)
        experiments = [
            TreeExperiment(polarity=(low, 1.0), width=width, **given)
            for width in options.width or [usual.width]
            for low in options.polarity or [usual.polarity[0]]
        ]
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    return {setting_name(experiment): experiment for experiment in experiments}


def _show(table: pd.DataFrame, last: int) -> None:
    """Print the correlations at the start, after one epoch and at the end, beside their limits."""
    shown = table[table["epoch"].isin((0, 1, last))]
    columns = ["setting", "level", "epoch", "mean", "std", "limit"]
    print(shown[columns].round(3).to_string(index=False))
