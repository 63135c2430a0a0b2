"""The examples in the docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "ssl_theory").rglob("*.py"))
NAMES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCES
    if ">>> " in path.read_text(encoding="utf-8")
}
ROOMS = ("flow", "hltm", "losses", "networks", "operators", "reference", "training", "views")


@pytest.mark.parametrize("name", NAMES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_of_the_mathematics_has_an_example(room: str) -> None:
    modules = [name for name in NAMES if name.split(".")[1] == room]
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert any(test.examples for m in modules for test in finder.find(importlib.import_module(m)))
