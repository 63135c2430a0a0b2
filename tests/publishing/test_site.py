from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_theory import __version__
from ssl_theory.publishing import site
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.citing import CONTENT
from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.repository import placed
from tests.publishing.books import SIGNALS, checked, write_book

CONFIG = "title: A book\nrepository:\n  url: https://example.org/old\n  branch: main\n"


def test_pages_are_assembled_without_sources_of_chapters(tmp_path: Path) -> None:
    book = write_book(tmp_path, {"part/one": ["1"]})
    (book.folder / "assets").mkdir()
    (book.folder / "assets" / "book.css").write_text("p {}", encoding="utf-8")
    (book.folder / "ledger.md").write_text("# L\n\n<!-- ledger -->\n", encoding="utf-8")
    ran = tmp_path / "ran.ipynb"
    ran.write_text(json.dumps({"cells": [checked("T3.psd")]}), encoding="utf-8")
    files = site.assemble(book, {book.chapters()["one"]: ran}, [])
    (cell,) = json.loads(files[Path("part/one.ipynb")])["cells"]
    assert cell["outputs"][0]["data"].keys() == {"text/html"}
    assert "T3.psd" in cell["outputs"][0]["data"]["text/html"]
    assert b"**0 checks**" in files[Path("ledger.md")]
    assert set(map(str, files)) == {
        "_toc.yml",
        "welcome.md",
        "ledger.md",
        "assets/book.css",
        "part/one.ipynb",
        "ledger.json",
        "pictures/ledger-errors.svg",
    }
    web = site.web_files(book)
    assert web[Path("book.css")] == b"p {}"
    assert b"MathJax" in web[Path("vendor/mathjax/tex-chtml.js")]
    assert sum("woff-v2" in str(name) for name in web) > 20
    assert sum(map(len, web.values())) < 3e6


def test_the_repository_has_one_address_that_can_be_replaced(tmp_path: Path) -> None:
    book = write_book(tmp_path, {}, CONFIG)
    assert site.configuration(book) == CONFIG
    assert site.configuration(book, "https://example.org/new") == CONFIG.replace("old", "new")


@pytest.mark.parametrize(
    "url",
    [
        "a: b: [c",
        "https://example.org/a\nevil: 1",
        "https://example.org/a #b",
        "https://[/a",
        "",
        "ftp://a/b",
        "a/b",
    ],
)
def test_what_is_no_address_of_a_repository_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"--repository-url must be an address such as .*, got '"):
        placed(CONFIG, url)


def test_an_address_that_has_no_place_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--repository-url finds no address .* in _config.yml"):
        placed("title: A book\n", "https://example.org/new")


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    site._sync(tmp_path, {Path("a/b"): b"1", Path("c"): b"2"})
    before = (tmp_path / "c").stat().st_mtime_ns
    site._sync(tmp_path, {Path("a/d"): b"1", Path("c"): b"2"})
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"d", "c"}
    assert (tmp_path / "c").stat().st_mtime_ns == before


def test_the_site_is_rendered_once_and_warnings_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = write_book(tmp_path, {})
    rendered: list[Path] = []

    def pretend(build: Path, target: Path, warm: Path | None) -> None:
        rendered.append(build)
        (target / "_build" / "html").mkdir(parents=True)
        (target / "_build" / "html" / "index.html").write_text(
            f"<article><p>{len(rendered)}" + (build / "book" / "welcome.md").read_text(encoding="utf-8"),
            encoding="utf-8",
        )

    monkeypatch.setattr(site, "_jupyter_book", pretend)
    build = tmp_path / "build"
    (book.folder / "assets").mkdir()
    for _ in range(2):
        site.render(book, {}, [], build)
    assert len(rendered) == 1
    (book.folder / "welcome.md").write_text("# Welcome back\n", encoding="utf-8")
    site.render(book, {}, [], build)
    assert len(rendered) == 2
    (book.folder / "welcome.md").write_text("# (???)\n", encoding="utf-8")
    with pytest.raises(BuildError, match=r"(?s)raw markup.*\(\?\?\?\)"):
        site.render(book, {}, [], build)
    monkeypatch.undo()
    (book.folder / "welcome.md").write_text("# Welcome\n\n{ref}`nowhere`\n", encoding="utf-8")
    for _ in range(2):  # the second time no less than the first
        with pytest.raises(BuildError, match=r"(?s)Jupyter Book stopped.*nowhere"):
            site.render(book, {}, [], build)
    stays = (build / "_build" / "html" / "index.html").read_text(encoding="utf-8")
    assert stays.startswith("<article><p>2"), "the last sound book stays"
    (book.folder / "welcome.md").write_text("# Welcome back\n", encoding="utf-8")
    assert site.render(book, {}, [], build).read_text(encoding="utf-8") == stays


Render = Callable[..., list[str]]


@pytest.fixture
def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Render:
    """Return a function that renders a book without chapters and says how often Jupyter Book has run."""
    book = write_book(tmp_path, {})
    (book.folder / "assets").mkdir()
    ran: list[str] = []

    def pretend(build: Path, target: Path, warm: Path | None) -> None:
        ran.append("ran")
        for name in ("index.html", "part/page.html"):
            (target / "_build" / "html" / name).parent.mkdir(parents=True, exist_ok=True)
            (target / "_build" / "html" / name).write_text(f"<p>{name}", encoding="utf-8")

    def call(**how: bool) -> list[str]:
        site.render(book, {}, [], tmp_path / "build", **how)
        return ran

    monkeypatch.setattr(site, "_jupyter_book", pretend)
    monkeypatch.setattr(site, "web_files", lambda _: {Path("book.css"): b"p {}"})  # not MathJax
    monkeypatch.setattr(site.ledger, "draw", lambda *_: "<svg/>")  # takes half a second
    assert len(call()) == len(call()) == 1
    return call


@pytest.mark.parametrize("name", ["index.html", "part/page.html"])
@pytest.mark.parametrize("text", ["edited", None])
def test_a_page_that_was_changed_is_made_again(
    render: Render, tmp_path: Path, name: str, text: str | None
) -> None:
    page = tmp_path / "build" / "_build" / "html" / name
    page.unlink()
    if text is not None:
        page.write_text(text, encoding="utf-8")
    assert len(render()) == 2
    assert page.read_text(encoding="utf-8") == f"<p>{name}"
    assert len(render()) == 2


def test_a_page_that_does_not_belong_there_goes(render: Render, tmp_path: Path) -> None:
    foreign = tmp_path / "build" / "_build" / "html" / "old.html"
    foreign.write_text("old", encoding="utf-8")
    assert len(render()) == 2
    assert not foreign.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "NaN"])
def test_a_damaged_stamp_is_written_anew(render: Render, tmp_path: Path, text: str) -> None:
    (tmp_path / "build" / "site.json").write_text(text, encoding="utf-8")
    assert len(render()) == 2
    assert len(render()) == 2


def test_pages_can_be_forced(render: Render) -> None:
    assert len(render(force=True)) == 2


def test_what_a_killed_build_left_does_not_matter(render: Render, tmp_path: Path) -> None:
    for name in ("draft", "draft-x"):
        (tmp_path / "build" / name / "_build" / "html").mkdir(parents=True)
        (tmp_path / "build" / name / "_build" / "html" / "left.html").write_text("left", encoding="utf-8")
    render(force=True)
    assert not list((tmp_path / "build").glob("draft*"))
    assert not (tmp_path / "build" / "_build" / "html" / "left.html").exists()


def test_a_library_that_changes_meanwhile_gives_no_book(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = iter([{"content": "before"}, {"content": "after"}])
    monkeypatch.setattr(site, "_stamp", lambda *_: next(stamps))
    before = (tmp_path / "build" / "site.json").read_text(encoding="utf-8")
    with pytest.raises(BuildError, match="the library was changed while the pages were made; build again"):
        render()
    assert (tmp_path / "build" / "site.json").read_text(encoding="utf-8") == before


def test_while_the_pages_change_every_one_of_them_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each replacement of a file, all pages of both versions can be read, whole."""
    old = {Path(f"{n}.html"): b"old" * 1000 for n in range(5)}
    new = {Path(f"{n}.html"): b"new" * 1000 for n in range(5)}
    site._sync(tmp_path, old)
    real, seen = Path.replace, list[int]()

    def replace(self: Path, target: Path) -> Path:
        seen.append(sum((tmp_path / name).read_bytes() in (old[name], new[name]) for name in old))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    site._sync(tmp_path, new)
    assert seen == [5] * 5


@pytest.mark.parametrize("sent", SIGNALS)
def test_sphinx_does_not_outlive_the_command(tmp_path: Path, sent: signal.Signals) -> None:
    """An extension holds a pipe open: it says that Sphinx has begun; without a writer, Sphinx is gone."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "waiting.py").write_text(
        f"import threading\n\ndef setup(app):\n    file = open({str(pipe)!r}, 'w')\n"
        "    print('begun', file=file, flush=True)\n    threading.Event().wait()\n",
        encoding="utf-8",
    )
    config = "title: A book\nexecute: {execute_notebooks: 'off'}\nsphinx: {extra_extensions: [waiting]}\n"
    book = write_book(tmp_path, {}, config)
    (book.folder / "assets").mkdir()
    script = (
        "import sys; from pathlib import Path; from ssl_theory.publishing import site\n"
        "from ssl_theory.publishing.catalogue import find_book\n"
        "site.render(find_book(Path(sys.argv[1])), {}, [], Path(sys.argv[1]) / 'build')"
    )
    with (
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            stderr=subprocess.DEVNULL,
        ) as process,
        pipe.open(encoding="utf-8") as sphinx,
    ):
        assert sphinx.readline() == "begun\n"
        process.send_signal(sent)
        assert process.wait() != 0
        assert sphinx.read() == ""


def test_a_traceback_in_an_executed_chapter_is_named(tmp_path: Path) -> None:
    chapter = write_book(tmp_path, {"one": ["1"]}).chapters()["one"]
    for kind in ("stream", "error"):
        ran = tmp_path / f"{kind}.ipynb"
        cell = {"cell_type": "code", "outputs": [{"output_type": kind}]}
        ran.write_text(json.dumps({"cells": [{"cell_type": "markdown"}, cell]}), encoding="utf-8")
    site.require_no_error_output({chapter: tmp_path / "stream.ipynb"})
    book = find_book(tmp_path / "book")
    with pytest.raises(BuildError, match="tracebacks in the outputs of one"):
        site.render(book, {chapter: tmp_path / "error.ipynb"}, [], tmp_path / "build")


def test_entries_for_bibtex_carry_the_content(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "page.html").write_text(f"a {CONTENT} b", encoding="utf-8")
    site._sign(tmp_path, "0123456789abcdef")
    assert (tmp_path / "part" / "page.html").read_text(encoding="utf-8") == "a 0123456789 b"


def test_pages_carry_version_and_content() -> None:
    config = site.configuration(find_book(Path(__file__)))
    assert f"CC BY 4.0. Version {__version__}, content 0123456789.</p>" in site.stamped(
        config, "0123456789abcdef"
    )
    assert site.stamped("title: A book\n", "0123456789abcdef") == "title: A book\n"
