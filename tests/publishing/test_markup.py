"""What is mended in the HTML of the pages."""

from __future__ import annotations

from ssl_theory.publishing.markup import mended


def test_signatures_over_several_lines_are_no_lists_without_terms() -> None:
    lines = "<dl>\n<dd><em>x</em>,</dd>\n<dd><em>y</em>,</dd>\n</dl>"
    fields = "<dl>\n<dt>Raises:</dt>\n<dd>an error</dd>\n</dl>"
    assert mended(f"f({lines})\n{fields}") == (
        f'f(<span class="sig-lines"><span><em>x</em>,</span>\n<span><em>y</em>,</span>\n</span>)\n{fields}'
    )


def test_references_are_items_of_their_list() -> None:
    entry = '<div role="list"><div class="citation" role="doc-biblioentry">A paper.</div></div>'
    assert mended(entry) == '<div role="list"><div class="citation" role="listitem">A paper.</div></div>'


def test_folded_code_says_what_it_is_once() -> None:
    bar = (
        '<summary aria-label="Toggle hidden content">\n'
        '<p class="collapsed admonition-title">Check it · 2 lines</p>\n'
        '<p class="expanded admonition-title">Check it · 2 lines</p>\n</summary>'
    )
    assert mended(bar) == '<summary>Check it <span class="lines">2 lines</span></summary>'
    assert mended("<summary>Another</summary>") == "<summary>Another</summary>"
    formula = mended(bar.replace("Check it", "S &lt; V_x, B"))
    assert formula.startswith("<summary><i>S</i> &lt; <i>V</i><sub><i>x</i></sub>, <i>B</i> <span")


def test_formulas_and_numbers_in_words_are_set() -> None:
    body = '<p>V_x is <span class="pasted-text">-6e-05</span>, <code>V_x</code></p>'
    assert mended(body) == (
        '<p><i>V</i><sub><i>x</i></sub> is <span class="pasted-text">'
        "−6\u00a0×\u00a010<sup>−5</sup></span>, <code>V_x</code></p>"
    )


def test_names_of_code_become_ids() -> None:
    cell = '<div class="cell tag_code-t3 tag_hide-input tag_code-t3-growth docutils container">'
    spans = '<span id="code-t3"></span><span id="code-t3-growth"></span>'
    assert mended(cell) == f'<div class="cell tag_hide-input docutils container">{spans}'
    assert mended('<div class="cell docutils">') == '<div class="cell docutils">'
