from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from ssl_theory.checks import MIME, Checks, theorems
from ssl_theory.publishing import ledger, notebooks
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.errors import BuildError

THEOREM = next(iter(theorems().values()))
CLAIM, CHAPTER = THEOREM.claims[0], THEOREM.chapter


def pass_all(chapter: str, without: Sequence[str] = ()) -> list[ledger.Entry]:
    """Return a record of every claim of a chapter, as its checks would leave it."""
    checks = Checks(chapter, profile="quick", seed=1)
    for theorem in theorems().values():
        for claim in theorem.claims:
            if theorem.chapter != chapter or claim.id in without:
                continue
            if claim.kind == "slope":
                checks.slope(claim.id, 2.0, expected=2.0, cases=3)
            elif claim.kind == "fails":
                checks.fails(claim.id, 0.5, exceeds=0.1, cases=3)
            elif claim.kind == "sampled":
                checks.sampled(claim.id, 1.0, cases=3)
            else:
                checks.exact(claim.id, 2e-15, cases=3)
    return [asdict(record) for record in checks.records]


def executed(folder: Path, without: Sequence[str] = ()) -> dict[Chapter, Path]:
    found = {}
    for name in {theorem.chapter: None for theorem in theorems().values()}:
        outputs = [{"output_type": "display_data", "data": {MIME: e}} for e in pass_all(name, without)]
        path = folder / f"{name}.ipynb"
        cell = {"cell_type": "code", "metadata": {}, "source": "", "outputs": outputs}
        path.write_text(notebooks.dump({"cells": [cell]}), encoding="utf-8")
        found[Chapter(name, path, f"part/{name}")] = path
    return found


def test_all_checks_are_collected_and_shown(tmp_path: Path) -> None:
    chapters = executed(tmp_path)
    entries = ledger.collect(chapters)
    assert {e["id"] for e in entries} == {c.id for t in theorems().values() for c in t.claims}
    page = ledger.page(f"# Ledger\n\n{ledger.MARKER}\n", entries, chapters)
    assert ledger.MARKER not in page
    assert f"**{len(entries)} checks**" in page
    for theorem in theorems().values():
        assert f"## {theorem.id}: {theorem.title}" in page
        assert all(f"| `{claim.id}` |" in page for claim in theorem.claims)
    assert "| 2e−15 ≤\u00a01e−12 |" in page
    assert "| 0.5 >\u00a00.1 |" in page
    assert CLAIM.id in ledger.table(entries)


def test_a_claim_that_never_ran_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=re.escape(f"never ran:\n    {CLAIM.id} ({CLAIM.what})")):
        ledger.collect(executed(tmp_path, without=[CLAIM.id]))


def test_a_chapter_with_claims_that_is_not_in_the_book_is_named(tmp_path: Path) -> None:
    chapters = executed(tmp_path)
    kept = {chapter: path for chapter, path in chapters.items() if chapter.name != "losses"}
    with pytest.raises(BuildError, match="claimed for losses"):
        ledger.collect(kept)


def test_a_check_that_nothing_claims_is_named(tmp_path: Path) -> None:
    chapters = executed(tmp_path)
    changed = next(chapter for chapter in chapters if chapter.name == CHAPTER)
    text = chapters[changed].read_text(encoding="utf-8").replace(f'"id": "{CLAIM.id}"', '"id": "another"')
    chapters[changed].write_text(text, encoding="utf-8")
    with pytest.raises(BuildError) as told:
        ledger.collect(chapters)
    never, foreign = str(told.value).split("checks that the book does not claim:")
    assert CLAIM.id in never
    assert foreign == f"\n    another, run by {CHAPTER}"


def test_words_are_not_read_as_markdown() -> None:
    entry = pass_all(CHAPTER)[0] | {"checked": "K_l* of <x> | [y]"}
    assert r"| K\_l\* of \<x\> \| \[y\] |" in ledger._row(entry)
