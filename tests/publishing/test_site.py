from __future__ import annotations

import json
import threading
import urllib.request
from pathlib import Path

import pytest

from ssl_theory.checks import MIME
from ssl_theory.publishing import site
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.server import server
from tests.publishing.books import write_book

CONFIG = "title: A book\nrepository:\n  url: https://example.org/old\n  branch: main\n"


def test_pages_are_assembled_without_sources_of_chapters(tmp_path: Path) -> None:
    book = write_book(tmp_path, {"part/one": ["1"]})
    (book.folder / "assets").mkdir()
    (book.folder / "assets" / "book.css").write_text("p {}", encoding="utf-8")
    (book.folder / "ledger.md").write_text("# L\n\n<!-- ledger -->\n", encoding="utf-8")
    ran = tmp_path / "ran.ipynb"
    shown = {"output_type": "display_data", "data": {MIME: {}, "text/plain": "checked"}}
    ran.write_text(
        json.dumps({"cells": [{"cell_type": "code", "metadata": {}, "outputs": [shown]}]}), encoding="utf-8"
    )
    files = site.assemble(book, {book.chapters()["one"]: ran}, [])
    (cell,) = json.loads(files[Path("part/one.ipynb")])["cells"]
    assert cell["outputs"][0]["data"] == {"text/plain": "checked"}
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

    def pretend(build: Path, target: Path) -> None:
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


def test_the_book_is_served(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no built book"):
        server(tmp_path)
    (tmp_path / "index.html").write_text("hello", encoding="utf-8")
    with server(tmp_path) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_port}/index.html"
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == b"hello"
        with pytest.raises(UsageError, match=f"port {running.server_port} cannot be used"):
            server(tmp_path, running.server_port)
        running.shutdown()
