"""Execution of one chapter: all or nothing, and without a trace of the machine it ran on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import PACKAGE, Chapter
from ssl_theory.publishing.errors import BuildError, UsageError

CELL_SECONDS = {"quick": 300, "paper": 6 * 3600}

_running: set[subprocess.Popen[str]] = set()


def execute(
    chapter: Chapter, output: Path, parameters: Mapping[str, Any], *, seconds: int, threads: int
) -> list[str]:
    """Run a chapter and write the executed notebook, free of paths and times.

    Args:
        chapter: What to run.
        output: Where the executed notebook goes; untouched unless the chapter runs to its end.
        parameters: Values that replace the defaults.
        seconds: Time limit of each cell.
        threads: How many processors its numerics may use.

    Returns:
        The Python warnings that it gave.

    Raises:
        BuildError: If a cell fails, runs out of time or kills the kernel, or if an output shows a local path.
        UsageError: If the output cannot be written.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(
            dir=output.parent, prefix=".running-", ignore_cleanup_errors=True
        )
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    with folder:
        draft = Path(folder.name) / "draft.ipynb"
        _run_worker(chapter, draft, parameters, seconds, threads)
        ran = notebooks.read(draft)
        warned = notebooks.python_warnings(ran)
        finished = notebooks.scrub(ran)
        _require_no_trace(chapter, finished)
        draft.write_text(notebooks.dump(finished), encoding="utf-8")
        draft.replace(output)
    return warned


def stop_all() -> None:
    """End all chapters that are running."""
    for process in list(_running):
        process.terminate()


def _run_worker(
    chapter: Chapter, draft: Path, parameters: Mapping[str, Any], seconds: int, threads: int
) -> None:
    """Execute a chapter into a draft, in a process that works where the chapter lies, as Jupyter does."""
    failure, log, settings = (draft.with_name(name) for name in ("failure", "log", "ipython"))
    settings.mkdir()
    job = {
        "notebook": str(chapter.path.resolve()),
        "draft": str(draft.resolve()),
        "failure": str(failure.resolve()),
        "parameters": dict(parameters),
        "seconds": seconds,
    }
    environment = os.environ | {
        "SSL_THEORY_STATIC": "1",
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "IPYTHONDIR": str(settings.resolve()),  # empty, so that no one's start-up files take part
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    with (
        log.open("w", encoding="utf-8") as messages,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "ssl_theory.publishing.worker"],
            cwd=chapter.path.parent,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=messages,
            stderr=messages,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process, which ends the others
        ) as process,
    ):
        _running.add(process)
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()  # and not closed: the worker ends when this process does
            process.wait()
        except BaseException:
            process.terminate()
            raise
        finally:
            _running.discard(process)
    if failure.exists():
        raise BuildError(f"{chapter.name}: {failure.read_text(encoding='utf-8')}")
    if process.returncode != 0:
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
        told = last[0] if last else f"exit code {process.returncode}"
        raise BuildError(f"{chapter.name}: the process that ran it broke off: {told}")


def _require_no_trace(chapter: Chapter, notebook: dict[str, Any]) -> None:
    """Raise BuildError if an output shows where, or at which address in memory, it was made."""
    places = "|".join(re.escape(str(path)) for path in {chapter.path.parent.resolve(), PACKAGE.parent})
    own = [cell for cell in notebook["cells"] if notebooks.INJECTED not in notebooks.tags(cell)]
    for number, cell in enumerate(own, 1):
        found = re.search(
            rf"{places}|ipykernel_\d+| at 0x[0-9a-f]{{6,}}", json.dumps(cell.get("outputs", []))
        )
        if found:
            raise BuildError(
                f"{chapter.name}: cell {number} shows a trace of this machine: {found[0].strip()}"
            )
