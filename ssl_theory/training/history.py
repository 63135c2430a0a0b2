"""The rows of a tidy history: one observation each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

__all__: list[str] = []

Row = dict[str, float | int | str | bool | None]


def rows_of(first: Row, metrics: Mapping[str, Any]) -> list[Row]:
    """Return the rows of one measurement: sequences become rows, scalars are repeated in each.

    Args:
        first: The columns that every row begins with.
        metrics: Columns: scalars, or sequences (tensors and arrays of one dimension too) of one length.

    Returns:
        One row, or as many as the sequences are long, of Python's own numbers and strings.

    Raises:
        TypeError: If the columns are no mapping, or a value is neither number, string nor None.
        ValueError: If a name is taken, or the lengths differ.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(f"measure must return a mapping of columns, got {type(metrics).__name__}")
    if taken := first.keys() & metrics.keys():
        raise ValueError(f"measure must not return columns named {sorted(first)}, got {sorted(taken)}")
    columns = {name: _plain(value) for name, value in metrics.items()}
    lengths = {name: len(column) for name, column in columns.items() if isinstance(column, list)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"measure must return sequences of one length, got {lengths}")
    for name, column in columns.items():
        for value in column if name in lengths else [column]:
            if not isinstance(value, float | int | str | None):
                raise TypeError(
                    f"measure must return scalars and sequences of scalars, got {value!r} in {name!r}"
                )
    count = next(iter(lengths.values()), 1)
    return [first | {n: c[i] if n in lengths else c for n, c in columns.items()} for i in range(count)]


def _plain(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value  # tensors, arrays, series
    return [_plain(v) for v in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def column_means(rows: list[Row]) -> dict[str, float]:
    """Return the mean of each column of floats; whole numbers are labels."""
    table = pd.DataFrame(rows).select_dtypes("float")
    return {str(name): float(mean) for name, mean in table.mean().items()}
