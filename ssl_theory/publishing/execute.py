"""Execution of one chapter: all or nothing, and without a trace of the machine it ran on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import PACKAGE, Chapter
from ssl_theory.publishing.child import command
from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.files import require_writable, write_whole

CELL_SECONDS = {"quick": 300, "paper": 6 * 3600}

Progress = Callable[[int, int, float], None]


class CutOffError(Exception):
    """A chapter did not run to its end because the command ends."""


class Stop:
    """Ends chapters that are running, and those that begin afterwards."""

    def __init__(self) -> None:
        self._asked, self._running = False, set[subprocess.Popen[str]]()
        self._changing = threading.Lock()

    def now(self) -> None:
        """End all."""
        with self._changing:
            self._asked = True
            for process in self._running:
                process.terminate()

    def add(self, process: subprocess.Popen[str]) -> None:
        """Have a process ended with the others."""
        with self._changing:
            self._running.add(process)
            if self._asked:
                process.terminate()

    def remove(self, process: subprocess.Popen[str]) -> None:
        """Let a process that has ended alone.

        Raises:
            CutOffError: If all were asked to end.
        """
        with self._changing:
            self._running.discard(process)
            if self._asked:
                raise CutOffError


def execute(
    chapter: Chapter,
    output: Path,
    parameters: Mapping[str, Any],
    *,
    seconds: int,
    threads: int,
    progress: Progress = lambda cell, of, spent: None,
    stop: Stop | None = None,
    kernels: Path | None = None,
) -> list[str]:
    """Run a chapter and write the executed notebook, free of paths and times.

    Args:
        chapter: What to run.
        output: Where the executed notebook goes; untouched unless the chapter runs to its end.
        parameters: Values that replace the defaults.
        seconds: Time limit of each cell.
        threads: How many processors its numerics may use.
        progress: Called with the number of each cell that begins, how many there are, and the seconds of
            processor time so far; once more when the last has ended, with a number beyond it.
        stop: What may end it early.
        kernels: Where a warm process is asked for worker and kernel; new ones are started if None.

    Returns:
        The Python warnings that it gave.

    Raises:
        BuildError: If a cell fails, runs out of time or kills the kernel, if an output shows a local path, or
            if a cell does not show the figure that it announces.
        UsageError: If the output cannot be written.
        CutOffError: If it was ended.
    """
    try:
        require_writable(output)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from error
    with tempfile.TemporaryDirectory(prefix="ssl-theory-", ignore_cleanup_errors=True) as name:
        draft = Path(name) / "draft.ipynb"
        job = {"parameters": dict(parameters), "seconds": seconds, "kernels": kernels and str(kernels)}
        _run_worker(chapter, draft, job, threads, progress, stop or Stop())
        ran = notebooks.read(draft)
        finished = notebooks.scrub(ran)
        _require_no_trace(chapter, finished, name)
        _require_figures(chapter, finished)
        write_whole(output, notebooks.dump(finished))
    return notebooks.python_warnings(ran)


def _run_worker(
    chapter: Chapter, draft: Path, job: dict[str, Any], threads: int, progress: Progress, stop: Stop
) -> None:
    """Execute a chapter into a draft, in a process that works where the chapter lies, as Jupyter does."""
    folder, log, failure = draft.parent, draft.with_name("log"), None
    job |= {"notebook": str(chapter.path.resolve()), "output": str(draft), "folder": str(folder)}
    with (
        log.open("w", encoding="utf-8") as messages,
        subprocess.Popen(
            command("ssl_theory.publishing.worker", job["kernels"]),
            cwd=chapter.path.parent,
            env=os.environ | _settings(folder, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C reaches this process, which ends the others
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        stop.add(process)
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()  # and not closed: the worker ends when this process does
            for line in process.stdout:
                answer = json.loads(line)
                if "cell" in answer:
                    progress(answer["cell"], answer["of"], answer["spent"])
                failure = answer.get("failure")
            process.wait()
        except BrokenPipeError:  # it broke off before it read its job
            process.wait()
        except BaseException:
            process.terminate()
            raise
        finally:
            stop.remove(process)
    if failure is not None:
        raise BuildError(f"{chapter.name}: {failure}")
    if process.returncode != 0:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        told = last[0] if last else f"exit code {process.returncode}"
        raise BuildError(f"{chapter.name}: the process that ran it broke off: {told}")


def _settings(folder: Path, threads: int) -> dict[str, str]:
    """Return the environment in which a chapter gives the same outputs on every machine."""
    settings, drafts = folder / "settings", folder / "drafts"
    for place in (settings, drafts):
        place.mkdir()
    (settings / "matplotlibrc").touch()
    return {
        "SSL_THEORY_STATIC": "1",
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "IPYTHONDIR": str(settings),  # empty, so that nobody's start-up files or styles take part
        "MALLOC_MMAP_THRESHOLD_": str(2**25),  # freed memory is kept: it is soon asked for again
        "MALLOC_TRIM_THRESHOLD_": str(2**32),
        "MATPLOTLIBRC": str(settings / "matplotlibrc"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # any other one shows no figure
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "TMPDIR": str(drafts),  # what is temporary goes with the chapter, however that ends
        "PYTHONUTF8": "1",
        "PYTHONIOENCODING": "utf-8",
    }


class Warm(NamedTuple):
    """A process that has imported what chapters import.

    Attributes:
        door: Where it is asked for others, `kernels` of `execute`.
        seconds: Processor time that it took to start: a measure of the machine.
    """

    door: Path
    seconds: float


@contextmanager
def warm_process(threads: int) -> Iterator[Warm | None]:
    """Keep a process that has imported what chapters import, where the system lets it split off kernels.

    Args:
        threads: How many processors the numerics of each may use.

    Yields:
        It; None if there is no such process.
    """
    if sys.platform != "linux":
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ssl-theory-", ignore_cleanup_errors=True) as name:
        door = Path(name) / "door"
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "ssl_theory.publishing.warm", str(door)],
            env=os.environ | _settings(Path(name), threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                started = process.stdout.readline()
                yield Warm(door, float(started)) if started else None
            finally:
                process.stdin.close()


def _require_no_trace(chapter: Chapter, notebook: dict[str, Any], folder: str) -> None:
    """Raise BuildError if an output shows where, or at which address in memory, it was made."""
    known = {str(chapter.path.parent.resolve()), str(PACKAGE.parent), folder}
    places = "|".join(map(re.escape, known))
    own = [cell for cell in notebook["cells"] if notebooks.INJECTED not in notebooks.tags(cell)]
    for number, cell in enumerate(own, 1):
        found = re.search(
            rf"{places}|ipykernel_\d+| at 0x[0-9a-f]{{6,}}", json.dumps(cell.get("outputs", []))
        )
        if found:
            raise BuildError(
                f"{chapter.name}: cell {number} shows a trace of this machine: {found[0].strip()}"
            )


def _require_figures(chapter: Chapter, notebook: dict[str, Any]) -> None:
    """Raise BuildError if a cell does not show the figure that it announces."""
    missing = notebooks.missing_figures(notebook)
    if missing:
        raise BuildError(f"{chapter.name}: cells announce figures and show none: {', '.join(missing)}")
