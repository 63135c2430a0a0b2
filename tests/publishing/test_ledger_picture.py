from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from ssl_theory.checks import STATUS
from ssl_theory.publishing.ledger_picture import LEFT, MARKS, RIGHT, description, picture, power


def entry(kind: str, error: float, tolerance: float, chapter: str = "one") -> dict[str, Any]:
    return {"status": STATUS[kind], "error": error, "tolerance": tolerance, "chapter": chapter}  # type: ignore[index]


ENTRIES = [
    entry("exact", 1e-15, 1e-12),
    entry("exact", 0.0, 1e-12),
    entry("sampled", 3.0, 6.0, "two"),
    entry("slope", 0.04, 0.05, "two"),
    entry("fails", 0.5, 0.1, "two"),
    entry("fails", 0.5, 0.0, "two"),
]


def places(svg: str, kind: str) -> list[float]:
    """Return where the marks of a kind are, without that of the legend."""
    colour = MARKS[kind][0]
    found = re.findall(rf'fill="{colour}"[^>]*><\w+ (?:cx="|x="|d="M)([\d.]+)', svg)
    return [float(x) for x in found[1:]]


def test_every_check_has_a_mark_on_its_side_of_one() -> None:
    svg = picture(ENTRIES, ["one", "two", "without checks"])
    ET.fromstring(svg)
    texts = re.findall(r">([^<]+)</text>", svg)
    assert texts.count("1") == 1
    one = float(re.search(r'<text x="([\d.]+)"[^>]*>1</text>', svg)[1])  # type: ignore[index]
    for kind in STATUS:
        wanted = sum(e["status"] == STATUS[kind] for e in ENTRIES)
        found = places(svg, kind)
        assert len(found) == wanted, kind
        assert all((x > one) == (kind == "fails") for x in found), kind
        assert all(LEFT <= x <= RIGHT + 5 for x in found)
    assert min(places(svg, "exact")) < LEFT + 12, "an error of 0 stands at the edge"
    assert {"one", "two"} <= set(texts)
    assert "without checks" not in texts


def test_the_axis_is_logarithmic() -> None:
    svg = picture([entry("exact", 10.0**-k, 1.0) for k in range(1, 7)], ["one"])
    found = sorted(places(svg, "exact"))
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert max(steps) - min(steps) <= 5  # pixels, to which marks are moved together
    assert power(entry("exact", 0.0, 0.0)) == -math.inf
    assert power(entry("fails", 1.0, 0.0)) == math.inf
    assert power(entry("exact", 1e-14, 1e-12)) == pytest.approx(-2)


def test_marks_do_not_hide_each_other() -> None:
    svg = picture([entry("exact", 1e-14, 1e-12)] * 4, ["one"])
    heights = re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', svg)[1:]
    assert len(set(heights)) == 4


def test_the_picture_is_described_by_its_numbers() -> None:
    alternative, caption = description(ENTRIES)
    assert "The 4 checks of what must hold lie left of 1, the largest at 0.8" in alternative
    assert "the 2 of what must fail lie right of 1, the smallest at 5 times" in alternative
    assert caption
    assert description(ENTRIES[:1])[0].endswith("the largest at 0.001.")
    assert picture(ENTRIES, ["one", "two"]) == picture(ENTRIES, ["one", "two"])
    ET.fromstring(picture([], []))
