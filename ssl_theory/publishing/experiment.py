"""The command `ssl-theory experiment`: what runs for minutes, from the shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from ssl_theory.publishing.errors import BuildError, UsageError

KINDS = {
    "hltm": "do hidden neurons learn the latents of a tree?",
    "images": "what does a covariance explain of contrastive learning on images?",
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
    for name, about in KINDS.items():
        # no argument begins with this prefix, so that all are handed on as they are
        kind = kinds.add_parser(name, help=about, prefix_chars="\0", add_help=False)
        kind.add_argument("arguments", nargs="*")
        kind.set_defaults(command=experiment, kind=name)


def experiment(options: argparse.Namespace) -> None:
    """Run an experiment; what goes wrong ends with one line.

    Args:
        options: What the parser of `add_experiment` found.

    Raises:
        UsageError: If an option has a value that is not allowed, data or device are not there, or the table
            cannot be written or holds something else.
        BuildError: If a checkpoint cannot be used, the memory does not suffice, or a run diverges.
    """
    if options.kind == "hltm":
        from ssl_theory.publishing.experiment_hltm import latent_trees as command
    else:
        from ssl_theory.publishing.experiment_images import images as command
    with _in_one_line():
        command(options.arguments, KINDS[options.kind])


@contextmanager
def cluster(address: str | None) -> Iterator[Executor | None]:
    """Yield an executor on the workers of a Dask cluster.

    Args:
        address: Of the scheduler, such as tcp://10.0.0.1:8786; None for no cluster.

    Yields:
        The executor; None without a cluster.

    Raises:
        ModuleNotFoundError: If distributed is not installed.
        UsageError: If nothing answers there.
    """
    if address is None:
        yield None
        return
    from distributed import Client

    try:
        client: Any = Client(address, timeout="10s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UsageError(f"dask must be the address of a scheduler, got {address!r}: {error}") from None
    with client, client.get_executor(pure=False) as executor:
        print(f"{len(client.scheduler_info()['workers'])} workers at {address}", flush=True)
        yield executor


@contextmanager
def _in_one_line() -> Iterator[None]:
    import torch

    from ssl_theory.training import CheckpointError, NonFiniteError

    try:
        yield
    except (CheckpointError, MemoryError) as error:
        raise BuildError(_told(error)) from error
    except torch.cuda.OutOfMemoryError as error:
        raise BuildError(f"out of memory. {_told(error)}") from error
    except NonFiniteError as error:
        raise BuildError(_told(error, "; try a lower --rate or a higher --temperature")) from error
    except (TypeError, ValueError) as error:
        raise UsageError(_told(error)) from error
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise UsageError(_told(error)) from error
        raise UsageError(f"{error.filename} cannot be used: {error.strerror}") from error
    except Exception as error:
        if type(error).__name__ == "KilledWorker":  # so that its package need not be there
            raise BuildError(_told(error)) from error
        raise


def _told(error: BaseException, hint: str = "") -> str:
    return " ".join([f"{error}{hint}", *getattr(error, "__notes__", [])])
