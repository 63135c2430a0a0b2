"""One build at a time in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for one build; say so, and wait, while another one holds it."""
    held = FileLock(folder / ".lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another build in {folder}", flush=True)
        held.acquire()
    try:
        yield
    finally:
        held.release()
