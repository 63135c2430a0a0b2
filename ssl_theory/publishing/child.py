"""Processes that end with the one that started them, however that ends."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from pathlib import Path

SPLIT = Path(__file__).with_name("split.py")  # stands for a process that a warm one splits off
BORN = "SSL_THEORY_BORN"  # environment: the file into which a process that is split off writes its number


def command(module: str, warm: Path | str | None) -> list[str]:
    """Return the command that runs a module as a program, without its arguments.

    Args:
        module: Its full name.
        warm: Where a warm process is asked for it; a new interpreter if None.
    """
    started = ["-I", "-S", str(SPLIT), str(warm), module] if warm else ["-P", "-m", module]
    return [sys.executable, *started]


def end_with_stdin(*folders: Path) -> None:
    """End this process when its input closes, as it does when the one who holds the other end is gone.

    Args:
        *folders: Temporary folders of the one who is gone, removed before.
    """

    def wait() -> None:
        sys.stdin.read()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
