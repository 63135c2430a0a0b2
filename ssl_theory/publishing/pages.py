"""Jupyter Book in a process of its own: `python -m ssl_theory.publishing.pages`, with its arguments.

It ends when its stdin closes, as it does when the one who wants the pages is gone.
"""

from __future__ import annotations

import gc
import sys

from ssl_theory.publishing.child import end_with_stdin

KNOWN = ("pybtex.backends", "plaintext")  # asked for with each reference: it would be looked up each time


def main() -> int:
    """Make the pages.

    Returns:
        The exit code.
    """
    end_with_stdin()
    gc.disable()  # the trees of all pages live to the end; to look for waste took a third of the time
    from jupyter_book.cli.main import main as make
    from pybtex.plugin import find_plugin, register_plugin

    register_plugin(*KNOWN, find_plugin(*KNOWN), force=True)
    try:
        make(sys.argv[1:])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
