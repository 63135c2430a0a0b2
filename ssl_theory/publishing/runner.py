"""Execution of many chapters: several at once, those that are up to date skipped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from ssl_theory.checks import holds
from ssl_theory.publishing import ledger
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.execute import CELL_SECONDS, CutOffError, Stop, Warm, execute, warm_process
from ssl_theory.publishing.files import write_whole
from ssl_theory.publishing.inputs import key

Report = Callable[[str], None]
MANY = 3  # chapters for which a warm process is worth while
SECONDS = 20.0  # that a chapter takes of which nothing is known
DEAR = 2.0  # times the start of a warm process: what a chapter may take of the processor in the quick profile


@dataclass(frozen=True)
class Run:
    """One line of the runner's record, build/runs.json: what ran last, and what it wrote.

    Attributes:
        key: Hash of all that it depended on.
        parameters: Those that replaced the defaults.
        seconds: How long it took.
        finished: When, in UTC.
        output: Hash of the executed notebook.
        processor: Seconds of processor time that its kernel took.
    """

    key: str
    parameters: dict[str, Any]
    seconds: float
    finished: str
    output: str
    processor: float = 0.0


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
        self._waiting: dict[str, float] = {}  # chapters that are not done, with the seconds they may take
        self._jobs = 1
        self.warm: Warm | None = None

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
        kept: ExitStack | None = None,
    ) -> list[str]:
        """Execute chapters, several at once, and skip those that are up to date.

        Args:
            work: The chapters with their parameters.
            jobs: How many run at a time.
            force: Whether to run those that are up to date too.
            seconds: Time limit of each cell; by profile if None.
            kept: What will end the warm process that chapters are split off, which is `warm` until then; it
                ends with the last chapter if None.

        Returns:
            Why each chapter that failed did; all others are finished.

        Raises:
            BuildError: If the notebook of a chapter is damaged.
        """
        keys = {c: key(c, p) for c, p in work.items()}  # before anything that they depend on is imported
        stale = {c: p for c, p in work.items() if force or not self.up_to_date(c, keys[c])}
        self._ready, self._all = len(work) - len(stale), len(work)
        for chapter in work:
            if chapter not in stale:
                self.report(f"{chapter.name:16} up to date")
        threads = max(1, processors() // min(jobs, max(1, len(stale))))
        self._clear()
        self._jobs, self._waiting = jobs, self._expected(stale)
        with ExitStack() as done:
            several = len(stale) >= MANY
            warm = (kept or done).enter_context(warm_process(threads)) if several else None
            how = {"keys": keys, "seconds": seconds, "threads": threads, "warm": warm}
            failures = self._all_of(stale, jobs, how)
        self.warm = warm if kept else None
        others = {c: p for c, p in work.items() if failures.get(c) is None}
        failures |= {c: _changed(c) for c, p in others.items() if key(c, p) != self.runs[c.name].key}
        return [failure for failure in failures.values() if failure is not None]

    def _all_of(
        self, stale: Mapping[Chapter, Mapping[str, Any]], jobs: int, how: Mapping[str, Any]
    ) -> dict[Chapter, str | None]:
        """Run chapters, several at once.

        Returns:
            Why each failed, None if it did not.
        """
        pool = ThreadPoolExecutor(jobs)
        try:
            told = pool.map(lambda item: self._one(*item, **how), stale.items())
            return dict(zip(stale, told, strict=True))
        except BaseException:  # Ctrl-C above all
            pool.shutdown(wait=False, cancel_futures=True)
            self._stop.now()
            raise
        finally:
            pool.shutdown()

    def _expected(self, chapters: Iterable[Chapter]) -> dict[str, float]:
        """Return how many seconds each chapter may take: as long as last time, or as others did."""
        known = {name: run.seconds for name, run in self.runs.items()}
        usual = median(known.values()) if known else SECONDS
        return {chapter.name: known.get(chapter.name, usual) for chapter in chapters}

    def up_to_date(self, chapter: Chapter, now: str) -> bool:
        """Return whether the executed copy is what running the chapter would give, whose key is `now`."""
        run = self.runs.get(chapter.name)
        if run is None or run.key != now or run.output != _hash(self.output(chapter)):
            return False
        try:
            return all(map(holds, ledger.records(self.output(chapter))))
        except BuildError:
            return False

    def _one(
        self,
        chapter: Chapter,
        parameters: Mapping[str, Any],
        *,
        keys: Mapping[Chapter, str],
        seconds: int | None,
        threads: int,
        warm: Warm | None,
    ) -> str | None:
        self.report(f"{chapter.name:16} running")
        start, identity, output = time.perf_counter(), keys[chapter], self.output(chapter)
        limit = seconds or CELL_SECONDS[parameters.get("profile", "quick")]
        spent = [0.0]
        how: dict[str, Any] = {"threads": threads, "stop": self._stop, "kernels": warm and warm.door}
        how["progress"] = lambda cell, of, seconds: spent.append(seconds)
        try:
            warned = execute(chapter, output, parameters, seconds=limit, **how)
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
        ran = Run(identity, dict(parameters), round(took, 1), now, _hash(output), round(max(spent), 1))
        self._remember(chapter, ran)
        self.report(f"{chapter.name:16} done in {took:.1f} s, {self._ready} of {self._all}{self._left()}")
        return self._dear(chapter.name, ran, warm)

    def _dear(self, name: str, run: Run, warm: Warm | None) -> str | None:
        """Warn of a chapter that takes too much of the processor, in units of the warm process's start.

        Returns:
            The same where that is a failure, in CI.
        """
        if warm is None or run.parameters.get("profile", "quick") != "quick":
            return None
        if run.processor <= DEAR * warm.seconds:
            return None
        times = f"{run.processor / warm.seconds:.2f} times the {warm.seconds:.1f} s of starting"
        told = f"took {run.processor} s of processor time, {times}; at most {DEAR:g} times is allowed"
        self.report(f"{name:16} warned: {told}")
        return f"{name} {told}" if os.environ.get("SSL_THEORY_CI") == "1" else None

    def _left(self) -> str:
        """Return in words how long the other chapters may take; nothing after the last."""
        seconds = sum(self._waiting.values()) / self._jobs
        told = f"{round(seconds / 60)} min" if seconds > 90 else f"{max(round(seconds, -1), 10):.0f} s"
        return f", about {told} left" if self._waiting else ""

    def _remember(self, chapter: Chapter, run: Run | None) -> None:
        with self._writing:
            self._waiting.pop(chapter.name, None)
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
