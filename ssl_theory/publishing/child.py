"""Processes that end with the one that started them, however that ends."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from pathlib import Path

SPLIT = Path(__file__).with_name("split.py")  # stands for a process that a warm one splits off


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
