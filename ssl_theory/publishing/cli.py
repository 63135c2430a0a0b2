"""The command line; ssl-theory --help lists the commands.

Nothing is imported before `main` runs, so that Ctrl-C finds a program that can answer it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: As on the command line; those of this process if None.

    Returns:
        The exit code: 0, 1 if the command failed, 2 if it was asked for what is not there, 130 if it was
            interrupted.
    """
    kept: list[str] = []
    try:
        from ssl_theory.publishing.commands import answer

        return answer(arguments, kept)
    except KeyboardInterrupt:
        print("".join(["ssl-theory: interrupted", *kept]), file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
