from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ssl_theory.publishing import cli, execute, ledger, notebooks
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.errors import UsageError
from ssl_theory.publishing.lock import lock
from ssl_theory.publishing.parameters import parse
from ssl_theory.theorems import theorems
from tests.publishing.books import text, write_book

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_book(tmp_path, {"part/gradient": ["1"], "part/losses": ["2"]})
    monkeypatch.chdir(tmp_path / "book" / "part")
    return tmp_path


def test_list_shows_theorems_and_parameters(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    printed = capsys.readouterr().out
    assert "gradient         The chapter gradient" in printed
    proved = ", ".join(theorem.id for theorem in theorems().values() if theorem.chapter == "gradient")
    known = "profile='quick', seed=0, scale=1.5, shown=True, device='cpu'"
    assert f"proves {proved}; parameters {known}\n" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "gradeint"],
            "unknown chapter: 'gradeint'; there are gradient, losses; did you mean 'gradient'?",
        ),
        (
            ["run", "gradient", "-p", "sede=1"],
            "unknown parameter of gradient: 'sede'; there are profile, seed",
        ),
        (["run", "gradient", "-p", "seed"], "a parameter is given as name=value, got 'seed'"),
        (["run", "gradient", "-p", "seed=1.5"], "parameter seed must be of type int, like 0, got '1.5'"),
        (
            ["run", "gradient", "-p", "seed=9223372036854775808"],
            "parameter seed must lie between 0 and 2^63 − 1, got 9223372036854775808",
        ),
        (["run", "gradient", "-p", "seed=-1"], "parameter seed must lie between 0 and 2^63 − 1, got -1"),
        (["run", "gradient", "-p", "seed=x"], "parameter seed must be of type int, like 0, got 'x'"),
        (["run", "gradient", "-p", "shown=1"], "parameter shown must be of type bool, like True, got '1'"),
        (["run", "gradient", "-p", "profile=papre"], "there are quick, paper; did you mean 'paper'?"),
        (["run", "gradient", "-p", "device=cuda:99"], "device must be auto or one of cpu"),
        (["run", "gradient", "-p", "device=gpu"], "got 'gpu'"),
        (["build", "-p", "sede=1"], "unknown parameter of gradient: 'sede'"),
        (["ledger"], "there is no ledger yet; build the book first: ssl-theory build"),
        (["serve"], "there is no built book in"),
        (["serve", "--port", "65536"], "port must lie between 1 and 65535, got 65536"),
        (["build", "--repository-url", "a: b: [c"], "must be an address such as https://github.com/"),
        (["run", "gradient", "-o", "gradient.ipynb"], "would lie among the book's sources"),
    ],
)
def test_mistakes_end_with_one_line_and_exit_code_2(
    inside: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_values_take_the_type_of_their_default(inside: Path) -> None:
    chapter = find_book().chapter("gradient")
    given = ["profile=paper", "seed=3", "scale=2", "shown=false"]
    assert parse(chapter, given) == {"profile": "paper", "seed": 3, "scale": 2.0, "shown": False}
    assert isinstance(parse(chapter, given)["scale"], float)


def test_run_writes_where_it_is_told(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrote: list[Path] = []

    def note(chapter: object, output: Path, parameters: object, **how: object) -> list[str]:
        wrote.append(output)
        output.parent.mkdir(exist_ok=True)
        output.write_text(json.dumps({"cells": []}), encoding="utf-8")
        return []

    monkeypatch.setattr(execute, "execute", note)
    monkeypatch.chdir(inside)
    for options, place in [
        (["-o", "folder"], "folder/losses.ipynb"),
        (["-o", "mine.ipynb"], "mine.ipynb"),
        ([], "losses.ipynb"),
    ]:
        assert cli.main(["run", "losses", *options]) == 0
        assert wrote.pop() == Path(place)


def test_outside_a_checkout_there_is_this_one_or_the_packaged_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssl_theory.publishing import catalogue

    packaged = tmp_path / "site-packages" / "ssl_theory"
    monkeypatch.setattr(catalogue, "PACKAGE", packaged)
    with pytest.raises(UsageError, match="there is no book here"):
        find_book(tmp_path)
    write_book(tmp_path / "other", {"one": ["1"]})
    (tmp_path / "other" / "book").rename(tmp_path / "_book")
    packaged.mkdir(parents=True)
    (tmp_path / "_book").rename(packaged / "_book")
    book = find_book(tmp_path)
    assert list(book.chapters()) == ["one"]
    with pytest.raises(UsageError, match="this command needs the repository"):
        book.require_checkout()


def test_two_chapters_of_one_name_are_refused(tmp_path: Path) -> None:
    book = write_book(tmp_path, {"a/one": ["1"], "b/one": ["1"]})
    with pytest.raises(UsageError, match="two chapters are called one: a/one and b/one"):
        book.chapters()


CHECK = """
from ssl_theory.checks import Checks

Checks("gradient", profile=profile, seed=seed).exact("T1.shared", 2e-15, cases=3)
"""
STATED = "```{prf:theorem} One\n:label: t1\nIt holds.\n```\n\n$$x = 1$$ (eq-one)\n\nBy {eq}`eq-one`."


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout of one chapter with one check, which is all that its book claims."""
    config = "title: Small\nonly_build_toc_files: true\nexecute: {execute_notebooks: 'off'}\n"
    sphinx = "sphinx: {extra_extensions: [sphinx_proof], config: {html_static_path: [../web]}}\n"
    book = write_book(tmp_path, {"ledger": [], "part/gradient": [CHECK]}, config + sphinx)
    (book.folder / "ledger.ipynb").unlink()
    (book.folder / "ledger.md").write_text(f"# Ledger\n\n{ledger.MARKER}\n", encoding="utf-8")
    (book.folder / "assets").mkdir()
    path = book.folder / "part" / "gradient.ipynb"
    notebook = notebooks.read(path)
    notebook["cells"].append(text(STATED))
    path.write_text(notebooks.canonical(notebook), encoding="utf-8")
    theorem = theorems()["T1"]
    (claim,) = (claim for claim in theorem.claims if claim.id == "T1.shared")
    monkeypatch.setattr(ledger, "theorems", lambda: {"T1": dataclasses.replace(theorem, claims=(claim,))})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_book_is_built_once_and_its_ledger_shown(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["build"]) == 0, capsys.readouterr().err
    lines = capsys.readouterr().out.splitlines()
    index = small / "build" / "_build" / "html" / "index.html"
    assert lines[0] == f"{'gradient':16} running"
    assert re.fullmatch(r"gradient +done in \d+\.\d s", lines[1])
    assert lines[-1].split() == ["book", str(index)]
    page = (index.parent / "ledger.html").read_text(encoding="utf-8")
    assert "2e−15 ≤\u00a01e−12" in page
    assert "part/gradient.html#t1" in page
    assert not list(index.parent.rglob("*.ipynb.txt"))

    made = index.stat().st_mtime_ns
    assert cli.main(["build"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{'gradient':16} up to date"
    assert index.stat().st_mtime_ns == made

    assert cli.main(["ledger"]) == 0
    assert re.fullmatch(r"T1.shared +2e-15 ≤ 1e-12 +3 cases  exact\n", capsys.readouterr().out)
    assert cli.main(["ledger", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert {key: entry[key] for key in ("id", "theorem", "chapter", "error", "cases", "profile", "seed")} == {
        "id": "T1.shared",
        "theorem": "T1",
        "chapter": "gradient",
        "error": 2e-15,
        "cases": 3,
        "profile": "quick",
        "seed": 0,
    }
    assert len(entry["inputs"]) == 64


def test_builds_of_one_folder_wait_for_each_other(tmp_path: Path) -> None:
    order, waiting = list[str](), threading.Event()

    def told(line: str) -> None:
        order.append(line)
        waiting.set()

    def second() -> None:
        with lock(tmp_path, told):
            order.append("second")

    thread = threading.Thread(target=second)
    with lock(tmp_path, order.append):
        thread.start()
        waiting.wait()
        order.append("first")
    thread.join()
    assert order == [f"waiting for another build in {tmp_path}", "first", "second"]


def test_notebooks_are_named_and_mended(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = inside / "book" / "part" / "losses.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("null", "7"), encoding="utf-8")
    assert cli.main(["notebooks"]) == 1
    assert f"not canonical: {path}" in capsys.readouterr().out
    assert cli.main(["notebooks", "--fix"]) == 0
    assert cli.main(["notebooks"]) == 0


def test_the_command_line_does_not_wait_for_torch() -> None:
    script = "import sys, ssl_theory.publishing.cli as c; c.main(['list']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
