from __future__ import annotations

from pathlib import Path

from ssl_theory.publishing.figure_sheet import figure_sheet

PAGES = {
    "welcome": "<h1>Welcome</h1><p>no figure</p>",
    "part/one": '<h1>1. One</h1><figure class="align-default" id="fig-a"><img src="../_images/a.svg">'
    '</figure><p>words</p><figure class="ssl-control"><script type="application/json">{}</script></figure>',
}


def test_the_sheet_shows_every_figure_with_its_label_and_its_page(tmp_path: Path) -> None:
    for place, text in PAGES.items():
        (tmp_path / f"{place}.html").parent.mkdir(exist_ok=True)
        (tmp_path / f"{place}.html").write_text(
            f'<article class="bd-article">{text}</article>', encoding="utf-8"
        )
    shown, count = figure_sheet(tmp_path, list(PAGES), "html/")
    assert count == 2
    assert "<h1>2 figures and controls</h1>" in shown
    assert '<h2><a href="html/part/one.html">1. One</a></h2>' in shown
    assert '<p><a href="html/part/one.html#fig-a">fig-a</a></p>' in shown
    assert '<img src="html/_images/a.svg">' in shown
    assert '<p><a href="html/part/one.html">control</a></p><figure class="ssl-control">' in shown
    assert "Welcome" not in shown.partition("<body>")[2]
