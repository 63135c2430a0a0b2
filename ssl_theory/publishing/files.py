"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file such that it never holds a part of the content, whatever happens meanwhile.

    A link keeps leading where it leads: what it names is written.

    Args:
        path: The file.
        content: Text is written as UTF-8.

    Raises:
        OSError: If it cannot be written; what was there before is untouched.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid4().hex}")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def require_writable(path: Path) -> None:
    """Find out before long work whether a file can be written at its end; what is there stays.

    Args:
        path: The file.

    Raises:
        OSError: If it cannot be, or if something lies there that is no regular file and would be lost.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and not target.is_file():  # asking also finds out names that are too long
        raise OSError(0, "not a regular file", str(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(0, "write-protected", str(path))
    with tempfile.TemporaryFile(dir=target.parent, prefix="."):
        pass
