"""Options of an experiment, made from its dataclass: names, choices, defaults and help stand there once."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Collection, Sequence
from contextlib import redirect_stderr
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import tyro

from ssl_theory.publishing.errors import UsageError

if TYPE_CHECKING:
    from ssl_theory.experiments.sweep import Shard

Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
Option = tuple[Any, Any, str]  # its type, its default and its help


@dataclasses.dataclass(frozen=True)
class Place:
    """Where to run. Every setting that is done is kept: the same command goes on.

    Args:
        output: What is written; rows of other settings stay.
        device: auto, cpu, cuda or cuda:<index>.
        dask: Address of the scheduler of a Dask cluster, to whose workers the settings go.
        shard: index/count, such as 2/8: run only every 8th setting, from the 2nd, and keep its rows beside
            the table. The same command without it gathers them.
    """

    output: Output
    device: str = "auto"
    dask: str | None = None
    shard: str | None = None


def grid(usual: Any, *, single: Collection[str] = (), **instead: Option) -> type[Any]:
    """Return a dataclass of the options of an experiment, of which most take several values.

    Args:
        usual: An experiment; its fields give the names, types and defaults, its docstring the help.
        single: Fields that take one value, or are lists already; so do truth values.
        **instead: Type, default and help of options that differ from the field of that name; they come last.

    Returns:
        The class; its instances are what `combinations` takes.
    """
    kinds: dict[str, Any] = get_type_hints(type(usual))
    names = [field.name for field in dataclasses.fields(usual) if field.name not in instead]
    options = {name: (kinds[name], getattr(usual, name), "") for name in names} | instead
    fields: list[tuple[str, Any, Any]] = []
    for name, (kind, value, text) in options.items():
        several = name not in single and kind is not bool
        kind = tuple[kind, ...] if several else kind  # type: ignore[valid-type]
        value = dataclasses.field(default=(value,) if several else value)
        fields.append((name, Annotated[kind, tyro.conf.arg(help=text or None)], value))
    made = dataclasses.make_dataclass(type(usual).__name__, fields, frozen=True)
    made.__doc__ = type(usual).__doc__
    return made


def combinations(options: Any, *, single: Collection[str] = ()) -> tuple[list[dict[str, Any]], list[str]]:
    """Return every combination of the values of options, and the names of those that have several.

    Args:
        options: An instance of what `grid` returned.
        single: As for `grid`.

    Returns:
        Fields of experiments, those of the last option changing first; the names.

    Raises:
        UsageError: If an option was given without a value.
    """
    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    several = {n: v for n, v in values.items() if isinstance(v, tuple) and n not in single}
    for name, given in several.items():
        if not given:
            raise UsageError(f"--{name.replace('_', '-')} takes one or more values, got none")
    rest = {n: v for n, v in values.items() if n not in several}
    found = [rest | dict(zip(several, chosen, strict=True)) for chosen in product(*several.values())]
    return found, [name for name, given in several.items() if len(set(given)) > 1]


def parse(settings: type[Any], how: type[Any], arguments: Sequence[str], command: str, about: str) -> Any:
    """Parse the arguments of a command.

    Args:
        settings: Dataclass of what is run.
        how: Dataclass of where and how.
        arguments: What follows the command.
        command: Its name, in the help.
        about: What it does, in the help.

    Returns:
        An object with an instance of each, `settings` and `how`.

    Raises:
        UsageError: If an option is unknown, missing or of another type.
        SystemExit: After help was asked for and printed.
    """
    both = dataclasses.make_dataclass(
        "Options",
        [
            ("how", Annotated[how, tyro.conf.OmitArgPrefixes]),
            ("settings", Annotated[settings, tyro.conf.OmitArgPrefixes]),
        ],
    )
    shown = io.StringIO()
    try:
        with redirect_stderr(shown):
            return tyro.cli(both, args=list(arguments), prog=f"ssl-theory {command}", description=about)
    except SystemExit as stop:
        if not stop.code:
            raise
    raise UsageError(in_one_line(shown.getvalue()))


def in_one_line(box: str) -> str:
    """Return what tyro's box of an error says, in one line, with the nearest spelling."""
    parts = [""]
    for line in [line.strip("│╭╮╰╯ ") for line in box.splitlines()][1:]:  # the first is the title
        if re.fullmatch("[─-]{4,}", line):
            parts.append("")
        else:
            parts[-1] = f"{parts[-1]} {line}".strip()
    text = next(filter(None, parts), "the options do not fit").rstrip(".")
    near = next((re.findall(r"--[\w-]+", part) for part in parts if part.startswith("Perhaps")), [])
    if choice := re.search(r"invalid choice '(.*?)'.*one of \((.*)\)", text):
        near = get_close_matches(choice[1], re.findall(r"'(.*?)'", choice[2]), n=1, cutoff=0.5)
    return f"{text}; did you mean {near[0]}?" if near else text


def shard_of(text: str | None) -> Shard | None:
    """Return the shard that an option names as index/count.

    Raises:
        UsageError: If it is not two whole numbers.
        ValueError: If the index is out of range.
    """
    from ssl_theory.experiments.sweep import Shard

    if text is None:
        return None
    if (found := re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)) is None:
        raise UsageError(f"shard must be index/count, such as 2/8 for the second of eight, got {text!r}")
    return Shard(int(found[1]), int(found[2]))
