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
