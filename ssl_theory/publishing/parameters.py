"""Parameters of a chapter: which there are, and values given on the command line."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.errors import UsageError, unknown

PROFILES = ("quick", "paper")


def defaults(chapter: Chapter) -> dict[str, Any]:
    """Return the parameters of a chapter with their default values, read without running it.

    Raises:
        BuildError: If the notebook is damaged.
        UsageError: If the cell of the parameters is no Python, or a default is not a plain value.
    """
    try:
        return used(notebooks.read(chapter.path))
    except (ValueError, SyntaxError) as error:
        raise UsageError(f"the parameters of {chapter.name} have no plain defaults: {error}") from error


def used(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that a notebook runs with, those given over the defaults.

    Raises:
        SyntaxError: If a cell of parameters is no Python.
        ValueError: If a parameter is not a plain value.
    """
    found: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if {"parameters", notebooks.INJECTED} & set(notebooks.tags(cell)):
            for line in ast.parse(notebooks.source(cell)).body:
                match line:
                    case ast.Assign(targets=[ast.Name(id=name)], value=value):
                        found[name] = _plain(name, value)
                    case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                        found[name] = _plain(name, value)
    return found


def _plain(name: str, value: ast.expr) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError as error:
        raise ValueError(f"{name} = {ast.unparse(value)}") from error


def parse(chapter: Chapter, assignments: Sequence[str]) -> dict[str, Any]:
    """Return the values of "name=value" assignments, each of the type of its default.

    Args:
        chapter: The chapter whose parameters they are.
        assignments: As on the command line.

    Returns:
        The values by name.

    Raises:
        UsageError: If a parameter is unknown, or a value of the wrong type or not allowed.
    """
    known = defaults(chapter) if assignments else {}
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign:
            raise UsageError(f"a parameter is given as name=value, got {assignment!r}")
        if name not in known:
            raise unknown(f"parameter of {chapter.name}", name, known)
        values[name] = _value(name, text, known[name])
    return _resolved(values)


def _resolved(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with a device that is there, or raise UsageError; the same for the profile."""
    profile = values.get("profile", "quick")
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    device = values.get("device", "cpu")
    if device != "cpu":
        from ssl_theory.training import resolve_device  # imports torch, which most commands do not need

        try:
            return values | {"device": str(resolve_device(device))}
        except ValueError as error:
            raise UsageError(str(error)) from error
    return values


def _value(name: str, text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text.capitalize() if isinstance(default, bool) else text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # it is no Python value
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not type(default):
        kind = type(default).__name__
        raise UsageError(f"parameter {name} must be of type {kind}, like {default!r}, got {text!r}")
    low, high = (0 if name == "seed" else -(2**63)), 2**63 - 1
    if type(value) is int and not low <= value <= high:
        least = "0" if name == "seed" else "−2^63"
        raise UsageError(f"parameter {name} must lie between {least} and 2^63 − 1, got {text}")
    return value
