from __future__ import annotations

import argparse
import dataclasses
import errno
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from ssl_theory import __version__
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


CHECK = """\
from ssl_theory.checks import Check

with Check("T1.shared", "gradient", profile=profile, seed=seed) as check:
    for _ in range(3):
        check.equal(1 + 2**-49, 1.0, wrong=2.0)
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
    assert re.fullmatch(r"gradient +done in \d+\.\d s, 1 of 1", lines[1])
    assert lines[-1].split() == ["book", str(index)]
    page = (index.parent / "ledger.html").read_text(encoding="utf-8")
    assert "1.8\u00a0×\u00a010<sup>−15</sup> ≤\u00a010<sup>−12</sup>" in page
    assert "part/gradient.html#t1" in page
    assert not list(index.parent.rglob("*.ipynb.txt"))

    made = index.stat().st_mtime_ns
    assert cli.main(["build"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{'gradient':16} up to date"
    assert index.stat().st_mtime_ns == made

    assert cli.main(["ledger"]) == 0
    assert re.fullmatch(r"T1.shared +1.8e-15 ≤ 1e-12 +3 cases  exact\n", capsys.readouterr().out)
    assert cli.main(["ledger", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert {key: entry[key] for key in ("id", "theorem", "chapter", "error", "cases", "profile", "seed")} == {
        "id": "T1.shared",
        "theorem": "T1",
        "chapter": "gradient",
        "error": 2**-49,
        "cases": 3,
        "profile": "quick",
        "seed": 0,
    }
    assert len(entry["inputs"]) == 64

    executed = small / "build" / "executed" / "part" / "gradient.ipynb"
    sound = executed.read_bytes()
    executed.write_bytes(sound.replace(b'"passed": true', b'"passed": false'))
    assert cli.main(["build"]) == 0
    assert executed.read_bytes() == sound
    assert "gradient         done in" in capsys.readouterr().out


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


def test_help_shows_defaults_and_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("list", "run", "build", "ledger", "serve", "figures", "pdf", "notebooks"):
        with pytest.raises(SystemExit, match="0"):
            cli.main([name, "--help"])
        told = capsys.readouterr().out
        assert f"example:\n  ssl-theory {name}" in told
        assert told.count("(default: ") == {"run": 2, "build": 2, "serve": 1, "pdf": 1}.get(name, 0)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"ssl-theory {__version__}\n"


@pytest.mark.parametrize(("port", "why"), [("abc", "must be a whole number, got 'abc'"), ("0", "at least 1")])
def test_a_port_that_is_none(capsys: pytest.CaptureFixture[str], port: str, why: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["serve", "--port", port])
    assert why in capsys.readouterr().err


def test_an_interrupt_is_answered_before_anything_is_imported() -> None:
    """Nothing is loaded when `main` begins to listen for Ctrl-C."""
    script = (
        "import sys; old = {*sys.modules}; import ssl_theory.publishing.cli; print(*{*sys.modules} - old)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    own = {name for name in done.stdout.split() if name.startswith("ssl_theory")}
    assert own == {"ssl_theory", "ssl_theory.publishing", "ssl_theory.publishing.cli"}
    assert "argparse" not in done.stdout.split()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["build"], "; chapters that are done are kept, and the next build goes on from there"),
        (["run", "gradient"], "; no notebook was written"),
        (["list"], ""),
        (
            ["experiment", "hltm", "-o", "t.csv"],
            "; what is complete is kept, and the same command goes on from there",
        ),
    ],
)
def test_an_interrupted_command_says_what_is_kept(
    inside: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    told: str,
) -> None:
    real = argparse.ArgumentParser.parse_args

    def parse_args(self: argparse.ArgumentParser, *given: Any) -> argparse.Namespace:
        options = real(self, *given)
        options.command = Mock(side_effect=KeyboardInterrupt)
        return options

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    assert cli.main(arguments) == 130
    assert capsys.readouterr().err == f"ssl-theory: interrupted{told}\n"


DAMAGED = [
    ("_config.yml", "repository: [", "_config.yml is damaged"),
    ("_config.yml", "repository: 3", "_config.yml is damaged"),
    ("book/_toc.yml", "a: b: c", "_toc.yml is damaged"),
    ("book/_toc.yml", "- a", "_toc.yml is damaged: it names no root page"),
    ("book/part/losses.ipynb", "{", "losses.ipynb is not a notebook"),
]


@pytest.mark.parametrize(("place", "text", "message"), DAMAGED)
def test_a_damaged_source_is_named(
    inside: Path, capsys: pytest.CaptureFixture[str], place: str, text: str, message: str
) -> None:
    (inside / place).write_text(text, encoding="utf-8")
    assert cli.main(["build"]) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    "text", ["[theorem", "", "theorem = 3", "theorem = [{id = 'T1'}]", "[[theorem]]\nx = 1"]
)
def test_a_damaged_file_of_theorems_is_named(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (inside / "theorems").mkdir()
    (inside / "theorems" / "strange.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr("ssl_theory.theorems.resources.files", lambda name: inside)
    theorems.cache_clear()
    try:
        assert cli.main(["build"]) == 1
    finally:
        theorems.cache_clear()
    assert "theorems/strange.toml" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"id": "T1"}]', '{"a": 1}', "3"])
def test_a_damaged_ledger_is_named(
    inside: Path, capsys: pytest.CaptureFixture[str], text: str, options: list[str]
) -> None:
    path = inside / "build" / "ledger.json"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    assert cli.main(["ledger", *options]) == 1
    printed = capsys.readouterr()
    assert printed.err == (
        f"ssl-theory: {path} is damaged, or of another version; build the book again: ssl-theory build\n"
    )
    assert not printed.out


@pytest.mark.parametrize("place", ["build", "build/.lock", "build/executed"])
def test_what_is_in_the_way_of_a_build_is_named(
    inside: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """A file where a folder should be, or the other way round."""
    if place == "build/.lock":
        (inside / place).mkdir(parents=True)
    else:
        (inside / place).parent.mkdir(exist_ok=True)
        (inside / place).write_text("", encoding="utf-8")
    assert cli.main(["build"]) in (1, 2)
    printed = capsys.readouterr().err
    assert str(inside / place) in printed
    assert printed.count("\n") == 1


def test_a_full_disk_is_told_in_one_line(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "somewhere")
    monkeypatch.setattr(notebooks, "write_whole", Mock(side_effect=full))
    path = inside / "book" / "part" / "losses.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("null", "7"), encoding="utf-8")
    assert cli.main(["notebooks", "--fix"]) == 1
    assert capsys.readouterr().err == "ssl-theory: somewhere: No space left on device\n"


def test_durations_of_the_last_build_are_passed_on(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = {"key": "", "parameters": {"profile": "paper"}, "seconds": 41.2, "finished": "", "output": ""}
    (inside / "build").mkdir()
    (inside / "build" / "runs.json").write_text(json.dumps({"losses": run}), encoding="utf-8")
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines if "took" in line] == [
        "took 41 s in the last build, in the paper profile"
    ]


@pytest.mark.parametrize("watched", [True, False])
def test_cells_are_shown_to_who_watches(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    def note(chapter: object, output: Path, parameters: object, *, progress: Any, **how: object) -> list[str]:
        progress(2, 3, 1.5)
        output.write_text(json.dumps({"cells": []}), encoding="utf-8")
        return []

    monkeypatch.setattr(execute, "execute", note)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: watched)
    monkeypatch.chdir(inside)
    assert cli.main(["run", "losses"]) == 0
    assert ("cell 2 of 3\n" in capsys.readouterr().out) == watched
