"""Figures glued in a chapter reach the pages as files."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ssl_theory.display.dark import darkened
from ssl_theory.publishing import folding, pictures
from ssl_theory.publishing.errors import BuildError

HIDDEN = folding.GLUED + pictures.SVG


def glued(key: str, mime: str, data: str) -> nbformat.NotebookNode:
    return new_output("display_data", {mime: data}, metadata={"scrapbook": {"name": key, "mime_prefix": ""}})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    outputs = [
        glued("hidden", HIDDEN, "<svg>1</svg>"),
        glued("shown", pictures.SVG, "<svg>2</svg>"),
        glued("number", folding.GLUED + "text/plain", "3.0"),
        new_output("display_data", {pictures.SVG: "<svg>4</svg>"}),
        new_output("stream", text="words"),
    ]
    notebook = new_notebook(cells=[new_markdown_cell("text"), new_code_cell("1", outputs=outputs)])
    (tmp_path / "part").mkdir()
    nbformat.write(notebook, tmp_path / "part" / "chapter.ipynb")
    return tmp_path


def test_each_glued_figure_becomes_one_file(source):
    pictures.write_pictures(source)
    files = {path.name: path.read_text() for path in (source / "pictures").iterdir()}
    assert files == {"hidden.svg": "<svg>1</svg>", "shown.svg": "<svg>2</svg>"}


def test_unchanged_figure_is_not_written_again(source):
    pictures.write_pictures(source)
    kept, changed = (source / "pictures" / name for name in ("hidden.svg", "shown.svg"))
    changed.write_text("old")
    kept.chmod(0o400)
    before = kept.stat().st_mtime_ns
    pictures.write_pictures(source)
    assert kept.stat().st_mtime_ns == before
    assert changed.read_text() == "<svg>2</svg>"


def test_book_without_glued_figures_gets_no_folder(tmp_path):
    pictures.write_pictures(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_shows_the_first_control_of_a_chapter(tmp_path: Path) -> None:
    shown = [
        new_output("display_data", {"text/html": html})
        for html in (
            "<p></p>",
            '<figure class="ssl-control">1</figure>',
            '<figure class="ssl-control">2</figure>',
        )
    ]
    paths = {"one": tmp_path / "one.ipynb", "none": tmp_path / "none.ipynb"}
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=shown)]), paths["one"])
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=shown[:1])]), paths["none"])
    page = pictures.with_controls("a\n\n<!-- control: one -->\n\n<!-- control: absent -->\nb", paths)
    assert page == 'a\n\n`````{raw} html\n<figure class="ssl-control">1</figure>\n`````\n\n\nb'
    with pytest.raises(BuildError, match="a page asks for the control of none, which shows none"):
        pictures.with_controls("<!-- control: none -->", paths)


LIGHT = '<svg width="300pt" height="120pt"><path fill="#fff"/></svg>'


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return the folder of a site with one page and one picture."""
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images" / "a.svg").write_text(LIGHT)
    (tmp_path / "part").mkdir()
    return tmp_path


def shown(made: Path, html: str) -> str:
    (made / "part" / "page.html").write_text(html)
    pictures.give_dark_pictures(made)
    return (made / "part" / "page.html").read_text()


@pytest.mark.parametrize(("own", "others"), [("", ""), ('class="wide"', " wide")])
def test_a_page_shows_each_picture_light_and_dark(made: Path, own: str, others: str) -> None:
    text = shown(
        made, f'<figure><img alt="a picture" {own} src="../_images/a.svg" /><figcaption>b</figcaption>'
    )
    images = BeautifulSoup(text, "html.parser").find_all("img")
    assert [" ".join(image["class"]) for image in images] == [f"only-light{others}", f"only-dark{others}"]
    assert [image["src"] for image in images] == ["../_images/a.svg", "../_images/a-dark.svg"]
    for image in images:
        assert (image["alt"], image["loading"]) == ("a picture", "lazy")
        assert (image["width"], image["height"]) == (str(400 + pictures.FRAME), str(160 + pictures.FRAME))
        assert image.parent.name == "span"  # the theme hides a caption that follows the hidden one at once
    assert (made / "_images" / "a.svg").read_text() == LIGHT
    assert (made / "_images" / "a-dark.svg").read_text() == darkened(LIGHT)


def test_no_other_picture_is_touched_and_none_twice(made: Path) -> None:
    for source in (
        "data:image/png;base64,AA",
        "../_static/logo.svg",
        "../_images/a.png",
        "https://a.b/_images/a.svg",
    ):
        assert shown(made, f'<img src="{source}">') == f'<img src="{source}">'
    once = shown(made, '<img src="../_images/a.svg">')
    assert shown(made, once) == once
    (made / "_images" / "a.svg").write_text("<svg></svg>")
    assert "width" not in shown(made, '<img src="../_images/a.svg">')


def test_a_picture_whose_colours_cannot_be_read_stops_the_build(made: Path) -> None:
    (made / "_images" / "a.svg").write_text('<svg><path fill="hsl(1,2%,3%)"/></svg>')
    with pytest.raises(BuildError, match="a.svg cannot be shown in the dark: a colour must be .*hsl"):
        shown(made, "")
