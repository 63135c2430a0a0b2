from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from ssl_theory import __version__
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.citing import CONTENT, Citation, citation, entry, fold
from ssl_theory.publishing.errors import BuildError
from ssl_theory.theorems import theorems

ROOT = find_book(Path(__file__)).require_checkout()
BOOK = Citation("A Book & More", ("{Some Developers}", "Doe, Jane"), "1.2.3", "https://example.org/a", "2026")
CFF = """\
title: A Book
version: 1.2.3
authors:
  - name: The_developers
  - {family-names: Doe, given-names: Jane}
"""


def test_the_entry_names_the_statement_and_the_book() -> None:
    assert entry(theorems()["T3"], "theorem", BOOK) == (
        "@misc{ssl-theory-t3,\n"
        "  author       = {{Some Developers} and Doe, Jane},\n"
        "  title        = {{Theorem T3: Covariance operator of the simple contrastive loss}},\n"
        r"  howpublished = {In: A Book \& More}," + "\n"
        "  year         = {2026},\n"
        f"  note         = {{Version 1.2.3, content {CONTENT}}},\n"
        "  url          = {https://example.org/a},\n"
        "}"
    )


def test_what_is_not_known_is_left_out() -> None:
    told = entry(theorems()["T3"], "theorem", Citation("A Book", ("Doe, Jane",), "1"))
    assert "year" not in told
    assert "url" not in told


@pytest.mark.parametrize("theorem", theorems().values(), ids=lambda theorem: theorem.id)
def test_every_entry_can_be_read_by_bibtex(theorem: object) -> None:
    told = entry(theorem, "theorem", BOOK)  # type: ignore[arg-type]
    assert told.isascii()
    depth = 0
    for sign in re.sub(r"\\.", "", told):
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0


def test_the_book_says_how_it_is_cited(tmp_path: Path) -> None:
    found = citation(ROOT, "https://example.org/home")
    assert found is not None
    assert (found.title, found.version) == ("The Theory of Contrastive Learning, Executed", __version__)
    assert found.url
    assert citation(tmp_path) is None
    (tmp_path / "CITATION.cff").write_text(CFF, encoding="utf-8")
    told = Citation("A Book", (r"{The\_developers}", "Doe, Jane"), "1.2.3", "https://example.org/home")
    assert citation(tmp_path, "https://example.org/home") == told
    more = "repository-code: https://example.org/code\ndate-released: 2027-01-02\n"
    (tmp_path / "CITATION.cff").write_text(CFF + more, encoding="utf-8")
    found = citation(tmp_path, "https://example.org/home")
    assert found is not None
    assert (found.url, found.year) == ("https://example.org/code", "2027")


@pytest.mark.parametrize(
    "text", ["a: b: [c", "[]", "", "title: A Book\n", CFF.replace("given-names", "given")]
)
def test_a_damaged_citation_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "CITATION.cff").write_text(text, encoding="utf-8")
    with pytest.raises(BuildError, match=r"CITATION.cff is damaged: "):
        citation(tmp_path)


def test_the_fold_holds_the_entry_and_no_marks_of_myst() -> None:
    theorem = theorems()["T3"]
    shown = fold(theorem, "theorem", BOOK)
    found = re.fullmatch(
        r'<details class="cite"><summary>cite<span class="visually-hidden"> Theorem T3</span></summary>'
        r"<pre>(.*)</pre></details>",
        shown,
        re.S,
    )
    assert found is not None
    assert html.unescape(found[1]) == entry(theorem, "theorem", BOOK)
    assert not re.search(r"[{}]|\n\s*\n", found[1])
