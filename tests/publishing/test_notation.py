from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl_theory.publishing import notation
from ssl_theory.publishing.catalogue import Chapter, find_book
from ssl_theory.publishing.notation import faults, formulas, letters_table, symbols_in

BOOK = find_book(Path(__file__))
CHAPTERS = list(BOOK.chapters().values())


@pytest.mark.parametrize(
    ("tex", "symbols"),
    [
        (r"\operatorname{vec}(\Delta W_l) = \bar K_{l}\,x'", {r"\Delta", "W", "l", r"\bar K", "x"}),
        (
            r"\tfrac12 \lVert \mathcal{L}_{\mathrm{simp}} \rVert \dots \mathbb E",
            {r"\mathcal L", r"\mathbb E"},
        ),
        (r"\text{if } \hat{\theta} \le \bar \xi", {r"\hat \theta", r"\bar \xi"}),
        (r"\begin{aligned} \ell &= e^{-\tau} \end{aligned}", {r"\ell", "e", r"\tau"}),
        ("", set()),
    ],
)
def test_symbols_are_letters_with_their_decoration(tex: str, symbols: set[str]) -> None:
    assert symbols_in(tex) == symbols


def test_formulas_are_found_and_code_is_not() -> None:
    text = "See $a$ and `$b$`.\n\n$$c\n= d$$ (eq)\n\n```{math}\n$e$\n```\nMore $f$"
    assert set(formulas(text)) == {"a", "c\n= d", "e", "f"}


def chapter(folder: Path, text: str) -> Path:
    path = folder / "one.ipynb"
    cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": text}
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_a_symbol_without_a_meaning_or_with_two_is_named(tmp_path: Path) -> None:
    path = chapter(tmp_path, r"So $\bar f = \zeta$ and $q = V_x$, where $V = \mathbb V$.")
    book = {"f": "activations", "V": "variances", "x": "an object", r"\mathbb V": "variance"}
    assert faults(path, book, {r"\zeta": "a bound"}, ["q"]) == ["V is V_x or V_a, not V = \\mathbb V"]
    wrong = faults(path, book, {"f": "a frequency", "V": "a volume"})
    assert [line.split(":")[0] for line in wrong] == [
        r"\zeta has no meaning",
        "q has no meaning",
        "V means two things",
        "f means two things",
    ]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_every_chapter_keeps_to_the_notation(chapter: Chapter) -> None:
    book = notation.book_symbols(BOOK.folder, Path(chapter.place).parts[0])
    own, free = notation.chapter_symbols(chapter.name), notation.free_symbols(BOOK.folder)
    assert not faults(chapter.path, book, own, free)


def test_the_page_lists_the_letters_of_every_chapter() -> None:
    table = letters_table((c.name, c.place) for c in CHAPTERS)
    for c in CHAPTERS:
        for symbol, meaning in notation.chapter_symbols(c.name).items():
            assert f"| ${symbol}$ | {meaning.replace('|', '∣')} |" in table
