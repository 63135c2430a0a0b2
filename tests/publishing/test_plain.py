"""Chapters in plain Markdown: what Jupyter and Colab show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ssl_theory.checks import MIME
from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.folding import GLUED
from ssl_theory.publishing.labels import authors, labels
from ssl_theory.publishing.plain import Known, known, plain
from tests.publishing.books import code, text
from tests.publishing.test_ledger import pass_all

BOOK = find_book()
CHAPTER = BOOK.chapter("simple")
KNOWN = Known(
    labels={
        "t3": "Theorem T3",
        "eq-a": "(3.4)",
        "an-exercise": "Exercise 3.2",
        "fig-a": "Figure 3.1",
        "s": "A part",
    },
    authors={"tian": "Tian et al. (2020)", "du": "Du (2018)"},
    titles={"losses": "What losses share"},
)


def shown(*cells: dict[str, Any]) -> list[str]:
    found = plain({"cells": [text("# A title"), *cells]}, CHAPTER, KNOWN)["cells"][2:]
    return [notebooks.source(cell) for cell in found if cell["cell_type"] == "markdown"]


def test_statements_become_quotations_with_their_names() -> None:
    box = "````{prf:theorem} A *name*\n:label: t3\n\nLet $x\n= 1$. Then\n\n$$x\n= y$$ (eq-a)\n````\n\nEnd."
    (found,) = shown(text(f"Before.\n\n{box}"))
    assert found == (
        "Before.\n\n> **Theorem T3 (A *name*).**\n>\n> Let $x = 1$. Then\n>\n> $$x = y \\tag{3.4}$$\n\nEnd."
    )
    (found,) = shown(text("```{prf:proof}\nAs {prf:ref}`t3` says.\n\n1. So.\n```"))
    assert found == "> *Proof.* As Theorem T3 says.\n>\n> 1. So.\n>\n> ∎"
    (found,) = shown(text("```{prf:remark}\nWords.\n```"))
    assert found == "> **Remark.**\n>\n> Words."


def test_exercises_are_quoted_and_solutions_fold() -> None:
    (found,) = shown(text("```{exercise} Try\n:label: an-exercise\n\nDo it.\n```"))
    assert found == "> **Exercise 3.2 (Try).**\n>\n> Do it."
    (found,) = shown(text("````{solution} an-exercise\n:class: dropdown\n\nDone.\n````"))
    assert found == "<details>\n<summary>Solution to Exercise 3.2</summary>\n\nDone.\n\n</details>"


@pytest.mark.parametrize(
    ("written", "reads"),
    [
        ("{prf:ref}`t3` and {prf:ref}`the law <t3>`", "Theorem T3 and the law"),
        ("{eq}`eq-a`, {numref}`fig-a`, {ref}`s`", "(3.4), Figure 3.1, A part"),
        ("{ref}`some\nwords <s>`", "some\nwords"),
        ("{doc}`../foundations/losses`, {doc}`there <../notation>`", "*What losses share*, there"),
        ("{cite:t}`tian` {cite:p}`tian,du`", "Tian et al. (2020) (Tian et al., 2020; Du, 2018)"),
        ("{term}`gate`, {check}`T3.psd`, {check}`unknown`", "gate, T3.psd, unknown"),
        ("as checked ({check}`T5.collapse-deep`)", "as checked (T5.collapse-deep, `pulling`)"),
        ("{glue:text}`rate:.1f` {glue:text}`word` {glue:text}`lost`", "2.5 ten …"),
        ("{glue:text}`small:.0e` {glue:text}`small`", "−6\u00a0×\u00a010⁻⁵ −6.2\u00a0×\u00a010⁻⁵"),
        ("(a-target)=\n## Heading", "## Heading"),
        (":::{note}\nMind.\n:::", "> **Note.**\n>\n> Mind."),
        (":::{div} relation\nMind.\n:::", "Mind."),
        ("```python\nx = {1}\n```", "```python\nx = {1}\n```"),
        ("$$a\n+ b$$", "$$a\n+ b$$"),
    ],
)
def test_references_and_numbers_are_written_out(written: str, reads: str) -> None:
    glued = [
        {
            "output_type": "display_data",
            "metadata": {"scrapbook": {"name": name}},
            "data": {f"{GLUED}text/plain": value},
        }
        for name, value in (("rate", "2.512"), ("word", "'ten'"), ("small", "-6.2e-05"))
    ]
    found = plain({"cells": [text("# A"), code("1") | {"outputs": glued}, text(written)]}, CHAPTER, KNOWN)[
        "cells"
    ]
    assert notebooks.source(found[-1]) == reads
    assert found[2]["outputs"] == [], "the text has them now"


def test_checks_and_tables_are_as_print_has_them() -> None:
    record = pass_all("simple")[0]
    outputs = [
        {"output_type": "display_data", "data": {MIME: record, "text/html": "raw", "text/plain": "plain"}},
        {"output_type": "display_data", "data": {"text/html": ["<td>6e-05</td>", "<th>6e-05</th>"]}},
        {"output_type": "stream", "text": "6e-05"},
    ]
    found = plain({"cells": [text("# A"), code("1") | {"outputs": outputs}]}, CHAPTER, KNOWN)["cells"][2][
        "outputs"
    ]
    line = found[0]["data"]["text/html"]
    assert line.startswith('<p class="check">')
    assert f"<b>{record['id']}</b>: " in line
    assert "href" not in line
    assert found[0]["data"]["text/plain"] == "plain"
    assert found[1]["data"]["text/html"] == "<td>6\u00a0×\u00a010⁻⁵</td><th>6e-05</th>"
    assert found[2]["text"] == "6e-05"


def test_figures_and_controls_are_seen_in_a_notebook_that_jupyter_does_not_trust() -> None:
    control = '<figure class="ssl-control"><div class="ssl-scene" style="min-height:250px"></div></figure>'
    drawn = code("draw()") | {
        "metadata": {"mystnb": {"image": {"alt": "Two < three"}}},
        "outputs": [
            {
                "output_type": "display_data",
                "data": {"image/svg+xml": ["<svg>", "</svg>"], "text/plain": "F"},
            },
            {"output_type": "display_data", "data": {"text/html": control}},
        ],
    }
    found = plain({"cells": [text("# A"), drawn]}, CHAPTER, KNOWN)["cells"]
    picture, moved = (output["data"] for output in found[2]["outputs"])
    image = '<img alt="Two &lt; three" src="data:image/svg+xml;base64,PHN2Zz48L3N2Zz4=">'
    assert picture == {"text/plain": "F", "text/html": image}
    assert moved == {"text/html": '<figure class="ssl-control"><div class="ssl-scene"></div></figure>'}
    assert notebooks.source(found[1]).endswith(
        "move once their cells have run here, or Jupyter trusts the notebook.*"
    )


def test_figures_keep_number_and_caption() -> None:
    drawn = code("draw()") | {
        "metadata": {"mystnb": {"figure": {"name": "fig-a", "caption": "By {prf:ref}`t3`."}}}
    }
    assert shown(drawn) == ["*Figure 3.1.* By Theorem T3."]
    found = plain({"cells": [text("# A title"), drawn]}, CHAPTER, KNOWN)["cells"]
    assert found[1]["source"].startswith("*The chapter `simple` as it ran")


@pytest.mark.parametrize("name", BOOK.chapters())
def test_nothing_of_the_book_stays_raw(name: str) -> None:
    chapter = BOOK.chapter(name)
    cells = plain(notebooks.read(chapter.path), chapter, known(BOOK))["cells"]
    prose = "\n\n".join(notebooks.source(cell) for cell in cells if cell["cell_type"] == "markdown")
    prose = re.sub(r"^```(?:bash|python)\n.*?^```$", "", prose, flags=re.M | re.S)
    raw = r"\{[\w:]+\}`[^`]*`|^\s*(?:`{3,}|:{3,}).*|^\([\w-]+\)=|\b(?:eq|fig)-[a-z]+-[\w-]+"
    assert not re.findall(raw, prose, re.M)
    for quoted in re.findall(r"^> .*$", prose, re.M):
        assert quoted.count("$$") % 2 == 0, "a formula over several lines of a quotation"


def test_labels_are_numbered_by_chapter_and_named_after_theorems() -> None:
    found = labels(BOOK)
    assert (found["t3"], found["t3-growth"]) == ("Theorem T3", "Theorem T3.growth")
    assert found["t3-lemma-total"] == "Lemma 3.2"
    assert (found["eq-simple-loss"], found["fig-simple-world"]) == ("(3.1)", "Figure 3.1")
    assert found["simple-exercise-views"] == "Exercise 3.2"
    assert found["growth-balance"] == "All layers grow together"


def test_authors_are_told_as_in_prose(tmp_path: Path) -> None:
    entry = "@book{{{key},\n  author = {{{who}}},\n  title = {{A {{B}}}},\n  year = {{2001}},\n}}\n"
    people = {"one": "Ng, A.", "two": "Ng, A. and Li, B.", "many": "Ng, A. and Li, B. and Wu, C.", "none": ""}
    (tmp_path / "references.bib").write_text("".join(entry.format(key=k, who=w) for k, w in people.items()))
    assert authors(tmp_path) == {
        "one": "Ng (2001)",
        "two": "Ng and Li (2001)",
        "many": "Ng et al. (2001)",
        "none": "A B (2001)",
    }
    assert authors(tmp_path / "nowhere") == {}


def test_a_chapter_renders_with_all_its_quotations(tmp_path: Path) -> None:
    from nbconvert import HTMLExporter

    cells = [
        text("# A title"),
        text("````{prf:theorem} A name\n:label: t3\n\n1. So\n\n   $$x = y$$ (eq-a)\n````"),
    ]
    cells += [text("```{exercise}\nDo.\n```"), text("````{solution} an-exercise\n*Done.*\n````")]
    made = plain({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, CHAPTER, KNOWN)
    for number, cell in enumerate(made["cells"]):
        cell["id"] = f"cell-{number}"
    path = tmp_path / "one.ipynb"
    path.write_text(notebooks.dump(made), encoding="utf-8")
    page, _ = HTMLExporter().from_filename(str(path))
    article = page[page.index("<main") :]
    assert article.count("<blockquote>") == 2
    assert "<strong>Theorem T3 (A name).</strong>" in article
    assert "\\tag{3.4}$$" in article
    assert re.search(
        r"<details>\s*<summary>Solution to Exercise 3\.2</summary>\s*<p><em>Done\.</em></p>", article
    )
    assert not re.search(r"```|\{prf:|\{exercise", article)
