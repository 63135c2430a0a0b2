"""How the commands speak: help with defaults and an example, and on consoles that know few letters."""

from __future__ import annotations

import argparse
import codecs
import io
import sys
import unicodedata
from typing import Any

SPELLED = {"≤": "<=", "≥": ">=", "−": "-", "–": "-", "→": "->", "×": "x", "✓": "ok", "…": "...", "·": "*"}


class Help(argparse.RawDescriptionHelpFormatter):
    """Help that names the defaults and keeps the lines of an example."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        plain = action.default not in (None, False, [], argparse.SUPPRESS) and "%(default)" not in str(
            action.help
        )
        return f"{action.help} (default: %(default)s)" if plain and action.option_strings else action.help


def example(command: str) -> dict[str, Any]:
    """Return the arguments of a parser whose help ends with an example.

    Args:
        command: The example, without the name of the program.
    """
    return {"epilog": f"example:\n  ssl-theory {command}", "formatter_class": Help}


def spell_out() -> None:
    """Have what the console's encoding lacks spelled in its letters, instead of an error."""
    codecs.register_error("ssl-theory", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="ssl-theory")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spell, error.object[error.start : error.end])), error.end


def _spell(letter: str) -> str:
    """Return a letter in ASCII: δ as delta, é as e."""
    name = unicodedata.name(letter, "")
    if letter in SPELLED:
        return SPELLED[letter]
    if name.startswith("GREEK"):
        last = name.split(" WITH ")[0].split()[-1]
        return last.capitalize() if "CAPITAL" in name else last.lower()
    return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or "?"
