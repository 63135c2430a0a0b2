from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl_theory.publishing import cli, execute
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.errors import UsageError
from ssl_theory.publishing.parameters import parse
from tests.publishing.books import write_book

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
    assert "proves T1; parameters profile='quick', seed=0, scale=1.5, shown=True, device='cpu'" in printed


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
        (["run", "gradient", "-p", "seed=x"], "parameter seed must be of type int, like 0, got 'x'"),
        (["run", "gradient", "-p", "shown=1"], "parameter shown must be of type bool, like True, got '1'"),
        (["run", "gradient", "-p", "profile=papre"], "there are quick, paper; did you mean 'paper'?"),
        (["run", "gradient", "-p", "device=cuda:99"], "device must be auto or one of cpu"),
        (["run", "gradient", "-p", "device=gpu"], "got 'gpu'"),
        (["build", "-p", "sede=1"], "unknown parameter of gradient: 'sede'"),
        (["ledger"], "there is no ledger yet; build the book first: ssl-theory build"),
        (["serve"], "there is no built book in"),
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
    given = ["profile=paper", "seed=-3", "scale=2", "shown=false"]
    assert parse(chapter, given) == {"profile": "paper", "seed": -3, "scale": 2.0, "shown": False}
    assert isinstance(parse(chapter, given)["scale"], float)


def test_run_writes_where_it_is_told(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrote: list[Path] = []

    def note(chapter: object, output: Path, parameters: object, *, seconds: int, threads: int) -> list[str]:
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
    with pytest.raises(UsageError, match="building needs a checkout"):
        book.require_checkout()


def test_two_chapters_of_one_name_are_refused(tmp_path: Path) -> None:
    book = write_book(tmp_path, {"a/one": ["1"], "b/one": ["1"]})
    with pytest.raises(UsageError, match="two chapters are called one: a/one and b/one"):
        book.chapters()
