"""Where a sweep keeps its rows: a table, replaced as a whole, and beside it what has not joined it yet."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from ssl_theory.training.checkpoints import atomic_write

Label = str | int | float | bool
Work = Callable[[Path | None], pd.DataFrame]


# unless it is told not to; later versions read exactly, and deprecate to tell them
_ROUNDS = tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)


def read_exactly(source: Path | StringIO) -> pd.DataFrame:
    """Return a CSV table whose numbers are those that were written."""
    return pd.read_csv(source, float_precision="round_trip") if _ROUNDS else pd.read_csv(source)


@dataclass(frozen=True)
class Setting:
    """One setting of a sweep.

    Args:
        name: What it is called in the report of progress.
        labels: The columns, with their values, that its rows and no others have.
        work: Maps a folder for checkpoints, or None to keep none, to the rows, labels included. For an
            executor of other processes it must be picklable.
    """

    name: str
    labels: Mapping[str, Label]
    work: Work

    @property
    def key(self) -> str:
        """The hash of the labels."""
        return key_of(self.labels)


def key_of(labels: Mapping[str, Any]) -> str:
    """Return the hash that names a setting.

    Args:
        labels: Columns with their values, as they are or as a table holds them as text.

    Returns:
        16 hexadecimal digits of SHA-256 of their canonical JSON, numbers to the last digit.
    """
    text = json.dumps({name: _plain(value) for name, value in labels.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def folder_of(path: Path) -> Path:
    """Return the folder beside a table with finished rows that have not joined it, and checkpoints."""
    real = _real(path)
    return real.with_name(f".{real.name}.sweep")


class Store:
    """A table as text, so that what is not of this call is written back as it was.

    Args:
        path: CSV file, links followed; need not be there.
        gather: Whether rows join the table, or stay in the folder for a later call to take up.
        added: Labels that older tables lack, with the values that they then have.

    Raises:
        ValueError: If the path is no regular file or holds no table.
        OSError: If no file can be written there.
    """

    def __init__(self, path: Path, *, gather: bool, added: Mapping[str, Label]) -> None:
        self.path, self.folder = _writable(path), folder_of(path)
        self.gather, self.added = gather, added
        self.load()

    def load(self) -> None:
        """Read the table."""
        there = self.path.exists() and self.path.stat().st_size
        self.table = _read(self.path) if there else pd.DataFrame()
        self._keys_by: dict[tuple[str, ...], pd.Series[str]] = {}

    def require_columns_of(self, settings: Sequence[Setting]) -> None:
        """Raise ValueError if the table lacks a label."""
        needed = {name for one in settings for name in one.labels} - set(self.added)
        missing = sorted(needed - set(self.table.columns)) if len(self.table.columns) else []
        if missing:
            raise _foreign(self.path, f"it has no column {', '.join(missing[:3])}{'…' * (len(missing) > 3)}")

    def require_names_of(self, settings: Sequence[Setting], column: str) -> None:
        """Raise ValueError if the table gives the name of a setting to another one."""
        for one in settings if column in self.table else ():
            held = self.table[self.table[column] == one.name]
            others = held[self._keys(held, one) != one.key]
            if len(others):
                row = {str(name): text for name, text in others.iloc[0].items()}
                now, then = self._different(one.labels, row)
                raise ValueError(f"path holds {one.name!r} with {then}, got {now}; name another file")

    def collect(self, settings: Sequence[Setting]) -> None:
        """Take up the rows that earlier calls left beside the table, unless it has rows of their setting."""
        asked = {one.key: one for one in settings}
        left = sorted(self.folder.glob("*.csv"))
        for part in left:
            if part.stem not in asked or not self.holds(asked[part.stem]):
                self._join(_read(part))
        if left and self.gather:
            self._write()

    def holds(self, one: Setting) -> bool:
        """Return whether there are rows of a setting."""
        return bool((self._keys(self.table, one) == one.key).any())

    def rows(self, one: Setting) -> pd.DataFrame:
        """Return the rows of a setting, as a later call would read them."""
        text = self.table[self._keys(self.table, one) == one.key].to_csv(index=False)
        return read_exactly(StringIO(text))

    def add(self, one: Setting, rows: pd.DataFrame) -> None:
        """Keep the rows of a setting: labels to the last digit, other numbers to six."""
        measured = [name for name in rows.select_dtypes("float") if name not in one.labels]
        rows = rows.assign(**{str(n): rows[n].map(lambda v: float(f"{v:.6g}")) for n in measured})
        part = self.folder / f"{one.key}.csv"
        with atomic_write(part) as file:
            file.write(rows.to_csv(index=False).encode())
        self._join(_read(part))
        if not self.holds(one):
            raise ValueError(f"work must return rows with the labels of its setting, {dict(one.labels)}")
        if self.gather:
            self._write()
        self.forget(one)

    def forget(self, one: Setting) -> None:
        """Remove the checkpoints of a setting."""
        shutil.rmtree(self.folder / one.key, ignore_errors=True)

    def clear(self, settings: Sequence[Setting]) -> None:
        """Remove the checkpoints of settings that are done, and the folder if nothing is left in it."""
        for one in settings:
            if self.holds(one):
                self.forget(one)
            with suppress(OSError):
                (self.folder / one.key).rmdir()  # of one that failed before its first checkpoint
        with suppress(OSError):
            self.folder.rmdir()

    def _join(self, rows: pd.DataFrame) -> None:
        both = pd.concat([self.table, rows], ignore_index=True).fillna("")
        self.table = both.drop_duplicates(ignore_index=True)
        self._keys_by.clear()

    def _write(self) -> None:
        with atomic_write(self.path) as file:
            file.write(self.table.to_csv(index=False).encode())
        for part in self.folder.glob("*.csv"):
            part.unlink()

    def _keys(self, table: pd.DataFrame, one: Setting) -> pd.Series:
        """Return the key of each row, by the labels that a setting has."""
        names = tuple(one.labels)
        if table is self.table and names in self._keys_by:
            return self._keys_by[names]
        known: dict[tuple[str, ...], str] = {}
        for row in (rows := list(zip(*(self._column(table, n) for n in names), strict=True))):
            if row not in known:
                known[row] = key_of(dict(zip(names, row, strict=True)))
        keys = pd.Series([known[row] for row in rows], index=table.index, dtype=str)
        if table is self.table:
            self._keys_by[names] = keys
        return keys

    def _column(self, table: pd.DataFrame, name: str) -> list[str]:
        usual = str(self.added.get(name, ""))
        return [text or usual for text in table[name]] if name in table else [usual] * len(table)

    def _different(self, labels: Mapping[str, Label], row: Mapping[str, str]) -> tuple[str, str]:
        """Return the first label that differs, as it is here and as a row of the table has it."""
        for name, value in labels.items():
            held = row.get(name) or str(self.added.get(name, ""))
            if _plain(held) != _plain(value):
                return f"{value}", f"{name} = {held}"
        raise AssertionError("keys differ, so some label does")


@contextmanager
def opened(
    path: Path,
    settings: Sequence[Setting],
    *,
    gather: bool,
    added: Mapping[str, Label],
    names: str | None = None,
) -> Iterator[Store]:
    """Open a table for some settings; it is refused before anything is left beside it.

    Args:
        path: As for `Store`.
        settings: Whose rows it shall hold.
        gather: As for `Store`; only one call at a time may.
        added: As for `Store`.
        names: Column with a name for each setting.

    Yields:
        The store, with what earlier calls left.

    Raises:
        ValueError: If the path is no regular file, holds another table, holds another setting under one of
            the names, or another call is writing to it.
        OSError: If it cannot be written.
    """
    store = Store(path, gather=gather, added=added)
    store.require_columns_of(settings)
    if names is not None:
        store.require_names_of(settings, names)
    store.folder.mkdir(exist_ok=True)
    lock = FileLock(store.folder / "lock", timeout=0)
    try:
        if gather:
            lock.acquire()
            store.load()
        store.collect(settings)
        yield store
    except Timeout:
        raise ValueError(f"path must be written by one call at a time, another is at {path}") from None
    finally:
        if lock.is_locked:
            (store.folder / "lock").unlink(missing_ok=True)
            lock.release()
        store.clear(settings)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:  # pandas' own errors, and text that is none, are ValueErrors
        raise _foreign(path, str(error).strip().splitlines()[0]) from None


def _foreign(path: Path, reason: str) -> ValueError:
    return ValueError(f"path must hold a table of this experiment, or nothing, got {path}: {reason}")


def _plain(value: object) -> Label:
    """Return a label as a number, a truth value or a text, whether it comes as such or as a table's text."""
    text = str(value)
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        with suppress(ValueError):
            number = kind(text)
            return int(number) if number == number // 1 and abs(number) < 2**53 else number
    return text


def _real(path: Path) -> Path:
    try:
        return path.expanduser().resolve()
    except RuntimeError as error:
        raise ValueError(f"path must lead to a file, got {path}: {error}") from None


def _writable(path: Path) -> Path:
    """Return where a path leads, after making sure, without a trace, that a file can be written there."""
    real = _real(path)
    try:
        if real.exists() and not real.is_file():
            kind = "a folder" if real.is_dir() else "a device, pipe or socket"
            raise ValueError(f"path must be a regular file, or not be there yet, got {kind}: {path}")
        with tempfile.TemporaryFile(dir=real.parent):
            pass
        if real.exists():
            with real.open("r+b"):
                pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return real
