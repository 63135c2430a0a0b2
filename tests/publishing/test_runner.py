"""What runs again and what does not, with executions that only leave a note."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from ssl_theory.publishing import inputs, runner
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.execute import CutOffError, Stop, Warm
from ssl_theory.publishing.runner import Runner
from tests.publishing.books import checked, write_book, write_chapter

Names = Callable[..., list[str]]
NOTEBOOK = json.dumps({"cells": []})


def leave(output: Path, text: str = NOTEBOOK) -> list[str]:
    """Write what an execution leaves.

    Returns:
        Its warnings.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    return []


@pytest.fixture
def chapters(tmp_path: Path) -> dict[str, Chapter]:
    return write_book(tmp_path, {"one": ["1"], "two": ["2"]}).chapters()


@pytest.fixture
def names(tmp_path: Path, chapters: dict[str, Chapter], monkeypatch: pytest.MonkeyPatch) -> Names:
    """Return a function that builds anew and returns the names of the chapters that ran."""
    ran: list[str] = []

    def note(chapter: Chapter, output: Path, parameters: object, **how: object) -> list[str]:
        ran.append(chapter.name)
        return leave(output)

    def build(force: bool = False, **parameters: object) -> list[str]:
        ran.clear()
        build = tmp_path / "build"
        build.mkdir(exist_ok=True)
        work = dict.fromkeys(chapters.values(), parameters)
        assert Runner(build, report=lambda line: None).run(work, jobs=2, force=force) == []
        return sorted(ran)

    monkeypatch.setattr(runner, "execute", note)
    assert build() == ["one", "two"]
    assert build() == []
    return build


def test_the_warm_process_lives_as_long_as_what_keeps_it(
    tmp_path: Path, chapters: dict[str, Chapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    @contextmanager
    def warm(threads: int) -> Iterator[Warm]:
        yield Warm(tmp_path / "door", 2.0)
        told.append("ended")

    monkeypatch.setattr(runner, "warm_process", warm)

    def note(chapter: Chapter, output: Path, parameters: object, **how: object) -> list[str]:
        told.append(how["kernels"])
        return leave(output)

    monkeypatch.setattr(runner, "execute", note)
    work = {chapter: {} for chapter in chapters.values()}
    monkeypatch.setattr(runner, "MANY", len(work))
    made = Runner(tmp_path, report=lambda line: None)
    with ExitStack() as kept:
        assert made.run(work, jobs=1, kept=kept) == []
        assert made.warm == Warm(tmp_path / "door", 2.0)
        assert told == [tmp_path / "door"] * 2
    assert told[2:] == ["ended"]
    assert made.run(work, jobs=1, force=True) == []
    assert told[-1] == "ended"
    assert made.warm is None


@pytest.mark.parametrize(
    ("seconds", "profile", "ci", "failures", "warned"),
    [
        (4.0, "quick", "1", 0, 0),
        (4.1, "quick", "1", 2, 2),
        (4.1, "quick", "", 0, 2),
        (90.0, "paper", "1", 0, 0),
    ],
)
def test_a_chapter_that_takes_too_much_processor_time_is_named(
    seconds: float,
    profile: str,
    ci: str,
    failures: int,
    warned: int,
    tmp_path: Path,
    chapters: dict[str, Chapter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(chapter: Chapter, output: Path, parameters: object, *, progress: Any, **how: object) -> list[str]:
        for spent in (0.5, seconds):
            progress(1, 2, spent)
        return leave(output)

    monkeypatch.setattr(runner, "warm_process", lambda threads: nullcontext(Warm(tmp_path, 2.0)))
    monkeypatch.setattr(runner, "execute", run)
    monkeypatch.setattr(runner, "MANY", 2)
    monkeypatch.setenv("SSL_THEORY_CI", ci)
    lines: list[str] = []
    made = Runner(tmp_path, report=lines.append)
    told = made.run({chapter: {"profile": profile} for chapter in chapters.values()}, jobs=1)
    assert len(told) == failures
    expected = (
        "one took 4.1 s of processor time, 2.05 times the 2.0 s of starting; at most 2 times is allowed"
    )
    assert told[:1] in ([], [expected])
    assert sum("warned: took" in line for line in lines) == warned
    assert {run.processor for run in made.runs.values()} == {seconds}


def test_a_changed_chapter_runs_alone(names: Names, tmp_path: Path):
    write_chapter(tmp_path / "book", "one", ["1 + 1"])
    assert names() == ["one"]


def test_a_lost_output_is_made_again(names: Names, tmp_path: Path):
    (tmp_path / "build" / "executed" / "two.ipynb").unlink()
    assert names() == ["two"]


def executed(tmp_path: Path) -> Path:
    return tmp_path / "build" / "executed" / "two.ipynb"


def rewrite(names: Names, tmp_path: Path, text: str) -> None:
    """Put a text in the place of an executed notebook, and its hash into the record."""
    executed(tmp_path).write_text(text, encoding="utf-8")
    record = tmp_path / "build" / "runs.json"
    runs = json.loads(record.read_text(encoding="utf-8"))
    runs["two"]["output"] = runner._hash(executed(tmp_path))
    record.write_text(json.dumps(runs), encoding="utf-8")


@pytest.mark.parametrize("text", ["", "{", NOTEBOOK + " ", "[]"])
def test_an_output_that_was_changed_is_made_again(names: Names, tmp_path: Path, text: str):
    executed(tmp_path).write_text(text, encoding="utf-8")
    assert names() == ["two"]
    assert executed(tmp_path).read_text(encoding="utf-8") == NOTEBOOK
    assert names() == []


def test_an_output_of_another_kind_is_made_again(names: Names, tmp_path: Path):
    executed(tmp_path).unlink()
    executed(tmp_path).symlink_to(executed(tmp_path).with_name("gone.ipynb"))
    assert names() == ["two"]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({}, []),
        ({"passed": False}, ["two"]),
        ({"error": 5.0}, ["two"]),
        ({"error": float("nan")}, ["two"]),
        ({"cases": 0}, ["two"]),
    ],
)
def test_a_record_that_does_not_hold_is_not_used_again(
    names: Names, tmp_path: Path, change: dict[str, Any], again: list[str]
):
    rewrite(names, tmp_path, json.dumps({"cells": [checked("T1.shared", **change)]}))
    assert names() == again


def test_a_damaged_output_with_the_right_hash_is_made_again(names: Names, tmp_path: Path):
    rewrite(names, tmp_path, "{")
    assert names() == ["two"]


def test_what_a_killed_build_left_is_cleared(names: Names, tmp_path: Path):
    left = tmp_path / "build" / "executed" / "part" / ".running-x"
    left.mkdir(parents=True)
    (left / "draft.ipynb").write_text("half", encoding="utf-8")
    assert names() == []
    assert not left.exists()


def test_other_parameters_run_again_and_so_does_the_way_back(names: Names):
    assert names(seed=1) == ["one", "two"]
    assert names(seed=1) == []
    assert names() == ["one", "two"]


def test_everything_can_be_forced(names: Names):
    assert names(force=True) == ["one", "two"]


def test_versions_are_an_input(names: Names, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inputs, "versions", lambda: {"torch": "next"})
    assert names() == ["one", "two"]


@pytest.mark.parametrize("text", ["", "[]", "not JSON", '{"one": {"when": 1}}'])
def test_a_record_that_cannot_be_read_is_written_anew(names: Names, tmp_path: Path, text: str):
    (tmp_path / "build" / "runs.json").write_text(text, encoding="utf-8")
    assert names() == ["one", "two"]
    assert names() == []


def build_with(
    chapters: dict[str, Chapter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[..., list[str]],
) -> tuple[Runner, list[str], list[str]]:
    """Return a runner, its failures and its lines after a build in which `act` stands for an execution."""
    lines: list[str] = []
    (tmp_path / "build").mkdir()
    monkeypatch.setattr(runner, "execute", act)
    made = Runner(tmp_path / "build", report=lines.append)
    return made, made.run({chapter: {} for chapter in chapters.values()}, jobs=1), lines


def test_progress_is_told_in_chapters(
    tmp_path: Path, chapters: dict[str, Chapter], monkeypatch: pytest.MonkeyPatch
):
    _, _, lines = build_with(chapters, tmp_path, monkeypatch, lambda chapter, output, *_, **__: leave(output))
    told = [line.partition(",")[2].strip() for line in lines if "done" in line]
    assert told == ["1 of 2, about 20 s left", "2 of 2"]


def test_the_time_left_is_that_of_the_last_build(tmp_path: Path, chapters: dict[str, Chapter]):
    made = Runner(tmp_path)
    took = {"one": 30.0, "old": 500.0}
    made.runs = {name: runner.Run("", {}, seconds, "", "") for name, seconds in took.items()}
    made._waiting, made._jobs = made._expected(chapters.values()), 2
    assert made._waiting == {"one": 30.0, "two": 265.0}
    assert made._left() == ", about 2 min left"
    made._waiting = {"one": 4.0}
    assert made._left() == ", about 10 s left"
    made._waiting = {}
    assert made._left() == ""


@pytest.mark.parametrize(
    ("running", "edited", "recorded"),
    [
        ("one", "two", ["one"]),  # before it runs: what it depends on may be imported already
        ("two", "two", ["one"]),
        ("two", "one", ["one", "two"]),  # after it ran
    ],
)
def test_what_changes_during_a_build_is_told_and_not_kept(
    tmp_path: Path,
    chapters: dict[str, Chapter],
    monkeypatch: pytest.MonkeyPatch,
    running: str,
    edited: str,
    recorded: list[str],
):
    def act(chapter: Chapter, output: Path, *_: object, **__: object) -> list[str]:
        if chapter.name == running:
            write_chapter(tmp_path / "book", edited, ["3"])
        return leave(output)

    made, failures, _ = build_with(chapters, tmp_path, monkeypatch, act)
    assert failures == [f"{edited}: what it depends on was changed while the book was built; build again"]
    assert list(made.runs) == recorded
    kept = {name for name, chapter in chapters.items() if made.up_to_date(chapter, runner.key(chapter, {}))}
    assert kept == {"one", "two"} - {edited}


def test_an_interrupt_cuts_chapters_off_and_leaves_what_was_there(
    tmp_path: Path, chapters: dict[str, Chapter], monkeypatch: pytest.MonkeyPatch
):
    """One chapter runs until it is ended; the other one stands for Ctrl-C once the first has begun."""
    begun, ended, lines = threading.Event(), threading.Event(), list[str]()
    process = Mock(spec=subprocess.Popen, terminate=ended.set)

    def act(chapter: Chapter, output: Path, *_: object, stop: Stop, **__: object) -> list[str]:
        if chapter.name == "two":
            begun.wait()
            raise KeyboardInterrupt
        stop.add(process)
        begun.set()
        ended.wait()
        stop.remove(process)
        return leave(output, "a result")

    earlier = tmp_path / "build" / "executed" / "one.ipynb"
    leave(earlier)
    monkeypatch.setattr(runner, "execute", act)
    made = Runner(tmp_path / "build", report=lines.append)
    with pytest.raises(KeyboardInterrupt):
        made.run({chapters["two"]: {}, chapters["one"]: {}}, jobs=2)
    assert lines[2:] == [f"{'one':16} cut off"]
    assert earlier.read_text(encoding="utf-8") == NOTEBOOK


def test_a_chapter_that_begins_after_the_interrupt_is_ended_at_once():
    stop, process = Stop(), Mock(spec=subprocess.Popen)
    stop.now()
    stop.add(process)
    process.terminate.assert_called_once()
    with pytest.raises(CutOffError):
        stop.remove(process)
