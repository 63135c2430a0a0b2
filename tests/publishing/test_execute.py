"""The runner on real kernels; each start costs about two seconds, so runs are shared where they can be."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from ssl_theory.publishing import execute, notebooks
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.execute import Runner
from tests.publishing.books import write_book, write_chapter

pytestmark = pytest.mark.filterwarnings("ignore")  # the kernels' own, in their processes and clients

KILL = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"


def outputs(path: Path) -> str:
    cells = notebooks.read(path)["cells"]
    return json.dumps([output for cell in cells for output in cell.get("outputs", [])])


def test_one_failure_leaves_the_others_whole(tmp_path: Path) -> None:
    """Two chapters at a time: one that runs, one that raises, one that kills its kernel."""
    book = write_book(
        tmp_path,
        {
            "part/good": ["print(seed, scale)", "import os; print(os.environ['SSL_THEORY_STATIC'])"],
            "part/bad": ["x = 1", "def f():\n    return 1 / 0\n\nprint(x)\nf()"],
            "part/dead": ["x = 1", KILL],
        },
    )
    lines: list[str] = []
    runner = Runner(tmp_path / "build", report=lines.append)
    (tmp_path / "build").mkdir()
    chapters = book.chapters()
    stale = runner.output(chapters["bad"])
    stale.parent.mkdir(parents=True)
    stale.write_text("an earlier run", encoding="utf-8")

    failures = runner.run({c: {"seed": 7} for c in chapters.values()}, jobs=2)

    told = {failure.chapter: failure.message for failure in failures}
    assert set(told) == {"bad", "dead"}
    assert "bad: cell 4, line 2: return 1 / 0" in told["bad"].replace("cell 3", "cell 4")
    assert "ZeroDivisionError: division by zero" in told["bad"]
    assert "dead: the kernel died in cell" in told["dead"]
    good = runner.output(chapters["good"])
    assert r"7 1.5\n" in outputs(good)
    assert r"1\n" in outputs(good)
    assert not runner.output(chapters["bad"]).exists(), "nothing of an earlier run may pass for this one"
    assert not runner.output(chapters["dead"]).exists()
    assert list(runner.executed.rglob("*.ipynb")) == [good]
    assert re.search(r"good\s+done in \d+\.\d s", "\n".join(lines))
    assert set(json.loads(runner.record.read_text())) == {"good"}

    text = good.read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert not re.search(r"20\d\d-\d\d-\d\d|papermill|start_time", text)
    assert notebooks.canonical(json.loads(text)) == chapters["good"].path.read_text(encoding="utf-8")

    lines.clear()
    assert not Runner(tmp_path / "build", lines.append).run({chapters["good"]: {"seed": 7}}, jobs=2)
    assert lines == [f"{'good':16} up to date"]


def test_a_cell_that_runs_too_long_is_stopped(tmp_path: Path) -> None:
    chapter = write_chapter(tmp_path, "slow", ["import time; time.sleep(60)"])
    with pytest.raises(BuildError, match=r"slow: a cell ran for more than 1 s"):
        execute.execute(chapter, tmp_path / "out.ipynb", {}, 1)
    assert list(tmp_path.iterdir()) == [chapter.path]


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Runner, list[str]]:
    """Return a runner whose executions only note the chapter's name."""
    ran: list[str] = []

    def note(chapter: execute.Chapter, output: Path, parameters: object, seconds: int) -> None:
        ran.append(chapter.name)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text("{}", encoding="utf-8")

    monkeypatch.setattr(execute, "execute", note)
    (tmp_path / "build").mkdir()
    return Runner(tmp_path / "build", report=lambda line: None), ran


def test_only_what_changed_runs_again(
    tmp_path: Path, counted: tuple[Runner, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, ran = counted
    book = write_book(tmp_path, {"one": ["1"], "two": ["2"]})
    one, two = book.chapters().values()

    def names(**kwargs: bool) -> list[str]:
        ran.clear()
        Runner(tmp_path / "build", report=lambda line: None).run({one: {}, two: {}}, jobs=1, **kwargs)
        return sorted(ran)

    assert names() == ["one", "two"]
    assert names() == []
    write_chapter(book.folder, "one", ["1 + 1"])
    assert names() == ["one"]
    runner.output(two).unlink()
    assert names() == ["two"]
    assert names(force=True) == ["one", "two"]
    (book.folder / "results").mkdir()
    (book.folder / "results" / "table.csv").write_text("a,b\n", encoding="utf-8")
    assert names() == ["one", "two"], "a stored table is an input"
    monkeypatch.setattr(execute, "version", lambda package: "next")
    assert names() == ["one", "two"], "so are the versions of the packages"


def test_the_key_depends_on_parameters_and_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chapter = write_book(tmp_path, {"one": ["1"]}).chapters()["one"]
    plain = execute.key(chapter, {})
    assert plain == execute.key(chapter, {})
    assert plain != execute.key(chapter, {"seed": 1})
    library = tmp_path / "library"
    (library / "publishing").mkdir(parents=True)
    (library / "losses.py").write_text("a", encoding="utf-8")
    monkeypatch.setattr(execute, "PACKAGE", library)
    before = execute.key(chapter, {})
    (library / "publishing" / "cli.py").write_text("b", encoding="utf-8")
    assert execute.key(chapter, {}) == before, "how a book is published changes no chapter"
    (library / "losses.py").write_text("b", encoding="utf-8")
    assert execute.key(chapter, {}) != before


def test_the_environment_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "11")
    monkeypatch.delenv("SSL_THEORY_STATIC", raising=False)
    with execute.static_environment(10_000):
        assert os.environ["SSL_THEORY_STATIC"] == os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "11"
    assert "SSL_THEORY_STATIC" not in os.environ
