"""One chapter in a process of its own: `python -m ssl_theory.publishing.worker`, told what to do on stdin."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.execute import ERROR_MARKER_TAG

from ssl_theory.publishing import notebooks

KERNEL_OPTIONS = (
    "--log-level=50",  # the kernel's own messages are not the chapter's
    "--HistoryManager.enabled=False",  # kernels that run at once would wait for one history file
)


def main() -> int:
    """Execute a notebook as the line of JSON on stdin says; end early when the one who asked is gone.

    Returns:
        The exit code, 1 if the chapter failed; the file named "failure" then says why.
    """
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    message = _execute(job)
    if message is not None:
        Path(job["failure"]).write_text(message, encoding="utf-8")
    return 0 if message is None else 1


def _execute(job: dict[str, Any]) -> str | None:
    """Return why the chapter failed, if it did."""
    draft = Path(job["draft"])
    try:
        papermill.execute_notebook(
            job["notebook"],
            str(draft),
            job["parameters"],
            kernel_name="python3",
            progress_bar=False,
            execution_timeout=job["seconds"],
            extra_arguments=list(KERNEL_OPTIONS),
        )
    except PapermillExecutionError as error:
        return f"{_last_cell(draft)}{_line(error)}\n    {error.ename}: {error.evalue}"
    except CellTimeoutError:
        return f"{_last_cell(draft)} ran for more than {job['seconds']} s"
    except DeadKernelError:
        return f"{_last_cell(draft)} ended its kernel, or the system did, as it does when memory runs out"
    return None


def _last_cell(draft: Path) -> str:
    """Return which cell of the source was begun last; papermill saves the draft before each cell."""
    cells = notebooks.read(draft)["cells"]
    own = [cell for cell in cells if not {notebooks.INJECTED, ERROR_MARKER_TAG} & set(notebooks.tags(cell))]
    begun = [n for n, cell in enumerate(own, 1) if cell["metadata"].get("papermill", {}).get("start_time")]
    return f"cell {begun[-1]} of {len(own)}"


def _line(error: PapermillExecutionError) -> str:
    """Return the line of the cell that the error came from, if the traceback names it."""
    text, source = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)), error.source.splitlines()
    numbers = re.findall(r"Cell In\s*\[\d+\], line (\d+)", text)
    number = int(numbers[-1]) if numbers else 0
    return f", line {number}: {source[number - 1].strip()}" if 0 < number <= len(source) else ""


def _end_with_stdin() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
