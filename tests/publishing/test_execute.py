"""Chapters on real kernels; each start costs about two seconds, so runs are shared where they can be."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.execute import _require_figures, _require_no_trace, execute
from ssl_theory.publishing.runner import Runner
from tests.publishing.books import SIGNALS, code, write_book, write_chapter

CELLS = {
    "good": [
        "print(seed, scale)",
        "import os, sys; print(os.environ['SSL_THEORY_STATIC'], os.environ['OMP_NUM_THREADS'])",
        "import warnings; warnings.warn('mind the step'); print('90' + '% done', file=sys.stderr)",
        "import pathlib; print(pathlib.Path('bad.ipynb').exists())",
        "from myst_nb import glue; glue('number', seed / 2, display=False)",
        "import matplotlib.pyplot as plt; print(plt.rcParams['lines.linestyle'], '≤')",
        "print(open('good.ipynb').encoding)",
        "plt.plot([1, 2]);",
    ],
    "bad": ["x = 1", "def f():\n    return 1 / 0\n\nprint(x)\nf()", "never = 1"],
    "broken": ["x = (", "never = 1"],
    "library": ["from pathlib import Path\nPath('no such file').read_text()"],
    "dead": ["x = 1", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "never = 1"],
    "slow": ["import time\ntime.sleep(60)", "never = 1"],
    "asking": ["input()"],
    "ended": ["import sys\nsys.exit(0)", "never = 1"],
    "left": ["exit()", "never = 1"],
    "magic": ["%nosuchmagic", "never = 1"],
    "drawn": ["import matplotlib.pyplot as plt\nplt.title(r'$\\nosuchcommand$');", "fine = 1"],
    "telling": ["import os; print(os.getcwd())"],
}
FAILURES = {
    "bad": "bad: cell 4 of 5, line 2: return 1 / 0\n    ZeroDivisionError: division by zero",
    "broken": "broken: cell 3 of 4, line 1: x = (\n    SyntaxError",
    "library": "library: cell 3 of 3, line 2: Path('no such file').read_text()\n    FileNotFoundError",
    "dead": "dead: cell 4 of 5 ended its kernel",
    "slow": "slow: cell 3 of 4 ran for more than 5 s",
    "telling": "telling: cell 3 shows a trace of this machine: /",
    "asking": "asking: cell 3 of 3, line 1: input()\n    StdinNotImplementedError",
    "ended": "ended: cell 3 of 4\n    SystemExit: 0",
    "left": "left: cell 3 of 4\n    SystemExit: it ends the kernel",
    "magic": "magic: cell 3 of 4\n    UsageError: Line magic function `%nosuchmagic` not found",
    "drawn": "drawn: cell 3 of 4\n    ValueError: ",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("book")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Set what other people's machines set: a backend without figures, a style, a kernel, an encoding."""
    folder = tmp_path_factory.mktemp("personal")
    (folder / "matplotlibrc").write_text("lines.linestyle: --\ntext.usetex: True\n", encoding="utf-8")
    (folder / "kernels" / "python3").mkdir(parents=True)
    foreign = {"argv": ["false"], "display_name": "Python 3", "language": "python"}
    (folder / "kernels" / "python3" / "kernel.json").write_text(json.dumps(foreign), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MATPLOTLIBRC", "JUPYTER_PATH"):
            patch.setenv(name, str(folder))
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("PYTHONIOENCODING", "cp1252")
        yield


@pytest.fixture(scope="module")
def ran(root: Path, elsewhere: None) -> tuple[Runner, list[str], list[str]]:
    """Return a runner after it ran one good and several bad chapters, its failures and what it reported."""
    chapters = write_book(root, {f"part/{name}": cells for name, cells in CELLS.items()}).chapters()
    lines: list[str] = []
    (root / "build").mkdir()
    runner = Runner(root / "build", report=lines.append)
    earlier = runner.output(chapters["bad"])
    earlier.parent.mkdir(parents=True)
    earlier.write_text("an earlier run", encoding="utf-8")
    slow = chapters.pop("slow")
    failures = runner.run({c: {"seed": 7} for c in chapters.values()}, jobs=2)
    failures += runner.run({slow: {}}, jobs=1, seconds=5)
    return runner, failures, lines


def printed(path: Path) -> str:
    outputs = [output for cell in notebooks.read(path)["cells"] for output in cell.get("outputs", [])]
    return "".join("".join(output.get("text", [])) for output in outputs)


def test_each_failure_is_told_with_cell_line_and_error(ran: tuple[Runner, list[str], list[str]]):
    told = {failure.partition(":")[0]: failure for failure in ran[1]}
    assert set(told) == set(FAILURES)
    for name, message in FAILURES.items():
        assert told[name].startswith(message)


def test_the_others_finish_and_only_they_are_kept(ran: tuple[Runner, list[str], list[str]]):
    runner, _, lines = ran
    good = runner.executed / "part" / "good.ipynb"
    assert [path for path in runner.executed.rglob("*") if path.is_file()] == [good]
    assert list(json.loads(runner.record.read_text(encoding="utf-8"))) == ["good"]
    assert re.search(r"good +done in \d+\.\d s", "\n".join(lines))
    assert all(f"{name:16} FAILED" in lines for name in FAILURES)


def test_a_chapter_gets_its_parameters_and_works_where_it_lies(ran: tuple[Runner, list[str], list[str]]):
    assert printed(ran[0].executed / "part" / "good.ipynb") == "7 1.5\n1 1\nTrue\n- ≤\nutf-8\n"


def test_a_figure_is_drawn_whatever_the_environment_says(ran: tuple[Runner, list[str], list[str]]):
    last = notebooks.read(ran[0].executed / "part" / "good.ipynb")["cells"][-1]
    assert any(kind.startswith("image/") for output in last["outputs"] for kind in output.get("data", {}))


def test_glued_values_and_warnings_survive(ran: tuple[Runner, list[str], list[str]]):
    text = (ran[0].executed / "part" / "good.ipynb").read_text(encoding="utf-8")
    assert '"name": "number"' in text
    assert '"3.5"' in text
    assert f"{'good':16} warned: UserWarning: mind the step" in ran[2]


def test_an_executed_copy_has_no_path_and_no_time(ran: tuple[Runner, list[str], list[str]], root: Path):
    text = (ran[0].executed / "part" / "good.ipynb").read_text(encoding="utf-8")
    assert not re.search(rf"{root}|/tmp|20\d\d-\d\d|papermill_|start_time|duration|ipykernel|90% done", text)
    source = root / "book" / "part" / "good.ipynb"
    assert notebooks.canonical(json.loads(text)) == source.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "shown", ["{place}", "/x/ipykernel_12/3.py", "<Line2D object at 0x7fd2d07fd440>", "/drafts/one/a"]
)
def test_outputs_that_show_the_machine_are_refused(tmp_path: Path, shown: str):
    chapter = write_chapter(tmp_path, "part/one", ["1"])
    text = shown.format(place=chapter.path.parent)
    cell = code("1") | {"outputs": [{"output_type": "stream", "name": "stdout", "text": ["fine\n", text]}]}
    with pytest.raises(BuildError, match="one: cell 2 shows a trace of this machine"):
        _require_no_trace(chapter, {"cells": [code("1"), cell]}, "/drafts/one")
    _require_no_trace(chapter, {"cells": [code("1"), code(text)]}, "/drafts/one")


@pytest.mark.parametrize(("data", "shown"), [({"image/png": ""}, True), ({"text/plain": "<Figure>"}, False)])
def test_a_page_without_a_figure_that_it_announces_is_refused(
    tmp_path: Path, data: dict[str, str], shown: bool
):
    chapter = write_chapter(tmp_path, "one", ["1"])
    cell = code("1") | {"outputs": [{"output_type": "display_data", "data": data}]}
    cell["metadata"] = {"mystnb": {"figure": {"name": "fig-one"}}}
    if shown:
        _require_figures(chapter, {"cells": [cell]})
        return
    with pytest.raises(BuildError, match="one: cells announce figures and show none: fig-one"):
        _require_figures(chapter, {"cells": [cell]})


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("file/out.ipynb", "(Not a directory|File exists)"),
        ("folder.ipynb", "not a regular file"),
        ("pipe.ipynb", "not a regular file"),
        (f"{'n' * 300}.ipynb", "File name too long"),
    ],
)
def test_an_output_that_cannot_be_written_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, reason: str
):
    monkeypatch.setattr("ssl_theory.publishing.execute._run_worker", lambda *_: pytest.fail("it ran"))
    chapter = write_chapter(tmp_path, "one", ["1"])
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "folder.ipynb").mkdir()
    os.mkfifo(tmp_path / "pipe.ipynb")
    with pytest.raises(UsageError, match=rf"cannot write .*\.ipynb: {reason}"):
        execute(chapter, tmp_path / place, {}, seconds=5, threads=1)
    assert not list(tmp_path.glob(".*"))


def test_cells_are_told_and_a_link_keeps_leading_where_it_leads(tmp_path: Path):
    chapter, told = write_chapter(tmp_path, "one", ["1", "2"]), list[tuple[int, int]]()
    cells = json.dumps({"cells": notebooks.read(chapter.path)["cells"]})  # no kernel, and a mark in front
    chapter.path.write_bytes(b"\xef\xbb\xbf" + cells.encode())
    (tmp_path / "link.ipynb").symlink_to("target.ipynb")
    output = tmp_path / "link.ipynb"
    execute(
        chapter,
        output,
        {"seed": 3},
        seconds=50,
        threads=1,
        progress=lambda cell, of, spent: told.append((cell, of)),
    )
    # the parameters, and those that replace them; the last is the end
    assert told == [(2, 4), (2, 4), (3, 4), (4, 4), (5, 4)]
    assert output.is_symlink()
    assert notebooks.read(tmp_path / "target.ipynb")["cells"]
    assert {path.name for path in tmp_path.iterdir()} == {"one.ipynb", "link.ipynb", "target.ipynb"}


@pytest.mark.parametrize("sent", SIGNALS)
@pytest.mark.parametrize("command", ["build", "run"])
def test_no_kernel_outlives_the_command(tmp_path: Path, command: str, sent: signal.Signals):
    """Ctrl-C and a killed command alike end every kernel, and leave nothing half-executed nor temporary.

    The kernel holds a pipe open: it says that it has begun, and is gone when the pipe has no writer.
    """
    pipe, drafts = tmp_path / "pipe", tmp_path / "drafts"
    os.mkfifo(pipe)
    drafts.mkdir()
    begun = f"file = open({str(pipe)!r}, 'w')\nprint('begun', file=file, flush=True)\n"
    write_book(tmp_path, {"one": [f"{begun}import threading\nthreading.Event().wait()"]})
    call = [
        sys.executable,
        "-m",
        "ssl_theory.publishing.cli",
        command,
        *(["one"] if command == "run" else []),
    ]
    environment = os.environ | {"TMPDIR": str(drafts)}
    with subprocess.Popen(
        call, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        with pipe.open(encoding="utf-8") as kernel:
            assert kernel.readline() == "begun\n"
            process.send_signal(sent)
            assert process.wait() == (130 if sent == signal.SIGINT else -sent)
            assert kernel.read() == ""
        assert process.stderr is not None
        told = process.stderr.read()
    if sent == signal.SIGINT:
        kept = "chapters that are done are kept, and the next build goes on from there"
        assert (
            told == f"ssl-theory: interrupted; {kept if command == 'build' else 'no notebook was written'}\n"
        )
    assert not list((tmp_path / "build" / "executed").glob("*"))
    assert {path.name for path in tmp_path.iterdir()} <= {"book", "_config.yml", "build", "pipe", "drafts"}
    assert not list(drafts.iterdir())
