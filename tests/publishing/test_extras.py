"""The mathematics needs few packages, and a command says in one line which extra it lacks."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest

from ssl_theory.publishing import cli, commands
from ssl_theory.publishing.errors import EXTRAS, lacking

MATHEMATICS = (
    "networks, views, flow, losses, operators, hltm, training, theorems, checks, chapter, experiments.trees"
)
HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def without(*names: str, run: str) -> subprocess.CompletedProcess[str]:
    script = HIDE.format(names=set(names)) + run
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_the_mathematics_needs_eight_packages_and_none_of_the_extras() -> None:
    needed = [r for r in requires("ssl-theory") or [] if "extra ==" not in r]
    assert len(needed) <= 8
    imports = "\n".join(f"import ssl_theory.{room.strip()}" for room in MATHEMATICS.split(","))
    done = without(*EXTRAS, run=imports)
    assert done.returncode == 0, done.stderr


def test_every_extra_exists() -> None:
    assert set(EXTRAS.values()) <= set(metadata("ssl-theory").get_all("Provides-Extra") or [])


@pytest.mark.parametrize(
    ("package", "arguments"),
    [("yaml", ["list"]), ("sklearn", ["experiment", "images", "--epochs", "1", "-o", "OUT"])],
)
def test_a_command_names_the_extra_it_needs(package: str, arguments: list[str], tmp_path: Path) -> None:
    arguments = [word.replace("OUT", str(tmp_path / "out")) for word in arguments]
    run = f"from ssl_theory.publishing.cli import main; sys.exit(main({arguments}))"
    done = without(package, run=run)
    assert done.returncode == 2, done.stderr
    told = rf"ssl-theory: this needs {package}, which is not installed: pip install 'ssl-theory\[\w+\]'\n"
    assert re.fullmatch(told, done.stderr)


def test_a_fault_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        lacking(ModuleNotFoundError("No module named 'ssl_theory.nosuch'", name="ssl_theory.nosuch")) is None
    )

    def fails(_: object) -> None:
        raise ModuleNotFoundError("No module named 'nosuch'", name="nosuch")

    monkeypatch.setattr(commands, "list_chapters", fails)
    with pytest.raises(ModuleNotFoundError, match="nosuch"):
        cli.main(["list"])
