"""Programs that a warm process splits off do what new ones do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.child import command
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.execute import execute, warm_process
from ssl_theory.publishing.ledger_picture import picture, picture_by
from tests.publishing.books import write_chapter

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="a warm process is kept on Linux alone"),
    pytest.mark.timeout(600),
]

CELLS = (
    "import os, sys, tempfile\nfrom pathlib import Path",
    "warm = 'torch' in sys.modules",
    "print(Path.cwd().name, os.environ['OMP_NUM_THREADS'], Path(tempfile.gettempdir()).name, __name__)",
    "import matplotlib.pyplot as plt\nplt.plot([0, 1]);",
    "os.write(1, b'past the notebook');",
    "seed",
)


@pytest.fixture
def door(warm: Path | None) -> Path:
    assert warm is not None
    return warm


def outputs(chapter_path: Path) -> list[object]:
    cells = notebooks.read(chapter_path)["cells"]
    return [cell.get("outputs", []) for cell in cells]


def test_outputs_are_the_same(tmp_path: Path, door: Path) -> None:
    chapter = write_chapter(tmp_path, "part/one", CELLS)
    for name, kernels in (("cold", None), ("warm", door)):
        how = {"seconds": 300, "threads": 1, "kernels": kernels}
        execute(chapter, tmp_path / f"{name}.ipynb", {"seed": 3}, **how)
    cold, warm = (outputs(tmp_path / f"{name}.ipynb") for name in ("cold", "warm"))
    assert cold == warm
    assert "part 1 drafts __main__" in str(warm)
    assert "image/png" in str(warm)


def test_the_time_of_the_kernel_is_told_wherever_it_was_started(tmp_path: Path, door: Path) -> None:
    busy = "import time\nwhile time.process_time() < {0} + begun: pass"
    chapter = write_chapter(tmp_path, "one", ["import time\nbegun = time.process_time()", busy.format(1.5)])
    for kernels in (None, door):
        told: list[float] = []
        how: dict[str, Any] = {"seconds": 300, "threads": 1, "kernels": kernels}
        execute(
            chapter,
            tmp_path / "out.ipynb",
            {},
            **how,
            progress=lambda cell, of, spent, to=told: to.append(spent),
        )
        assert told == sorted(told)
        assert told[-1] - told[-2] >= 1.4  # clocks of processes tick in hundredths


def test_a_kernel_is_warm_and_its_end_is_told(tmp_path: Path, door: Path) -> None:
    chapter = write_chapter(
        tmp_path, "one", ["import sys\nassert 'torch' in sys.modules", "import os\nos._exit(3)"]
    )
    with pytest.raises(BuildError, match="cell 4 of 4 ended its kernel"):
        execute(chapter, tmp_path / "out.ipynb", {}, seconds=300, threads=1, kernels=door)
    assert not (tmp_path / "out.ipynb").exists()


def test_a_cell_that_runs_too_long_is_ended(tmp_path: Path, door: Path) -> None:
    chapter = write_chapter(tmp_path, "one", ["import time\ntime.sleep(500)"])
    with pytest.raises(BuildError, match="ran for more than 2 s"):
        execute(chapter, tmp_path / "out.ipynb", {}, seconds=2, threads=1, kernels=door)


def test_the_ledger_is_drawn_alike_and_a_fault_is_told(door: Path) -> None:
    entry = {"chapter": "one", "tolerance": 1e-12, "error": 3e-16, "control_error": 0.4}
    assert picture_by(door, [entry], ["one"]) == picture([entry], ["one"])
    with pytest.raises(subprocess.CalledProcessError) as caught:
        picture_by(door, [{"chapter": "one"}], ["one"])
    assert "KeyError: 'tolerance'" in caught.value.stderr


def test_a_program_that_is_split_off_ends_with_its_input(door: Path) -> None:
    started = [*command("ssl_theory.publishing.pages", door), "build", "--help"]
    how: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(started, **how) as program:
        assert program.stdout is not None
        assert "--path-output" in program.stdout.read()
        assert program.wait(300) == 0
    started = [*command("ssl_theory.publishing.worker", door)]  # it waits for its job, which never comes
    assert subprocess.run(started, input="", capture_output=True, timeout=300, text=True).returncode == 1


def test_no_warm_process_where_it_cannot_be_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with warm_process(1) as found:
        assert found is None
