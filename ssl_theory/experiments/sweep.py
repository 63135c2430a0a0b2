"""A table with the rows of many settings, made so that whatever stops it, the same call goes on.

A setting is named by the hash of what identifies it: the columns of its rows that tell it from all others,
numbers to the last digit. Its rows are written as a whole or not at all, into a folder beside the table; then
they join the table, which is replaced as a whole too. Settings that the table holds are not run again.

Settings run one after the other in this process, or on any `concurrent.futures.Executor`: a pool of
processes, or the workers of a cluster. A worker that is killed loses nothing but its setting. An array of
independent jobs takes a `Shard` each; the same call without one gathers what they left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import pandas as pd

from ssl_theory.experiments.store import Label, Setting, Store, Work, folder_of, opened
from ssl_theory.training import NonFiniteError, distributed
from ssl_theory.validation import require_integer

Report = Callable[[str], None]

HOPELESS = (NonFiniteError, MemoryError)  # the same setting would fail again: its checkpoints go
_ALONE = Lock()  # torch's global random state belongs to one run at a time


@dataclass(frozen=True)
class Shard:
    """One of several independent jobs that share the settings of a sweep.

    Args:
        index: Which one, from 1.
        count: How many there are.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If it is out of range.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        require_integer("count of the shards", self.count, 1)
        require_integer("index of the shard", self.index, 1, self.count)

    def of(self, settings: Sequence[Setting]) -> list[Setting]:
        """Return the settings of this job: every count-th, so that each setting belongs to one job."""
        return list(settings[self.index - 1 :: self.count])


def sweep(
    settings: Sequence[Setting],
    path: str | Path | None = None,
    *,
    executor: Executor | None = None,
    shard: Shard | None = None,
    added: Mapping[str, Label] | None = None,
    names: str | None = None,
    check: Callable[[], object] | None = None,
    report: Report | None = None,
) -> pd.DataFrame:
    """Run the settings that a table does not hold yet, and return the rows of all that were asked for.

    A setting that fails does not stop the others: its error is raised at the end. Ctrl-C keeps what is done.
    Under torchrun every process calls this, and all work on one setting together.

    Args:
        settings: What to run, in the order wanted.
        path: CSV file of the table: labels to the last digit, other numbers to six. Links are followed, and
            rows of other settings stay. None to keep nothing.
        executor: Where to run; None for this process, one setting after the other.
        shard: Which of the settings are this job's; it leaves the table alone. None for all.
        added: Labels that older tables lack, with the values that they then have.
        names: Column with a name for each setting, which must not be given to two.
        check: Called once, if there is something to run in this process; what it raises ends the sweep.
        report: Gets a line for each setting that is done, and one when the sweep is stopped.

    Returns:
        The rows, setting by setting; with a path as a later call would read them.

    Raises:
        ValueError: If the path is no regular file, holds another table, holds another setting under one of
            the names, or another call is writing to it.
        OSError: If it cannot be written; found out before the first setting.
        Exception: What the first setting that failed raised, with a note of the others.
    """
    own = list(settings) if shard is None else shard.of(settings)
    with ExitStack() as stack:

        def enter() -> Store | None:
            if path is None or distributed.rank() > 0:
                return None
            gather = shard is None
            return stack.enter_context(opened(Path(path), own, gather=gather, added=added or {}, names=names))

        store = _agreed(enter)
        missing = {one.key for one in own if store is None or not store.holds(one)}
        keys = distributed.all_gather_object(missing)[0]
        todo = list({one.key: one for one in own if one.key in keys}.values())
        if check is not None and todo and executor is None:
            check()
        fresh = _run(todo, path, store, executor, _Progress(len(own), len(todo), report, path))
        tables = [fresh[one.key] if store is None else store.rows(one) for one in own]
    if names is not None:
        tables = [rows.assign(**{names: one.name}) for one, rows in zip(own, tables, strict=True)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _run(
    settings: Sequence[Setting],
    path: str | Path | None,
    store: Store | None,
    executor: Executor | None,
    progress: _Progress,
) -> dict[str, pd.DataFrame]:
    """Run settings, keep their rows, and return them by key.

    Args:
        settings: What to run.
        path: As for `sweep`.
        store: Where rows are kept.
        executor: As for `sweep`.
        progress: Is told what is done.

    Returns:
        The rows.
    """
    failed: dict[str, Exception] = {}
    fresh: dict[str, pd.DataFrame] = {}
    base = None if path is None else folder_of(Path(path))
    folders = {one.key: base and base / one.key for one in settings}
    results = _here(settings, folders) if executor is None else _there(settings, folders, executor)
    try:
        for one, result in results:
            if isinstance(result, Exception):
                failed[one.name] = result
                if store is not None and isinstance(result, HOPELESS):
                    store.forget(one)
                continue
            fresh[one.key] = result
            if store is not None:
                store.add(one, result)
            progress.done(one)
    except KeyboardInterrupt:
        progress.stopped()
        raise
    for name, error in failed.items():
        error.add_note(f"Setting: {name}.")
        if len(failed) > 1:
            error.add_note(f"{len(failed) - 1} more failed: {'; '.join(list(failed)[1:])}.")
        raise error
    return fresh


Results = Iterator[tuple[Setting, pd.DataFrame | Exception]]


def _here(settings: Sequence[Setting], folders: Mapping[str, Path | None]) -> Results:
    for one in settings:
        try:
            result: pd.DataFrame | Exception = _worked(one.work, folders[one.key])
        except Exception as error:
            if distributed.world_size() > 1:  # the others may wait for this one
                raise
            result = error
        yield one, result


def _there(settings: Sequence[Setting], folders: Mapping[str, Path | None], executor: Executor) -> Results:
    futures = {executor.submit(_worked, one.work, folders[one.key]): one for one in settings}
    try:
        for future in as_completed(futures):
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            yield futures[future], future.result() if error is None else error
    finally:
        for future in futures:
            future.cancel()


def _worked(work: Work, folder: Path | None) -> pd.DataFrame:
    with _ALONE:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return work(folder)


class _Progress:
    """Says what is done, one line for each setting."""

    def __init__(self, total: int, todo: int, report: Report | None, path: str | Path | None) -> None:
        self.total, self.count, self.path = total, total - todo, path
        self.report = report if report is not None and distributed.rank() == 0 else lambda _: None
        if self.count:
            self.report(f"{self.count} of {total} are there already")

    def done(self, one: Setting) -> None:
        self.count += 1
        self.report(f"{self.count}/{self.total} {one.name}")

    def stopped(self) -> None:
        kept = "nothing was kept" if self.path is None else "the same call goes on from here"
        self.report(f"stopped with {self.count} of {self.total} done; {kept}")


def _agreed(make: Callable[[], Any]) -> Any:
    """Return what is made here, unless the first of several processes fails: then all fail."""
    made, error = None, None
    try:
        made = make()
    except Exception as caught:
        error = caught
    first = distributed.all_gather_object(error)[0]
    if error is None:
        error = first
    if error is not None:
        raise error
    return made
