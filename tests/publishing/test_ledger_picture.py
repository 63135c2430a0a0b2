from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from ssl_theory.publishing.ledger_picture import EDGES, _spread, description, picture, ratios


def entry(kind: str, error: float, tolerance: float, control: float, chapter: str = "one") -> dict[str, Any]:
    return {
        "kind": kind,
        "error": error,
        "tolerance": tolerance,
        "control_error": control,
        "chapter": chapter,
    }


ENTRIES = [
    entry("exact", 1e-15, 1e-12, 0.5),
    entry("exact", 0.0, 1e-12, 1e6),
    entry("sampled", 3.0, 6.0, 20.0, "two"),
    entry("slope", 0.04, 0.05, 1.0, "two"),
    entry("interval", 0.0, 0.0, 0.1, "two"),
    entry("fails", 0.5, 0.1, 1e-15, "two"),
]


def test_statement_and_control_lie_on_their_sides_of_one() -> None:
    for e in ENTRIES:
        own, control = ratios(e)
        assert (own <= 1 < control) != (e["kind"] == "fails")
        assert all(EDGES[0] <= r <= EDGES[1] for r in (own, control))
    assert ratios(ENTRIES[0]) == (pytest.approx(1e-3), pytest.approx(5e11))
    assert ratios(ENTRIES[1]) == EDGES


def test_the_picture_is_valid_and_the_same_for_the_same_records() -> None:
    svg = picture(ENTRIES, ["one", "two", "without checks"])
    ET.fromstring(svg)
    assert svg == picture(ENTRIES, ["one", "two", "without checks"])
    assert svg != picture(ENTRIES[:-1], ["one", "two"])
    ET.fromstring(picture([], []))


def test_marks_of_one_place_do_not_hide_each_other() -> None:
    found = sorted(_spread(k) for k in range(30))
    assert found[0] >= -0.35
    assert found[-1] <= 0.35
    assert min(b - a for a, b in itertools.pairwise(found)) > 0.008


def test_the_picture_is_described_by_its_numbers() -> None:
    alternative, caption = description(ENTRIES)
    assert "The 5 statements that must hold lie left of 1, the largest at 0.8" in alternative
    assert "the smallest at 3.3 times the tolerance" in alternative
    assert "In 1 checks" in alternative
    assert "control" in caption
    assert "dropped" not in description(ENTRIES[:1])[0]
