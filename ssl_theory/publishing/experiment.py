"""The command `ssl-theory experiment hltm`: the table of the latent trees from the shell."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.experiment_images import add_images

OPTIONS: dict[str, tuple[type, str]] = {
    "seeds": (int, "networks in each setting, each on a tree of its own"),
    "epochs": (int, "epochs"),
    "depth": (int, "edges from the root to a leaf"),
    "branching": (int, "children of an inner node"),
    "batch": (int, "triples in an update"),
    "steps": (int, "updates in an epoch"),
    "loss": (str, "infonce, simple, positives or shared-weight"),
    "temperature": (float, "temperature of the loss"),
    "optimizer": (str, "sgd or adam"),
    "rate": (float, "step size"),
    "schedule": (str, "constant or cosine"),
    "seed": (int, "source of all randomness"),
}


def add_experiment(commands: Any) -> None:
    """Add `experiment` to the commands of a parser.

    Args:
        commands: What `add_subparsers` returned.
    """
    text = "Run an experiment and write its table."
    kinds = commands.add_parser("experiment", help=text, description=text).add_subparsers(
        required=True, metavar="EXPERIMENT"
    )
    add_images(kinds)
    parser = kinds.add_parser("hltm", help="do hidden neurons learn the latents of a tree?")
    parser.set_defaults(command=latent_trees)
    parser.add_argument(
        "--polarity", type=float, nargs="+", help="smallest |polarity| of a tree, one or more"
    )
    parser.add_argument("--width", type=int, nargs="+", help="neurons of a node, one or more")
    for name, (kind, help_text) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, help=help_text)
    parser.add_argument("--no-bias", action="store_true", help="networks without biases")
    parser.add_argument("--no-normalise", action="store_true", help="outputs that are not normalised")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<index>")
    parser.add_argument("--together", type=int, help="seeds trained at once")
    parser.add_argument("--compile", help="mode of torch.compile, such as reduce-overhead")
    parser.add_argument("--checkpoint", type=Path, help="base name of checkpoints to save to and go on from")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV file of the table")


def latent_trees(options: argparse.Namespace) -> None:
    """Run all settings asked for and write one table, anew after each of them.

    Args:
        options: What the parser of `add_experiment` found.

    Raises:
        UsageError: If an option has a value that is not allowed, or the table cannot be written.
        BuildError: If a checkpoint cannot be used.
    """
    import pandas as pd

    from ssl_theory.devices import resolve_device
    from ssl_theory.experiments.hltm import TreeExperiment, run, summary
    from ssl_theory.training import CheckpointError

    given = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    given |= {"bias": not options.no_bias, "normalise": not options.no_normalise}
    usual = TreeExperiment()
    try:
        device = str(resolve_device(options.device))
        experiments = [
            TreeExperiment(polarity=(low, 1.0), width=width, **given)
            for low in options.polarity or [usual.polarity[0]]
            for width in options.width or [usual.width]
        ]
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    _require_writable(options.output)
    tables = []
    for experiment in experiments:
        name = f"polarity {experiment.polarity[0]:g}, width {experiment.width}"
        print(f"{name}: {experiment.seeds} seeds, {experiment.epochs} epochs on {device}", flush=True)
        base = options.checkpoint and Path(
            f"{options.checkpoint}-{experiment.polarity[0]:g}-{experiment.width}"
        )
        try:
            rows = run(
                experiment,
                device=device,
                together=options.together,
                checkpoint=base,
                compile=options.compile or False,
                progress=True,
            )
        except CheckpointError as error:
            raise BuildError(str(error)) from error
        tables.append(summary(experiment, rows, device))
        pd.concat(tables).to_csv(options.output, index=False, float_format="%.6g")
    table = tables[-1]
    print(table[["level", "epoch", "mean", "std", "ceiling", "share"]].round(3).to_string(index=False))
    print(f"{sum(map(len, tables))} rows in {options.output}")


def _require_writable(path: Path) -> None:
    """Raise UsageError, before any work is done, unless a file can be written there."""
    new = not path.exists()
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise UsageError(f"the table cannot be written to {path}: {error.strerror}") from error
    if new:
        path.unlink()
