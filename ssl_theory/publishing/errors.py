"""Errors that end a command with one line instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(Exception):
    """What was asked for does not exist or does not fit; exit code 2."""


class BuildError(Exception):
    """What was asked for was tried and failed; exit code 1."""


def unknown(kind: str, given: str, allowed: Iterable[str]) -> UsageError:
    """Return the error for a name that is not among those allowed, with the nearest spelling.

    Args:
        kind: What is named: "chapter", "parameter of gradient", …
        given: The name as given.
        allowed: All names that would do.

    Returns:
        The error, to be raised.
    """
    names = list(allowed)
    near = get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown {kind}: {given!r}; there are {', '.join(names)}{hint}")
