"""Execution of chapters by papermill: several at once, skipped when nothing changed, all or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import PACKAGE, Chapter
from ssl_theory.publishing.errors import BuildError

# What a chapter's outputs depend on, next to its own text, its parameters and the library.
PACKAGES = ("ipykernel", "matplotlib", "numpy", "pandas", "scikit-learn", "scipy", "seaborn", "torch")
CELL_SECONDS = {"quick": 300, "paper": 6 * 3600}

Report = Callable[[str], None]


@dataclass(frozen=True)
class Failure:
    """Why a chapter did not run to its end."""

    chapter: str
    message: str


@dataclass(frozen=True)
class Run:
    """One line of the runner's record, build/runs.json."""

    key: str
    parameters: dict[str, Any]
    seconds: float
    finished: str


def execute(chapter: Chapter, output: Path, parameters: Mapping[str, Any], seconds: int | None) -> None:
    """Run a chapter and write the executed notebook, free of paths and times.

    Args:
        chapter: What to run.
        output: Where the executed notebook goes; untouched unless the chapter runs to its end.
        parameters: Values that replace the defaults.
        seconds: Time limit of each cell.

    Raises:
        BuildError: If a cell fails, runs out of time or kills the kernel.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".running-") as folder:
        draft = Path(folder) / "draft.ipynb"
        try:
            papermill.execute_notebook(
                str(chapter.path),
                str(draft),
                dict(parameters),
                kernel_name="python3",
                progress_bar=False,
                execution_timeout=seconds,
                extra_arguments=["--log-level=50"],  # of the kernel, whose warnings are not the chapter's
            )
        except PapermillExecutionError as error:
            raise BuildError(_cell_error(chapter, error)) from error
        except CellTimeoutError as error:
            raise BuildError(
                f"{chapter.name}: a cell ran for more than {seconds} s: {_last_line(error)}"
            ) from error
        except DeadKernelError as error:
            raise BuildError(f"{chapter.name}: the kernel died {_last_cell(draft)}") from error
        finished = notebooks.dump(notebooks.scrub(notebooks.read(draft)))
        draft.write_text(finished, encoding="utf-8")
        shutil.move(draft, output)


class Runner:
    """Executes chapters into a build folder and remembers what it ran.

    Args:
        build: The folder; executed notebooks go to build/executed, the record to build/runs.json.
        report: Called with a line for each chapter.
    """

    def __init__(self, build: Path, report: Report = print) -> None:
        self.executed = build / "executed"
        self.record = build / "runs.json"
        self.report = report
        self.runs: dict[str, Run] = {}
        if self.record.exists():
            entries = json.loads(self.record.read_text(encoding="utf-8"))
            self.runs = {name: Run(**entry) for name, entry in entries.items()}

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
    ) -> list[Failure]:
        """Execute chapters, several at once, and skip those that are up to date.

        Args:
            work: The chapters with their parameters.
            jobs: How many run at a time.
            force: Whether to run those that are up to date too.
            seconds: Time limit of each cell; by profile if None.

        Returns:
            What failed; all other chapters are finished.
        """
        stale = {c: p for c, p in work.items() if force or not self.up_to_date(c, p)}
        for chapter in work:
            if chapter not in stale:
                self.report(f"{chapter.name:16} up to date")
        with static_environment(min(jobs, max(1, len(stale)))), ThreadPoolExecutor(jobs) as pool:
            results = pool.map(lambda item: self._one(item[0], item[1], seconds), stale.items())
            return [failure for failure in results if failure is not None]

    def up_to_date(self, chapter: Chapter, parameters: Mapping[str, Any]) -> bool:
        """Return whether the executed copy is what running the chapter now would give."""
        run = self.runs.get(chapter.name)
        return run is not None and run.key == key(chapter, parameters) and self.output(chapter).exists()

    def _one(self, chapter: Chapter, parameters: Mapping[str, Any], seconds: int | None) -> Failure | None:
        self.report(f"{chapter.name:16} running")
        start, identity = time.perf_counter(), key(chapter, parameters)
        limit = seconds or CELL_SECONDS[parameters.get("profile", "quick")]
        try:
            execute(chapter, self.output(chapter), parameters, limit)
        except BuildError as error:
            self.runs.pop(chapter.name, None)
            self.output(chapter).unlink(missing_ok=True)
            self.report(f"{chapter.name:16} FAILED")
            return Failure(chapter.name, str(error))
        took = time.perf_counter() - start
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.runs[chapter.name] = Run(identity, dict(parameters), round(took, 1), now)
        self._save()
        self.report(f"{chapter.name:16} done in {took:.1f} s")
        return None

    def _save(self) -> None:
        text = json.dumps({name: asdict(run) for name, run in sorted(self.runs.items())}, indent=1)
        draft = self.record.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(self.record)


def key(chapter: Chapter, parameters: Mapping[str, Any]) -> str:
    """Return a hash of everything that the outputs of a chapter depend on."""
    digest = hashlib.sha256()
    stated = {package: version(package) for package in PACKAGES} | {"python": platform.python_version()}
    digest.update(json.dumps([stated, dict(parameters)], sort_keys=True).encode())
    for path in [chapter.path, *_library(chapter)]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def static_environment(jobs: int) -> Iterator[None]:
    """Let kernels started inside draw static controls and share the processors among `jobs` of them."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    changed = {
        "SSL_THEORY_STATIC": "1",
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _library(chapter: Chapter) -> Iterator[Path]:
    """Yield the files that a chapter can import or read."""
    for path in sorted(PACKAGE.rglob("*")):
        inside = path.relative_to(PACKAGE).parts[0]
        if path.suffix in (".py", ".toml") and inside not in ("publishing", "_book"):
            yield path
    results = chapter.path.parents[len(Path(chapter.place).parts) - 1] / "results"
    yield from sorted(results.glob("*.csv"))


def _cell_error(chapter: Chapter, error: Any) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    lines = re.findall(r"Cell In\s*\[\d+\], line (\d+)", text) or re.findall(r"line (\d+)", text)
    where, source = "", error.source.splitlines()
    if lines and int(lines[-1]) <= len(source):
        number = int(lines[-1])
        where = f", line {number}: {source[number - 1].strip()}"
    return f"{chapter.name}: cell {error.cell_index}{where}\n    {error.ename}: {error.evalue}"


def _last_cell(draft: Path) -> str:
    """Return which cell was last begun, from the notebook that papermill saves before each cell."""
    if not draft.exists():
        return "before its first cell"
    begun = [
        index
        for index, cell in enumerate(notebooks.read(draft)["cells"])
        if cell["metadata"].get("papermill", {}).get("start_time")
    ]
    return f"in cell {begun[-1]}" if begun else "before its first cell"


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
