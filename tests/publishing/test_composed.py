from __future__ import annotations

from pathlib import Path

import pytest

from ssl_theory.publishing.composed import article, shell, title, within
from ssl_theory.publishing.errors import BuildError, UsageError

HEADING = '<h1><span>3. </span>A &amp; B<a class="headerlink" href="#a">#</a></h1>'
PAGE = f'<html><article class="bd-article">\n{HEADING}</article>'
PREFIXES = {"part/one": "part-one--", "two": "two--"}


def test_an_article_is_what_a_page_says(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "one.html").write_text(PAGE, encoding="utf-8")
    assert article(tmp_path, "part/one").startswith("\n<h1>")
    assert title(article(tmp_path, "part/one")) == "3. A & B"
    assert title("<p>no heading</p>") == ""


def test_a_page_that_is_not_there_or_no_page_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one.html is not there; build the book first: ssl-theory build"):
        article(tmp_path, "one")
    (tmp_path / "one.html").write_text("<p>", encoding="utf-8")
    with pytest.raises(BuildError, match=r"one.html holds no article; build the book again"):
        article(tmp_path, "one")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<a href="#a">', '<a href="#part-one--a">'),
        ('<a href="../two.html#a">', '<a href="#two--a">'),
        ('<a href="../two.html">', '<a href="#two--">'),
        ('<a class="x" href="../three.html#a">', '<a class="x" >'),
        ('<a href="https://example.org/a.html#b">', '<a href="https://example.org/a.html#b">'),
        ('<img src="../_images/a.svg">', '<img src="html/_images/a.svg">'),
        ('<img src="data:image/png;base64,AA">', '<img src="data:image/png;base64,AA">'),
        ('<p id="a" class="id">', '<p id="part-one--a" class="id">'),
        (
            '<label for="a" aria-labelledby="b c">',
            '<label for="part-one--a" aria-labelledby="part-one--b part-one--c">',
        ),
        ('<path marker-end="url(#arrow)"/>', '<path marker-end="url(#part-one--arrow)"/>'),
        ('<script type="application/json">{"a": "<b id=\\"x\\"> id="y""}</script>',) * 2,
    ],
)
def test_names_are_a_page_s_own_and_addresses_lead_to_parts(before: str, after: str) -> None:
    assert within(f"{before}words", "part/one", PREFIXES, "html/") == f"{after}words"


def test_the_shell_brings_styles_formulas_and_controls_alone(tmp_path: Path) -> None:
    (tmp_path / "welcome.html").write_text(
        '<link href="_static/a.css?v=1" rel="stylesheet" /><script>window.MathJax = {}</script>'
        '<script defer="defer" src="_static/vendor/mathjax/tex-chtml.js?v=1"></script>'
        '<script src="_static/theme.js"></script><script src="_static/controls.js?v=2"></script>',
        encoding="utf-8",
    )
    shown = shell(tmp_path, "A < B", "<p>x</p>", root="html/", head="<meta>")
    assert "<title>A &lt; B</title>" in shown
    assert '<link rel="stylesheet" href="html/_static/a.css?v=1">' in shown
    assert "<script>window.MathJax = {}</script>" in shown
    assert 'src="html/_static/vendor/mathjax/tex-chtml.js?v=1"' in shown
    assert 'src="html/_static/controls.js?v=2"' in shown
    assert "theme.js" not in shown
    assert "<meta></head>\n<body>\n<p>x</p>" in shown
