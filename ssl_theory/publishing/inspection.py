"""The command `ssl-theory inspect`: a report on someone's own encoder and views."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ssl_theory.publishing.errors import UsageError, unknown
from ssl_theory.publishing.files import require_writable

LOSSES = ("infonce", "nt-xent", "simple", "triplet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `inspect` to its parser."""
    add = parser.add_argument
    add("model", metavar="MODULE:MODEL", help="a torch module, or a function or class that makes one")
    add("views", metavar="MODULE:VIEWS", help="views (N, A, ...), several such batches, or what makes them")
    add("--loss", default="infonce", help=f"one of {', '.join(LOSSES)}, or MODULE:LOSS, of outputs (N, A, n)")
    add("--temperature", type=float, default=0.5, help="tau")
    add("--margin", type=float, default=0.0, help="of the triplet loss")
    add("--negatives", type=int, default=1, help="negatives of an anchor; nt-xent takes all other objects")
    add("--mode", default="batch", help="batch: BatchNorm as in training; eval: its running statistics")
    add("--layer", action="append", metavar="NAME", help="measure this layer; may be repeated (default: all)")
    add("--directions", type=int, default=20, help="leading directions of each operator")
    add("--seed", type=int, default=0, help="of random probes and targets")
    add("-o", "--output", type=Path, default=Path("report"), help="folder of the report")


def inspect(options: argparse.Namespace) -> None:
    """Write a report on an encoder: what a loss does to its weights on some views."""
    from tqdm import tqdm

    from ssl_theory.inspection import inspect as measure
    from ssl_theory.inspection import named_loss, write_report
    from ssl_theory.operators import operator_layers

    _require_folder(options.output)
    model, views = _model(options.model), _made(options.views, "views")
    own = ":" in options.loss
    if not own and options.loss not in LOSSES:
        raise unknown("loss", options.loss, LOSSES)
    for name in options.layer or []:
        if name not in operator_layers(model):
            raise unknown("layer", name, operator_layers(model))
    bar: Any = tqdm(disable=None, unit="layer", leave=False)

    def progress(name: str, index: int, count: int) -> None:
        bar.total, bar.n = count, index
        bar.set_description(name)

    try:
        numbers = {"temperature": options.temperature, "margin": options.margin}
        loss = _named(options.loss) if own else named_loss(options.loss, **numbers)
        found = measure(
            model,
            views,
            loss=loss,
            layers=options.layer,
            mode=options.mode,
            directions=options.directions,
            negatives=options.negatives,
            temperature=None if options.loss == "simple" else options.temperature,
            seed=options.seed,
            progress=progress,
        )
    except (TypeError, ValueError) as error:
        raise UsageError(str(error).splitlines()[0]) from error
    finally:
        bar.close()
    for line in found.advice:
        print(line)
    page = write_report(found, options.output, title=f"{options.model} under {options.loss}")
    print(f"{len(found.layers)} layers measured, {len(found.refused)} without an operator: {page}")
    if not found.complete:
        raise KeyboardInterrupt


def _require_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"output must be a folder, got the file {folder}")
    require_writable(folder / "index.html")


def _model(name: str) -> Any:
    from torch import nn

    found = _made(name, "model")
    if not isinstance(found, nn.Module):
        raise UsageError(f"{name} must be a torch module, or make one, got {type(found).__name__}")
    return found


def _made(name: str, kind: str) -> Any:
    """Return what a name stands for, or what it makes if it is a function or a class."""
    from torch import nn

    found = _named(name)
    if isinstance(found, nn.Module) or not callable(found):
        return found
    maker: Callable[[], Any] = found
    try:
        return maker()
    except TypeError as error:
        raise UsageError(f"{name} must make the {kind} without arguments: {error}") from error


def _named(name: str) -> Any:
    """Return MODULE:NAME, the module being looked for in the working directory, too."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UsageError(f"give MODULE:NAME, such as encoder:model, got {name!r}")
    module = module.removesuffix(".py")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise UsageError(f"{module} cannot be imported: {error}") from error
        near = get_close_matches(module, [path.stem for path in Path.cwd().glob("*.py")], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown module: {module!r}{hint}") from None
    except Exception as error:
        raise UsageError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise unknown(f"name in {module}", part, [n for n in vars(found) if not n.startswith("_")])
        found = getattr(found, part)
    return found
