"""Execution of many chapters: several at once, those that are up to date skipped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ssl_theory.checks import holds
from ssl_theory.publishing import ledger
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.execute import CELL_SECONDS, CutOffError, Stop, execute
from ssl_theory.publishing.files import write_whole
from ssl_theory.publishing.inputs import key

Report = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """One line of the runner's record, build/runs.json: what ran last, and what it wrote.

    Attributes:
        key: Hash of all that it depended on.
        parameters: Those that replaced the defaults.
        seconds: How long it took.
        finished: When, in UTC.
        output: Hash of the executed notebook.
    """

    key: str
    parameters: dict[str, Any]
    seconds: float
    finished: str
    output: str


class Runner:
    """Executes chapters into a build folder and remembers what it ran.

    Args:
        build: The folder; executed notebooks go to build/executed, the record to build/runs.json.
        report: Called with a line for each event.
    """

    def __init__(self, build: Path, report: Report = print) -> None:
        self.executed = build / "executed"
        self.record = build / "runs.json"
        self.report = report
        self.runs = _read(self.record)
        self._writing = threading.Lock()
        self._stop = Stop()
        self._ready, self._all = 0, 0

    def output(self, chapter: Chapter) -> Path:
        """Return where the executed copy of a chapter is."""
        return self.executed / f"{chapter.place}.ipynb"

    def run(
        self,
        work: Mapping[Chapter, Mapping[str, Any]],
        *,
        jobs: int,
        force: bool = False,
        seconds: int | None = None,
    ) -> list[str]:
        """Execute chapters, several at once, and skip those that are up to date.

        Args:
            work: The chapters with their parameters.
            jobs: How many run at a time.
            force: Whether to run those that are up to date too.
            seconds: Time limit of each cell; by profile if None.

        Returns:
            Why each chapter that failed did; all others are finished.
        """
        stale = {c: p for c, p in work.items() if force or not self.up_to_date(c, p)}
        self._ready, self._all = len(work) - len(stale), len(work)
        for chapter in work:
            if chapter not in stale:
                self.report(f"{chapter.name:16} up to date")
        threads = max(1, processors() // min(jobs, max(1, len(stale))))
        self._clear()
        pool = ThreadPoolExecutor(jobs)
        try:
            told = pool.map(lambda item: self._one(item[0], item[1], seconds, threads), stale.items())
            failures = dict(zip(stale, told, strict=True))
        except BaseException:  # Ctrl-C above all
            pool.shutdown(wait=False, cancel_futures=True)
            self._stop.now()
            raise
        finally:
            pool.shutdown()
        others = {c: p for c, p in work.items() if failures.get(c) is None}
        failures |= {c: _changed(c) for c, p in others.items() if key(c, p) != self.runs[c.name].key}
        return [failure for failure in failures.values() if failure is not None]

    def up_to_date(self, chapter: Chapter, parameters: Mapping[str, Any]) -> bool:
        """Return whether the executed copy is what running the chapter now would give.

        Raises:
            BuildError: If the chapter's notebook is damaged.
        """
        run, now = self.runs.get(chapter.name), key(chapter, parameters)
        if run is None or run.key != now or run.output != _hash(self.output(chapter)):
            return False
        try:
            return all(map(holds, ledger.records(self.output(chapter))))
        except BuildError:
            return False

    def _one(
        self, chapter: Chapter, parameters: Mapping[str, Any], seconds: int | None, threads: int
    ) -> str | None:
        self.report(f"{chapter.name:16} running")
        start, identity, output = time.perf_counter(), key(chapter, parameters), self.output(chapter)
        limit = seconds or CELL_SECONDS[parameters.get("profile", "quick")]
        try:
            warned = execute(chapter, output, parameters, seconds=limit, threads=threads, stop=self._stop)
        except BuildError as error:
            self._remember(chapter, None)
            output.unlink(missing_ok=True)
            self.report(f"{chapter.name:16} FAILED")
            return str(error)
        except CutOffError:
            self.report(f"{chapter.name:16} cut off")
            return f"{chapter.name} was cut off"
        took = time.perf_counter() - start
        for warning in warned:
            self.report(f"{chapter.name:16} warned: {warning}")
        if key(chapter, parameters) != identity:
            self._remember(chapter, None)
            self.report(f"{chapter.name:16} FAILED")
            return _changed(chapter)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._remember(chapter, Run(identity, dict(parameters), round(took, 1), now, _hash(output)))
        self.report(f"{chapter.name:16} done in {took:.1f} s, {self._ready} of {self._all}")
        return None

    def _remember(self, chapter: Chapter, run: Run | None) -> None:
        with self._writing:
            self.runs.pop(chapter.name, None)
            if run is not None:
                self.runs[chapter.name] = run
                self._ready += 1
            text = json.dumps({name: asdict(run) for name, run in sorted(self.runs.items())}, indent=1)
            write_whole(self.record, text + "\n")

    def _clear(self) -> None:
        """Remove what killed builds left unfinished."""
        for path in sorted(self.executed.rglob(".*")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _read(record: Path) -> dict[str, Run]:
    """Return the record, empty if there is none or another version of this program wrote it."""
    try:
        entries = json.loads(record.read_text(encoding="utf-8"))
        return {name: Run(**entry) for name, entry in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _changed(chapter: Chapter) -> str:
    return f"{chapter.name}: what it depends on was changed while the book was built; build again"


def _hash(path: Path) -> str:
    """Return the hash of a file's content, empty if it cannot be read."""
    with suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
