"""The command `ssl-theory experiment`: what runs for minutes, from the shell."""

from __future__ import annotations

from typing import Any

from ssl_theory.publishing.experiment_hltm import add_hltm
from ssl_theory.publishing.experiment_images import add_images


def add_experiment(commands: Any) -> None:
    """Add `experiment` to the commands of a parser.

    Args:
        commands: What `add_subparsers` returned.
    """
    text = "Run an experiment and write its table."
    kinds = commands.add_parser("experiment", help=text, description=text).add_subparsers(
        required=True, metavar="EXPERIMENT"
    )
    add_hltm(kinds)
    add_images(kinds)
