"""Execution of many chapters: several at once, those that are up to date skipped."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from ssl_theory.publishing.catalogue import PACKAGE, Chapter
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.execute import CELL_SECONDS, execute, stop_all

Report = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """One line of the runner's record, build/runs.json: what ran last, and that it may be used again."""

    key: str
    parameters: dict[str, Any]
    seconds: float
    finished: str


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
        for chapter in work:
            if chapter not in stale:
                self.report(f"{chapter.name:16} up to date")
        threads = max(1, processors() // min(jobs, max(1, len(stale))))
        for cut_off in self.executed.rglob(".running-*"):  # by a build that was killed
            shutil.rmtree(cut_off, ignore_errors=True)
        pool = ThreadPoolExecutor(jobs)
        try:
            results = pool.map(lambda item: self._one(item[0], item[1], seconds, threads), stale.items())
            return [failure for failure in results if failure is not None]
        except BaseException:  # Ctrl-C above all
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise
        finally:
            pool.shutdown()

    def up_to_date(self, chapter: Chapter, parameters: Mapping[str, Any]) -> bool:
        """Return whether the executed copy is what running the chapter now would give."""
        run = self.runs.get(chapter.name)
        return run is not None and run.key == key(chapter, parameters) and self.output(chapter).exists()

    def _one(
        self, chapter: Chapter, parameters: Mapping[str, Any], seconds: int | None, threads: int
    ) -> str | None:
        self.report(f"{chapter.name:16} running")
        start, identity = time.perf_counter(), key(chapter, parameters)
        limit = seconds or CELL_SECONDS[parameters.get("profile", "quick")]
        try:
            warned = execute(chapter, self.output(chapter), parameters, seconds=limit, threads=threads)
        except BuildError as error:
            self._remember(chapter, None)
            self.output(chapter).unlink(missing_ok=True)
            self.report(f"{chapter.name:16} FAILED")
            return str(error)
        took = time.perf_counter() - start
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._remember(chapter, Run(identity, dict(parameters), round(took, 1), now))
        for warning in warned:
            self.report(f"{chapter.name:16} warned: {warning}")
        self.report(f"{chapter.name:16} done in {took:.1f} s")
        return None

    def _remember(self, chapter: Chapter, run: Run | None) -> None:
        with self._writing:
            self.runs.pop(chapter.name, None)
            if run is not None:
                self.runs[chapter.name] = run
            text = json.dumps({name: asdict(run) for name, run in sorted(self.runs.items())}, indent=1)
            draft = self.record.with_suffix(".draft")
            draft.write_text(text + "\n", encoding="utf-8")
            draft.replace(self.record)


def _read(record: Path) -> dict[str, Run]:
    """Return the record, empty if there is none or another version of this program wrote it."""
    try:
        entries = json.loads(record.read_text(encoding="utf-8"))
        return {name: Run(**entry) for name, entry in entries.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def key(chapter: Chapter, parameters: Mapping[str, Any]) -> str:
    """Return a hash of everything that the outputs of a chapter depend on."""
    digest = hashlib.sha256(json.dumps([versions(), dict(parameters)], sort_keys=True).encode())
    for name, path in _inputs(chapter):
        digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of all that the library, and so a chapter, is built on."""
    direct = [name for name in requires("ssl-theory") or [] if "extra ==" not in name]
    found = {"python": platform.python_version()}
    for requirement in direct:
        package = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def _inputs(chapter: Chapter) -> Iterator[tuple[str, Path]]:
    """Yield the chapter and the files that it can import or read, each with a name."""
    yield "chapter", chapter.path
    for path in sorted(PACKAGE.rglob("*")):
        inside = path.relative_to(PACKAGE)
        if path.suffix in (".py", ".toml") and inside.parts[0] not in ("publishing", "_book"):
            yield inside.as_posix(), path
    book = chapter.path.parents[len(Path(chapter.place).parts) - 1]
    for path in sorted((book / "results").glob("*.csv")):
        yield f"results/{path.name}", path
