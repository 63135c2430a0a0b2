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
        UsageError: If a default is not a plain value.
    """
    from papermill import inspect_notebook

    found = {}
    for name, entry in inspect_notebook(str(chapter.path)).items():
        try:
            found[name] = ast.literal_eval(entry["default"])
        except (ValueError, SyntaxError) as error:
            raise UsageError(
                f"parameter {name} of {chapter.name} has no plain default: {entry['default']}"
            ) from error
    return found


def used(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that an executed notebook ran with, those given over the defaults."""
    found: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if {"parameters", notebooks.INJECTED} & set(notebooks.tags(cell)):
            for line in ast.parse("".join(cell["source"])).body:
                if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                    found[line.targets[0].id] = ast.literal_eval(line.value)
    return found


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
    except (ValueError, SyntaxError, TypeError, MemoryError):  # the ways in which text is no Python value
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if default is not None and type(value) is not type(default):
        kind = type(default).__name__
        raise UsageError(f"parameter {name} must be of type {kind}, like {default!r}, got {text!r}")
    return value
