"""One chapter in a process of its own: `python -m ssl_theory.publishing.worker`, told what to do on stdin.

It answers on stdout in lines of JSON: {"cell": 3, "of": 20, "spent": 4.2} when a cell begins, with the
seconds of processor time that its kernel took so far, and once more when the last has ended; {"failure": "…"}
at the end if the chapter failed. Whatever the chapter prints past its notebook goes to stderr.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import papermill
import psutil  # type: ignore[import-untyped]
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.child import BORN, command, end_with_stdin

KERNEL = "ssl-theory-chapter"  # a name that nobody else gives to a kernel
KERNEL_OPTIONS = (
    "--log-level=50",  # the kernel's own messages are not the chapter's
    "--HistoryManager.enabled=False",  # kernels that run at once would wait for one history file
)

Answer = Callable[..., None]


def main() -> int:
    """Execute a notebook as the line of JSON on stdin says; end early when the one who asked is gone.

    Returns:
        The exit code, 1 if the chapter failed.
    """
    job = json.loads(sys.stdin.readline())
    end_with_stdin(Path(job["folder"]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")  # which the kernel does not inherit
    os.dup2(2, 1)

    def answer(**what: object) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    failure = _execute(job, answer)
    if failure is not None:
        answer(failure=failure)
    return 0 if failure is None else 1


class _Watch:
    """Follows a run cell by cell; numbers are those of the chapter's own cells, from 1."""

    def __init__(self, cells: Sequence[dict[str, Any]], injected: bool, answer: Answer) -> None:
        tagged = [n for n, cell in enumerate(cells) if "parameters" in notebooks.tags(cell)]
        self._injected = (tagged[0] + 1 if tagged else 0) if injected else len(cells)  # where papermill does
        self._count, self._answer, self._begun = len(cells), answer, 0
        self.failures: dict[int, str] = {}  # by number

    def begin(self, cell: dict[str, Any], cell_index: int) -> None:
        """Tell that a cell begins."""
        self._begun = self._number(cell_index)
        self._answer(cell=self._begun, of=self._count, spent=_spent())

    def fail(self, cell: dict[str, Any], cell_index: int, execute_reply: dict[str, Any]) -> None:
        """Note that a cell failed, as the kernel says."""
        reply = execute_reply["content"]
        self.note(cell_index, cell["source"], reply["ename"], reply["evalue"], reply.get("traceback", []))

    def end(self, cell: dict[str, Any], cell_index: int, execute_reply: dict[str, Any]) -> None:
        """Tell if it was the last cell, and note if it asked its kernel to end, no error to the kernel."""
        if self._number(cell_index) == self._count:
            self._answer(cell=self._count + 1, of=self._count, spent=_spent())
        asked = [part.get("source") for part in execute_reply["content"].get("payload", [])]
        if "ask_exit" in asked:
            self.note(cell_index, cell["source"], "SystemExit", "it ends the kernel", [])

    def note(self, index: int, source: str, name: str, value: str, traceback: Sequence[str]) -> None:
        """Note that a cell failed."""
        told = f"{self._named(self._number(index))}{_line(source, traceback)}\n    {name}: {value}"
        self.failures.setdefault(self._number(index), told)

    def tell(self, what: str) -> None:
        """Note what the cell did that began last."""
        self.failures.setdefault(self._begun, f"{self._named(self._begun)} {what}")

    def _number(self, index: int) -> int:
        return index + 1 - (index >= self._injected)

    def _named(self, number: int) -> str:
        return f"cell {number} of {self._count}"


def _spent() -> float:
    """Return the processor time of the kernel so far, in seconds; a warm process may have split it off."""
    with suppress(psutil.Error, OSError, ValueError):
        born = Path(os.environ[BORN])
        own = psutil.Process(int(born.read_text(encoding="ascii"))) if born.exists() else psutil.Process()
        kernels = [*([own] if born.exists() else []), *own.children(recursive=True)]
        return sum(sum(kernel.cpu_times()[:2]) for kernel in kernels)
    return 0.0


def _execute(job: dict[str, Any], answer: Answer) -> str | None:
    """Return why the chapter failed, if it did."""
    folder = Path(job["folder"])
    source = folder / "source.ipynb"
    text = notebooks.canonical(notebooks.read(Path(job["notebook"])))  # with a kernel, whoever wrote it
    source.write_text(text, encoding="utf-8")
    watch = _Watch(json.loads(text)["cells"], bool(job["parameters"]), answer)
    _offer_kernel(folder / "jupyter", job["kernels"])
    try:
        papermill.execute_notebook(
            str(source),
            job["output"],
            job["parameters"],
            kernel_name=KERNEL,
            language="python",
            progress_bar=False,
            request_save_on_cell_execute=False,
            execution_timeout=job["seconds"],
            extra_arguments=list(KERNEL_OPTIONS),
            on_cell_execute=watch.begin,
            on_cell_error=watch.fail,
            on_cell_executed=watch.end,
        )
    except PapermillExecutionError as error:  # also if only its figure could not be drawn
        watch.note(error.cell_index, error.source, error.ename, error.evalue, error.traceback)
    except CellTimeoutError:
        watch.tell(f"ran for more than {job['seconds']} s")
    except DeadKernelError:
        watch.tell("ended its kernel, or the system did, as it does when memory runs out")
    return watch.failures[min(watch.failures)] if watch.failures else None


def _offer_kernel(folder: Path, warm: str | None) -> None:
    """Describe a kernel of this interpreter, new or split off a warm one, where Jupyter looks first."""
    place = folder / "kernels" / KERNEL
    place.mkdir(parents=True)
    argv = [*command("ipykernel_launcher", warm), "-f", "{connection_file}"]
    described = {"argv": argv, "display_name": KERNEL, "language": "python"}
    (place / "kernel.json").write_text(json.dumps(described), encoding="utf-8")
    os.environ |= {"JUPYTER_PATH": str(folder), BORN: str(folder / "born")}


def _line(source: str, traceback: Sequence[str]) -> str:
    """Return the line of the cell that an error came from, if the traceback names it."""
    text, lines = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(traceback)), source.splitlines()
    numbers = re.findall(r"Cell In\s*\[\d+\], line (\d+)", text)
    number = int(numbers[-1]) if numbers else 0
    return f", line {number}: {lines[number - 1].strip()}" if 0 < number <= len(lines) else ""


if __name__ == "__main__":
    sys.exit(main())
