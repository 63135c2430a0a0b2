from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.moved import lead_on, moves

PAGE = '<html><body><h2 id="{}">A part</h2></body></html>'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, part in {"old.html": "kept", "part/new.html": "a-part"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(PAGE.format(part), encoding="utf-8")
    return tmp_path


def carried(page: Path) -> dict[str, str]:
    """Return the moves that a page carries."""
    found = re.findall(r'<script type="application/json" id="moved-parts">(.*?)</script>', page.read_text())
    (text,) = found
    return dict(json.loads(text))


def test_a_page_carries_the_moves_of_its_parts(site: Path) -> None:
    lead_on(
        site,
        {
            "old.html#one": "part/new.html#a-part",
            "old.html#two": "part/new.html",
            "part/new.html#x": "old.html",
        },
    )
    assert carried(site / "old.html") == {"one": "part/new.html#a-part", "two": "part/new.html"}
    assert carried(site / "part" / "new.html") == {"x": "../old.html"}
    assert (site / "old.html").read_text().startswith(PAGE.format("kept").removesuffix("</body></html>"))
    assert (site / "old.html").read_text().endswith("</script>\n</body></html>")


def test_a_page_that_is_gone_leads_on_without_scripts_too(site: Path) -> None:
    lead_on(site, {"part/gone.html": "old.html#kept", "part/gone.html#one": "part/new.html"})
    assert carried(site / "part" / "gone.html") == {"": "../old.html#kept", "one": "new.html"}
    text = (site / "part" / "gone.html").read_text()
    assert '<noscript><meta http-equiv="Refresh" content="0; url=../old.html#kept"></noscript>' in text
    assert '<script src="../_static/book.js">' in text
    lead_on(site, {"lost.html#one": "part/new.html#a-part"})
    assert 'url=part/new.html"' in (site / "lost.html").read_text(), "the page, where the part is not known"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("old.html", "part/new.html", "old.html: it is still there"),
        ("old.html#kept", "part/new.html", "old.html#kept: it is still there"),
        ("old.html#one", "nowhere.html", "old.html#one: nowhere.html is not there"),
        ("old.html#one", "part/new.html#nothing", "old.html#one: part/new.html#nothing is not there"),
    ],
)
def test_moves_that_do_not_fit_the_pages_are_named(site: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(BuildError, match=rf"moved.toml does not fit the pages:\n    {re.escape(told)}$"):
        lead_on(site, {old: new})


@pytest.mark.parametrize(
    "line",
    [
        '"old" = "new.html"',
        '"old.html#a b" = "new.html"',
        '"/old.html" = "new.html"',
        '"old.html" = "https://example.org/new.html"',
        '"old.html" = "../new.html"',
        '"old.html" = 3',
        '[pages]\n"old.html" = "new.html"',
    ],
)
def test_what_is_no_pair_of_addresses_is_named(tmp_path: Path, line: str) -> None:
    key = line.replace("[", '"').split('"')[1].removesuffix("]\n")
    (tmp_path / "moved.toml").write_text(f'"a.html" = "b.html"\n{line}\n', encoding="utf-8")
    with pytest.raises(
        BuildError, match=rf"both sides must be addresses .*, got\n    {re.escape(key)} = [^\n]*$"
    ):
        moves(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    assert moves(tmp_path) == {}
    (tmp_path / "moved.toml").write_text('"a" = ', encoding="utf-8")
    with pytest.raises(BuildError, match=r"moved.toml is damaged: "):
        moves(tmp_path)


def test_the_moves_of_the_book_lead_to_its_pages() -> None:
    book = find_book(Path(__file__))
    pages = {f"{place}.html" for place in book.files()}
    assert not {new for new in moves(book.folder).values() if new.partition("#")[0] not in pages}
    assert not {old for old in moves(book.folder) if old in pages}
