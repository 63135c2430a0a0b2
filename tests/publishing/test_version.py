"""The version stands in two places; a release writes the tag to both."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".github" / "version.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("version", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_places_agree(script: ModuleType) -> None:
    assert len(set(script.stated().values())) == 1


def test_a_release_changes_the_version_and_nothing_else(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = set(script.stated().values())
    for name in script.PLACES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(script, "ROOT", tmp_path)
    script.write("12.3.4")
    assert set(script.stated().values()) == {"12.3.4"}
    for name in script.PLACES:
        changed = (tmp_path / name).read_text(encoding="utf-8")
        assert changed != (ROOT / name).read_text(encoding="utf-8")
        assert len(changed) - len((ROOT / name).read_text(encoding="utf-8")) == len("12.3.4") - len(old)


@pytest.mark.parametrize("wrong", ["v1.2.3", "1.2", "1.2.3rc1", ""])
def test_what_is_no_version_is_refused(script: ModuleType, wrong: str) -> None:
    with pytest.raises(SystemExit, match="three numbers"):
        script.write(wrong)
