"""The command `ssl-theory experiment images`: the table of the encoders of images from the shell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from ssl_theory.publishing.errors import UsageError, unknown
from ssl_theory.publishing.experiment_options import Output, Place, combinations, grid, parse, shard_of

if TYPE_CHECKING:
    import pandas as pd

    from ssl_theory.experiments.images import ImageExperiment
    from ssl_theory.images.data import Name

SINGLE = ("data", "channels", "strides", "seeds", "seed")
STUDIED = ("--loss", "--beta", "--beta-convention")  # what a study sets itself


@dataclass(frozen=True)
class ImagePlace(Place):
    """Where to run, and how. Under torchrun all processes train one encoder together.

    Args:
        output: Folder of table.csv and of the trained networks; other rows of the table stay.
        data_folder: Where the archives of the images are.
        precision: Of the network's arithmetic.
        compile: Whether encoder and projector are compiled.
        study: "paper" for the settings of the paper's study: InfoNCE, covariance losses, β from negative to
            large, with ResNet-18 for 500 epochs unless told otherwise.
    """

    output: Output
    data_folder: Path | None = None
    precision: Literal["full", "bfloat16"] = "full"
    compile: bool = False
    study: Literal["paper"] | None = None


def images(arguments: Sequence[str], about: str) -> None:
    """Run all settings asked for, every loss with every temperature and so on, and write one table.

    Args:
        arguments: Options, as in the help. With `--data` the defaults are those of that data set.
        about: What the experiment asks, for the help.

    Raises:
        UsageError: If the options do not fit, or the folder cannot be made.
    """
    from ssl_theory.experiments.images import ImageExperiment, paper_base, paper_study, table
    from ssl_theory.experiments.images.tables import TABLE
    from ssl_theory.publishing.experiment import cluster
    from ssl_theory.training.distributed import process_group, rank

    data, studied = _data(arguments), bool(_given(arguments, "--study"))
    usual = paper_base(data) if studied else ImageExperiment.usual(data)
    options = parse(grid(usual, single=SINGLE), ImagePlace, arguments, "experiment images", about)
    how, shard = options.how, shard_of(options.how.shard)
    fields, several = combinations(options.settings, single=SINGLE)
    experiments = [ImageExperiment(**one) for one in fields]
    if studied:
        _require_free(arguments)
        experiments = [one for base in experiments for one in paper_study(base)]
        several = ["loss", "beta", *several]
    with process_group(how.device) as device, cluster(how.dask) as executor:
        if rank() == 0:
            _say(experiments, several, how, str(device))
        try:
            how.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the folder {how.output} cannot be made: {error.strerror}") from error
        found = table(
            experiments,
            folder=how.output,
            device=how.device if executor else str(device),
            data_folder=how.data_folder,
            executor=executor,
            shard=shard,
            report=lambda line: print(line, flush=True),
            precision=how.precision,
            compile=how.compile,
            progress=executor is None,
        )
        if rank() > 0:
            return
    if shard is None:
        _show(found, several)
        print(f"{len(found)} rows in {how.output / TABLE}")
    else:
        print(f"{len(found)} rows beside {how.output / TABLE}; the same command without --shard gathers them")


def _data(arguments: Sequence[str]) -> Name:
    """Return the data set that is asked for: the defaults depend on it."""
    from ssl_theory.images.data import Name

    given = _given(arguments, "--data")
    name = given[-1] if given else "digits"
    if name not in get_args(Name):
        raise unknown("data", name, get_args(Name))
    return cast("Name", name)


def _given(arguments: Sequence[str], option: str) -> list[str]:
    """Return the values that an option is given, before the options are parsed."""
    return [
        word.partition("=")[2] or following
        for word, following in zip(arguments, [*arguments[1:], ""], strict=True)
        if word == option or word.startswith(f"{option}=")
    ]


def _require_free(arguments: Sequence[str]) -> None:
    """Raise UsageError if what a study sets itself was given as well."""
    names = [word.partition("=")[0].replace("_", "-") for word in arguments]
    for name in STUDIED:
        if name in names:
            raise UsageError(f"{name} is set by --study; leave one of them out")


def _say(
    experiments: Sequence[ImageExperiment], several: Sequence[str], how: ImagePlace, device: str
) -> None:
    """Print what will run before it runs."""
    from ssl_theory.experiments.images import encoder_of

    first = experiments[0]
    varied = f": every {' with every '.join(n.replace('_', ' ') for n in several)}" if several else ""
    print(f"{len(experiments)} settings of {first.data}{varied}; {first.seeds} seeds, {first.epochs} epochs")
    colours = 1 if first.data in ("digits", "mnist") else 3
    weights = sum(p.numel() for p in encoder_of(first, colours).parameters())
    where = how.dask or device
    print(
        f"encoder {first.encoder} with {weights:,} weights, batches of {first.batch}, on {where}", flush=True
    )
    if first.encoder == "resnet18" and where == "cpu":
        print("this is large: ResNet-18 wants a GPU", flush=True)


def _show(table: pd.DataFrame, several: Sequence[str]) -> None:
    """Print mean and standard deviation over seeds at the last epoch of each setting."""
    setting = ["loss_name", *(name for name in several if name != "loss")]
    last = table[table["epoch"] == table["epochs"]]
    found = last.groupby(setting, sort=False)[["linear", "linear_mean", "knn", "knn_mean", "rank"]]
    print(found.agg(["mean", "std"]).round(3).to_string())
