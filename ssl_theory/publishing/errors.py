"""Errors that end a command with one line instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# Which extra brings a package, by the name it is imported under.
EXTRAS = {
    **dict.fromkeys(("ipykernel", "IPython", "ipywidgets", "matplotlib", "matplotlib_inline"), "notebooks"),
    **dict.fromkeys(("nbclient", "papermill", "seaborn", "yaml"), "notebooks"),
    **dict.fromkeys(("kornia", "PIL", "pooch", "sklearn"), "images"),
    **dict.fromkeys(("mlxtend", "skimage"), "data"),
    **dict.fromkeys(("jupyter_book", "sphinx", "sphinx_mathjax_offline", "docutils"), "book"),
    **dict.fromkeys(("playwright", "pypdf"), "pdf"),
    "tyro": "experiments",
    "lightning": "lightning",
    **dict.fromkeys(("dask", "distributed"), "cluster"),
}


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


def lacking(error: ModuleNotFoundError) -> UsageError | None:
    """Return which extra to install for a package that is not there, or None if no extra has it."""
    package = (error.name or "").split(".")[0]
    if package not in EXTRAS:
        return None
    extra = EXTRAS[package]
    return UsageError(f"this needs {package}, which is not installed: pip install 'ssl-theory[{extra}]'")
