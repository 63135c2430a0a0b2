"""The wheel carries the notebooks: listing and running chapters needs no checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel's content, as an installation would have it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_chapters_are_listed_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "from ssl_theory.publishing import catalogue, cli\n"
        f"assert str(catalogue.PACKAGE).startswith({str(installed)!r}), catalogue.PACKAGE\n"
        "code = cli.main(['list'])\n"
        "sys.exit(code or 10 + cli.main(['build']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 12, done.stderr
    assert "building needs a checkout" in done.stderr
    names = [path.stem for path in sorted((ROOT / "book").rglob("*.ipynb"))]
    assert all(name in done.stdout for name in names)


def test_every_file_of_the_library_is_in_the_wheel(installed: Path) -> None:
    for path in (ROOT / "ssl_theory").rglob("*"):
        if path.suffix in (".py", ".toml", ".typed"):
            assert (installed / path.relative_to(ROOT)).exists(), path
