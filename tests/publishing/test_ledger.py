from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from ssl_theory.checks import MIME, STATUS, Record
from ssl_theory.publishing import ledger, notebooks
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.check_lines import check_anchor
from ssl_theory.publishing.errors import BuildError
from ssl_theory.theorems import Claim, Theorem, theorems

THEOREM = next(iter(theorems().values()))
CLAIM, CHAPTER = THEOREM.claims[0], THEOREM.chapter


def pass_all(chapter: str, without: Sequence[str] = ()) -> list[ledger.Entry]:
    """Return a record of every claim of a chapter, as its checks would leave it."""
    return [
        record(theorem, claim)
        for theorem in theorems().values()
        for claim in theorem.claims
        if theorem.chapter == chapter and claim.id not in without
    ]


def record(theorem: Theorem, claim: Claim) -> ledger.Entry:
    own, twin = claim.tolerance / 2, 2 * claim.tolerance + 0.25
    error, control = (twin, 1e-15) if claim.kind == "fails" else (own, twin)
    found = Record(
        id=claim.id,
        theorem=theorem.id,
        chapter=theorem.chapter,
        statement=theorem.statement,
        checked=claim.what,
        kind=claim.kind,
        status=STATUS[claim.kind],
        error=error,
        tolerance=claim.tolerance,
        reason=claim.reason,
        control=claim.control,
        control_error=control,
        cases=3,
        empty=0,
        passed=True,
        profile="quick",
        seed=1,
        device="cpu",
        versions={"numpy": "2"},
        of=3 if claim.kind == "fails" else None,
    )
    return asdict(found)


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
    page = ledger.page(entries, chapters)
    assert f"**{len(entries)} checks**" in page
    for theorem in theorems().values():
        assert f"(ledger-{theorem.label})=\n**{theorem.id}: {theorem.title}**" in page
        for claim in theorem.claims:
            anchor = check_anchor(claim.id)
            row = f'<tr id="{anchor}" data-status="{claim.kind}">'
            link = f'<a href="part/{theorem.chapter}.html#{anchor}">{claim.id}</a>'
            assert f"{row}<td>{link}</td>" in page
    assert "<td>5\u00a0×\u00a010<sup>−13</sup> ≤\u00a010<sup>−12</sup></td>" in page
    assert "&gt;\u00a0" in page
    assert CLAIM.id in ledger.table(entries)


def test_each_chapter_has_a_part_in_the_order_of_the_book(tmp_path: Path) -> None:
    chapters = executed(tmp_path)
    page = ledger.page(ledger.collect(chapters), chapters)
    parts = page.split("::::::{dropdown} ")[1:]
    assert len(parts) == len(chapters)
    for chapter, part in zip(chapters, parts, strict=True):
        own = [theorem for theorem in theorems().values() if theorem.chapter == chapter.name]
        count = sum(len(theorem.claims) for theorem in own)
        assert part.startswith(f"{len(own)} result{'s' * (len(own) != 1)}, {count} check")
        assert part.count("(ledger-") == len(own)


def test_each_status_has_a_choice_with_its_count(tmp_path: Path) -> None:
    chapters = executed(tmp_path)
    entries = ledger.collect(chapters)
    page = ledger.page(entries, chapters)
    assert '<div class="ledger-filter" hidden>' in page, "nothing to choose from without its script"
    for kind, status in STATUS.items():
        count = page.count(f'data-status="{kind}"')
        assert (f'value="{kind}"> {status} ({count})</label>' in page) == (count > 0)
        assert count == sum(entry["status"] == status for entry in entries)
    assert f"checked> all ({len(entries)})</label>" in page


def test_the_circumstances_stand_once_or_with_each_theorem_where_they_differ(tmp_path: Path) -> None:
    chapters = executed(tmp_path)
    entries = ledger.collect(chapters)
    (told,) = ledger.circumstances(entries)
    assert told.startswith("the quick profile with seed 1 on cpu (numpy ")
    assert ledger.page(entries, chapters).count(told) == 1
    changed = [entry | {"seed": 2} if entry["theorem"] == THEOREM.id else entry for entry in entries]
    page = ledger.page(changed, chapters)
    assert page.count("with seed 2") == 1
    assert page.count("with seed 1") == len(theorems()) - 1


def test_machines_get_the_same_records_with_the_place_that_shows_them(tmp_path: Path) -> None:
    chapters = executed(tmp_path)
    entries = ledger.collect(chapters)
    served = json.loads(ledger.served(entries, chapters))
    assert [{k: v for k, v in entry.items() if k != "page"} for entry in served] == entries
    assert all(e["page"] == f"part/{e['chapter']}.html#{check_anchor(e['id'])}" for e in served)


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


def test_words_are_not_read_as_markup(tmp_path: Path) -> None:
    entry = pass_all(CHAPTER)[0] | {"checked": "K_l* of <xy> | [yz] & zz"}
    assert "<td><i>K</i><sub><i>l</i></sub>* of &lt;xy&gt; | [yz] &amp; zz</td>" in ledger._row(
        entry, Chapter(CHAPTER, tmp_path, "a/b")
    )


def test_theorems_that_use_each_other_in_a_circle_stop_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def circle() -> None:
        raise ValueError("theorems use each other in a circle: A → B → A")

    monkeypatch.setattr(ledger, "dependencies", circle)
    with pytest.raises(BuildError, match="circle: A → B → A"):
        ledger.collect(executed(tmp_path))


def test_a_row_shows_the_control_and_what_its_kind_records(tmp_path: Path) -> None:
    entry = pass_all(CHAPTER)[0] | {"control": "without the factor ½", "control_error": 0.5}
    chapter = Chapter(CHAPTER, tmp_path, "a/b")
    assert "<td>without the factor ½: 0.5</td><td>3</td>" in ledger._row(entry, chapter)
    full = entry | {"empty": 2, "tightness": 0.4, "power": 0.1, "reason": "an integrator"}
    assert "; 1 more tells nothing; left side" in ledger._row(full | {"empty": 1}, chapter)
    told = "; 2 more tell nothing; left side at most 0.4 of the right; "
    told += "would notice 10\u00a0% of the effect; an integrator</td>"
    assert told in ledger._row(full, chapter)
    assert "<td>3 of 5</td>" in ledger._row(entry | {"kind": "fails", "of": 5}, chapter)
