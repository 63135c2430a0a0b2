"""Chapters on real kernels; each start costs about two seconds, so runs are shared where they can be."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.errors import BuildError, UsageError
from ssl_theory.publishing.execute import _require_no_trace, execute
from ssl_theory.publishing.runner import Runner
from tests.publishing.books import code, write_book, write_chapter

CELLS = {
    "good": [
        "print(seed, scale)",
        "import os, sys; print(os.environ['SSL_THEORY_STATIC'], os.environ['OMP_NUM_THREADS'])",
        "import warnings; warnings.warn('mind the step'); print('90' + '% done', file=sys.stderr)",
        "import pathlib; print(pathlib.Path('bad.ipynb').exists())",
        "from myst_nb import glue; glue('number', seed / 2, display=False)",
    ],
    "bad": ["x = 1", "def f():\n    return 1 / 0\n\nprint(x)\nf()", "never = 1"],
    "broken": ["x = (", "never = 1"],
    "library": ["from pathlib import Path\nPath('no such file').read_text()"],
    "dead": ["x = 1", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "never = 1"],
    "slow": ["import time\ntime.sleep(60)", "never = 1"],
    "asking": ["input()"],
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
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("book")


@pytest.fixture(scope="module")
def ran(root: Path) -> tuple[Runner, list[str], list[str]]:
    """Return a runner after it ran one good and several bad chapters, its failures and what it reported."""
    chapters = write_book(root, {f"part/{name}": cells for name, cells in CELLS.items()}).chapters()
    lines: list[str] = []
    (root / "build").mkdir()
    runner = Runner(root / "build", report=lines.append)
    earlier = runner.output(chapters["bad"])
    earlier.parent.mkdir(parents=True)
    earlier.write_text("an earlier run", encoding="utf-8")
    failures = runner.run({c: {"seed": 7} for c in chapters.values()}, jobs=2, seconds=5)
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
    assert printed(ran[0].executed / "part" / "good.ipynb") == "7 1.5\n1 1\nTrue\n"


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


def test_an_output_that_cannot_be_written_is_told_at_once(tmp_path: Path):
    chapter = write_chapter(tmp_path, "one", ["1"])
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"cannot write .*out.ipynb: (Not a directory|File exists)"):
        execute(chapter, tmp_path / "file" / "out.ipynb", {}, seconds=5, threads=1)


@pytest.mark.alone
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_no_kernel_outlives_the_command(tmp_path: Path, sent: signal.Signals):
    """Ctrl-C and a killed command alike end every kernel, and nothing half-executed is left as a result."""
    note = tmp_path / "pid"
    begun = (
        f"import os, pathlib, time\npathlib.Path({str(note)!r}).write_text(str(os.getpid()))\ntime.sleep(90)"
    )
    write_book(tmp_path, {"one": [begun]})
    command = [sys.executable, "-m", "ssl_theory.publishing.cli", "build"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: note.exists() and note.read_text(encoding="utf-8"))
        process.send_signal(sent)
        assert process.wait(20) == (130 if sent == signal.SIGINT else -sent)
    kernel = int(note.read_text(encoding="utf-8"))
    wait_until(lambda: not alive(kernel))
    assert not list((tmp_path / "build" / "executed").glob("*.ipynb"))


def wait_until(condition) -> None:
    for _ in range(400):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 20 s")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # a dead process that nobody has fetched yet still has its number
    return not status.exists() or status.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
