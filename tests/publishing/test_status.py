from __future__ import annotations

import platform
from pathlib import Path

from ssl_theory.publishing import notebooks, status
from ssl_theory.publishing.catalogue import Chapter
from ssl_theory.publishing.runner import Run
from tests.publishing.books import PARAMETERS, code


def test_the_page_says_what_ran_when_for_how_long_and_on_what(tmp_path: Path) -> None:
    executed = {}
    for name in ("one", "two"):
        path = tmp_path / f"{name}.ipynb"
        cells = [code(PARAMETERS, "parameters"), code("seed = 7", notebooks.INJECTED)]
        path.write_text(notebooks.dump({"cells": cells}), encoding="utf-8")
        executed[Chapter(name, path, f"part/{name}")] = path
    runs = {"one": Run("key", {"seed": 7}, 75.2, "2026-01-02T03:04:05+00:00", "hash")}
    page = status.page(executed, [{"chapter": "two"}] * 3, runs, ("Sphinx",))
    one, two = [line for line in page.splitlines() if line.startswith("| {doc}")]
    one = one.replace("\N{NON-BREAKING HYPHEN}", "-")
    assert one.startswith("| {doc}`part/one` | 2026-01-02 03:04 | 1 min 15 s | 0 | `profile=quick`, `seed=7`")
    assert two.startswith("| {doc}`part/two` | not recorded | – | 3 |")
    assert "the chapters took 1 min 15 s in all" in page
    assert f"python {platform.python_version()}" in page
    assert "torch " in page
    assert "Sphinx 7" in page
    assert status._duration(59.4) == "59 s"
    assert status._duration(59.6) == "1 min 0 s"
