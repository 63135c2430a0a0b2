"""Many scenes as one: what they share is stored once, what differs in a pool to which positions refer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["SLOT", "pack", "rounded", "unpack"]

SLOT = "$"
DIGITS = 5  # significant ones; a picture shows three


def rounded(data: Any) -> Any:
    """Return plain data with floats of five significant digits, whole ones as integers."""
    if isinstance(data, float):
        short = float(f"{data:.{DIGITS - 1}e}")
        return int(short) if short == int(short) and abs(short) < 1e15 else short
    if isinstance(data, list):
        return [rounded(part) for part in data]
    if isinstance(data, dict):
        return {key: rounded(part) for key, part in data.items()}
    return data


def pack(scenes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return scenes as a template with slots, a pool of values, and which of them each position shows.

    Args:
        scenes: Plain data, at least one.

    Returns:
        "scene", in which {"$": k} is the k-th slot; "pool"; "at", for each position the places in the pool
        that its slots show.
    """
    pool: list[Any] = []
    places: dict[str, int] = {}
    columns: list[list[int]] = []

    def merge(versions: Sequence[Any]) -> Any:
        first = versions[0]
        if all(version == first for version in versions):
            return first
        if _same_keys(versions):
            return {key: merge([version[key] for version in versions]) for key in first}
        if _same_lists(versions):
            return [merge(parts) for parts in zip(*versions, strict=True)]
        column = []
        for version in versions:
            text = json.dumps(version)
            if text not in places:
                places[text] = len(pool)
                pool.append(version)
            column.append(places[text])
        columns.append(column)
        return {SLOT: len(columns) - 1}

    template = merge(scenes)
    return {"scene": template, "pool": pool, "at": [list(row) for row in zip(*columns, strict=True)]}


def unpack(packed: Mapping[str, Any], position: int) -> Any:
    """Return the scene of one position, as the page's script does."""

    def put(data: Any) -> Any:
        if isinstance(data, dict):
            if set(data) == {SLOT}:
                return packed["pool"][packed["at"][position][data[SLOT]]]
            return {key: put(part) for key, part in data.items()}
        return [put(part) for part in data] if isinstance(data, list) else data

    return put(packed["scene"])


def _same_keys(versions: Sequence[Any]) -> bool:
    return all(isinstance(v, dict) and v.keys() == versions[0].keys() for v in versions)


def _same_lists(versions: Sequence[Any]) -> bool:
    """Return whether all are lists of dictionaries of one length, such as marks."""
    return all(
        isinstance(v, list) and len(v) == len(versions[0]) and all(isinstance(part, dict) for part in v)
        for v in versions
    )
