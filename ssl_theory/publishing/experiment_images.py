"""The command `ssl-theory experiment images`: the table of the encoders of images from the shell."""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_theory.publishing.errors import BuildError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from ssl_theory.experiments.images import ImageExperiment

TABLE = "table.csv"

SWEPT: dict[str, tuple[type, str]] = {
    "loss": (str, "infonce, simple, triplet, covariance or covariance-plain"),
    "temperature": (float, "temperature of the loss"),
    "beta": (float, "weight of the extra distance between views"),
    "strength": (float, "factor of the augmentation"),
}
OPTIONS: dict[str, tuple[type, str]] = {
    "encoder": (str, "conv or resnet18"),
    "hidden": (int, "width of the projector's hidden layer"),
    "outputs": (int, "width of what the loss compares"),
    "margin": (float, "margin of the triplet loss"),
    "epochs": (int, "passes through the images"),
    "batch": (int, "images in an update, each in two views"),
    "rate": (float, "step size of Adam at the start"),
    "schedule": (str, "constant or cosine"),
    "measure-every": (int, "epochs between evaluations"),
    "copies": (int, "random views of each digit at an evaluation"),
    "seeds": (int, "runs of each setting"),
    "seed": (int, "seed of the first run"),
}


def add_images(kinds: Any) -> None:
    """Add `images` to the experiments of a parser.

    Args:
        kinds: What `add_subparsers` of the command `experiment` returned.
    """
    parser = kinds.add_parser("images", help="does the operator explain contrastive learning on images?")
    parser.set_defaults(command=images)
    parser.add_argument("--data", default="digits", help="digits, mnist, photographs, cifar10 or stl10")
    for name, (kind, text) in SWEPT.items():
        parser.add_argument(f"--{name}", type=kind, nargs="+", help=f"{text}; one or more")
    for name, (kind, text) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, help=text)
    parser.add_argument("--channels", type=int, nargs="+", help="channels of the layers of conv")
    parser.add_argument("--strides", type=int, nargs="+", help="strides of the layers of conv")
    parser.add_argument("--no-batch-norm", action="store_true", help="networks without BatchNorm")
    parser.add_argument("--data-folder", type=Path, help="where the archives of the images are")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<index>")
    parser.add_argument("--precision", default="full", help="full or bfloat16")
    parser.add_argument("--compile", action="store_true", help="compile encoder and projector")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help=f"folder of {TABLE} and of the checkpoints"
    )


def images(options: argparse.Namespace) -> None:
    """Run all settings asked for, every loss with every temperature and so on, and write one table.

    Runs that are complete are not run again, one that was stopped goes on. Works under torchrun.

    Args:
        options: What the parser of `add_images` found.

    Raises:
        UsageError: If an option has a value that is not allowed, or data or device are not there.
        BuildError: If a checkpoint cannot be used, the memory does not suffice, or a run diverges.
    """
    import torch

    from ssl_theory.training import NonFiniteError, resolve_device
    from ssl_theory.training.distributed import process_group, rank

    experiments = _experiments(options)
    if options.precision not in ("full", "bfloat16"):
        raise UsageError(f"precision must be full or bfloat16, got {options.precision!r}")
    try:
        resolve_device(options.device)
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {options.output} cannot be made: {error.strerror}") from error
    try:
        with process_group(options.device) as device:
            _run(experiments, options, str(device), first=rank() == 0)
    except torch.cuda.OutOfMemoryError as error:
        hints = " ".join(getattr(error, "__notes__", []))
        raise BuildError(f"out of memory on {options.device}. {hints}") from error
    except NonFiniteError as error:
        raise BuildError(f"{error}; try a lower --rate or a higher --temperature") from error


def _experiments(options: argparse.Namespace) -> list[ImageExperiment]:
    from ssl_theory.experiments.images import ImageExperiment

    single = [name.replace("-", "_") for name in OPTIONS]
    given = {name: getattr(options, name) for name in single if getattr(options, name) is not None}
    given |= {"batch_norm": not options.no_batch_norm}
    given |= {n: tuple(getattr(options, n)) for n in ("channels", "strides") if getattr(options, n)}
    swept = {name: getattr(options, name) for name in SWEPT if getattr(options, name) is not None}
    try:
        return [
            ImageExperiment.usual(options.data, **given, **dict(zip(swept, values, strict=True)))
            for values in product(*swept.values())
        ]
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error


def _run(
    experiments: list[ImageExperiment], options: argparse.Namespace, device: str, *, first: bool
) -> None:
    import pandas as pd
    import torch

    from ssl_theory.experiments.images import labelled, pixels, run
    from ssl_theory.training import CheckpointError

    where = {"torch": torch.__version__, "device": _named(device)}
    places: dict[str, Any] = {"device": device, "data_folder": options.data_folder}
    tables: list[pd.DataFrame] = []
    for number, experiment in enumerate(experiments):
        if first:
            print(f"{experiment.name}: {experiment.seeds} seeds, {experiment.epochs} epochs", flush=True)
        try:
            if number == 0:
                base = pixels(experiment, **places)
                tables.append(labelled(experiment, base, loss_name="pixels", epochs=0, **where))
            rows = run(
                experiment,
                folder=options.output,
                precision=options.precision,
                compile=options.compile,
                progress=True,
                **places,
            )
        except CheckpointError as error:
            raise BuildError(str(error)) from error
        except (ValueError, OSError) as error:
            raise UsageError(str(error)) from error
        tables.append(labelled(experiment, rows, **where))
        if first:
            pd.concat(tables).to_csv(options.output / TABLE, index=False, float_format="%.6g")
    if first:
        _show(pd.concat(tables))
        print(f"{sum(map(len, tables))} rows in {options.output / TABLE}")


def _show(table: pd.DataFrame) -> None:
    """Print mean and standard deviation over seeds at the last epoch of each setting."""
    setting = ["loss_name", *(n for n in SWEPT if n != "loss" and table[n].nunique() > 1)]
    last = table[table["epoch"] == table["epochs"]]
    found = last.groupby(setting, sort=False)[["linear", "linear_mean", "knn", "knn_mean", "rank"]]
    print(found.agg(["mean", "std"]).round(3).to_string())


def _named(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device
