"""The stored tables by name, each made again by one command.

python -m ssl_theory.experiments.studies images-mechanism -o out/ --device cuda --processes 8
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from ssl_theory.experiments.image_explained import explained_table
from ssl_theory.experiments.image_operators import operator_table
from ssl_theory.experiments.image_similarity import similarity_table
from ssl_theory.experiments.images import TABLES, ImageExperiment, table
from ssl_theory.experiments.pairs import pair_table
from ssl_theory.experiments.trees import TreeExperiment, mechanism_table, seed_summary, tabulate

__all__ = ["STUDIES", "Study", "main"]

Make = Callable[..., pd.DataFrame]


@dataclass(frozen=True)
class Study:
    """A stored table.

    Attributes:
        about: What it answers.
        make: Makes it: (folder, device, executor, report) -> rows.
    """

    about: str
    make: Make


def _images(settings: Sequence[ImageExperiment], folder: Path, **how: Any) -> pd.DataFrame:
    return table(settings, folder=folder, **how)


def _mechanism(settings: Sequence[ImageExperiment], folder: Path, **how: Any) -> pd.DataFrame:
    return operator_table(settings, folder=folder, **how)


def _explained(settings: Sequence[ImageExperiment], folder: Path, **how: Any) -> pd.DataFrame:
    return explained_table(settings, folder=folder, **how)


def _similarity(base: ImageExperiment, folder: Path, **how: Any) -> pd.DataFrame:
    return similarity_table(base, ("infonce", "covariance", "simple"), folder=folder, **how)


def _trees(name: str, settings: Mapping[str, TreeExperiment], folder: Path, **how: Any) -> pd.DataFrame:
    return tabulate(settings, folder / f"{name}.csv", epochs=(0, _EPOCHS, _LONG), summary=seed_summary, **how)


def _tree_mechanism(settings: Mapping[str, TreeExperiment], folder: Path, **how: Any) -> pd.DataFrame:
    return mechanism_table(settings, folder / "trees-mechanism.csv", **how)


def _pairs(folder: Path, *, report: Callable[[str], Any], **_: Any) -> pd.DataFrame:
    return pair_table(folder=folder, report=report)  # on the CPU, one setting after the other


def _short(data: str, loss: str, *, batch_norm: bool = True) -> ImageExperiment:
    return ImageExperiment(
        data=data,  # type: ignore[arg-type]
        loss=loss,  # type: ignore[arg-type]
        batch_norm=batch_norm,
        epochs=20,
        measure_every=10,
        seeds=10,
    )


def _few(data: str, loss: str, **changes: Any) -> ImageExperiment:
    return replace(_short(data, loss), epochs=5, measure_every=5, seeds=5, **changes)


def _bare(data: str, **changes: Any) -> ImageExperiment:
    return ImageExperiment(
        data=data,  # type: ignore[arg-type]
        loss="infonce-plain",
        batch_norm=False,
        biases=False,
        **changes,
    )


_PAIRS = [("infonce", True), ("covariance", True), ("infonce", False), ("covariance-plain", False)]
_BOTH = ("infonce", "covariance")

_EPOCHS, _LONG, _FEWER = 4, 16, 12
_SHAPES = [(3, 2), (3, 3), (4, 2), (6, 2), (4, 3), (7, 2), (5, 3), (8, 2)]
_WIDTHS = (1, 2, 5, 10, 20)
_MEAN = 0.1  # what the authors' program divides a mean over outputs by


def _tree(name: str, **changes: Any) -> dict[str, TreeExperiment]:
    return {name: TreeExperiment(**{"epochs": _EPOCHS, **changes})}


def _merged(parts: Iterable[Mapping[str, TreeExperiment]]) -> dict[str, TreeExperiment]:
    return {name: experiment for part in parts for name, experiment in part.items()}


def _width(count: int, temperature: float, **changes: Any) -> dict[str, TreeExperiment]:
    name = f"{count} neurons, τ = {temperature:g}" + ", not normalised" * ("normalise" in changes)
    return _tree(name, width=count, temperature=temperature, **changes)


_MECHANISM = {
    "base": TreeExperiment(seeds=20),
    "τ = 1": TreeExperiment(seeds=20, temperature=1.0),
    "no biases, not normalised": TreeExperiment(seeds=20, bias=False, normalise=False),
}

STUDIES: dict[str, Study] = {
    **{
        name: Study(f"{name}: accuracy of frozen features on digits", partial(_images, settings))
        for name, settings in TABLES.items()
    },
    "images-mnist": Study(
        "accuracy of frozen features on 5,000 images of MNIST, a smaller encoder",
        partial(_images, [_few("mnist", loss, channels=(16, 32, 64), strides=(2, 2, 2)) for loss in _BOTH]),
    ),
    "images-photographs": Study(
        "accuracy of frozen features on patches of photographs",
        partial(_images, [_few("photographs", loss) for loss in _BOTH]),
    ),
    "images-mechanism": Study(
        "cosines of gradients and where they lie, digits, with and without BatchNorm",
        partial(_mechanism, [_short("digits", loss, batch_norm=norm) for loss, norm in _PAIRS]),
    ),
    "images-mechanism-mnist": Study(
        "cosines of gradients and where they lie, MNIST",
        partial(_mechanism, [_short("mnist", "infonce")]),
    ),
    "images-mechanism-photographs": Study(
        "cosines of gradients and where they lie, patches of photographs",
        partial(_mechanism, [_short("photographs", "infonce")]),
    ),
    "images-similarity": Study(
        "how alike features of different losses and of different seeds are, digits",
        partial(_similarity, ImageExperiment(seed=5, seeds=5)),
    ),
    "images-explained": Study(
        "how much of the step is the operator times the weights, digits, without BatchNorm and biases",
        partial(_explained, [_bare("digits", epochs=10, seeds=10)]),
    ),
    "images-explained-photographs": Study(
        "how much of the step is the operator times the weights, patches of photographs",
        partial(_explained, [_bare("photographs", epochs=2, rate=1e-3, seeds=10)]),
    ),
    "pairs": Study("tree networks beside the eigenfunctions of the augmentation graph", _pairs),
    "trees-mechanism": Study(
        "cosines of gradients and where they lie, trees, as in the book's experiment and as in the theory",
        partial(_tree_mechanism, _MECHANISM),
    ),
    "latents-shapes": Study(
        "trees of other depth, branching and root polarity, and several negatives",
        partial(
            _trees,
            "latents-shapes",
            _tree("depth 5, branching 2")
            | _tree("root polarity 0.5", root_polarity=0.5, seeds=_FEWER)
            | _tree("4 negatives", negatives=4, seeds=_FEWER)
            | _tree("16 negatives", negatives=16, seeds=_FEWER)
            | _merged(
                _tree(f"depth {d}, branching {b}", depth=d, branching=b, seeds=_FEWER) for d, b in _SHAPES
            )
            | _merged(_tree(f"depth {d}, long", depth=d, seeds=_FEWER, epochs=_LONG) for d in (6, 8)),
        ),
    ),
    "latents-widths": Study(
        "neurons a node at one temperature, and at the released one, which rises with their number",
        partial(
            _trees,
            "latents-widths",
            _merged(
                [
                    *(_width(n, 0.25) for n in _WIDTHS),
                    *(_width(n, n * _MEAN / 2) for n in _WIDTHS),
                    *(_width(n, 0.25, normalise=False, seeds=_FEWER) for n in _WIDTHS),
                ]
            ),
        ),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make one stored table, or go on with one that was stopped.

    Args:
        arguments: As on the command line; those of this process if None.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the table")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<index> (default: auto)")
    parser.add_argument("--processes", type=int, default=1, help="settings at once (default: 1)")
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        executor: Executor | None = None
        if given.processes > 1:
            pool = ProcessPoolExecutor(given.processes, mp_context=get_context("spawn"))
            executor = stack.enter_context(pool)
        how = {"device": given.device, "executor": executor, "report": partial(print, flush=True)}
        STUDIES[given.study].make(given.output, **how)


if __name__ == "__main__":
    main()
