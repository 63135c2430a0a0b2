"""Kernels that a warm process splits off do what new ones do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.errors import BuildError
from ssl_theory.publishing.execute import execute, warm_kernels
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


def test_no_warm_process_where_it_cannot_be_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with warm_kernels(1) as found:
        assert found is None
