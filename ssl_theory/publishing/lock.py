"""One build at a time in one folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def lock(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold a folder for one build; say so, and wait, while another one holds it.

    Args:
        folder: The folder.
        report: Called with a line before it waits.
    """
    held = FileLock(folder / ".lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        report(f"waiting for another build in {folder}")
        held.acquire()
    try:
        yield
    finally:
        held.release()
