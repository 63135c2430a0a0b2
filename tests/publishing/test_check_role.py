"""The role that leads from a page to a check."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils import nodes

from ssl_theory.publishing.check_role import check


class Inliner:
    """What the role asks of docutils and Sphinx, for a page two folders deep."""

    def __init__(self, folder: Path) -> None:
        builder = SimpleNamespace(get_relative_uri=lambda page, place: f"from {page} to {place}.html")
        env = SimpleNamespace(srcdir=folder, docname="a/b/page", app=SimpleNamespace(builder=builder))
        self.document = SimpleNamespace(settings=SimpleNamespace(env=env))
        self.reporter = SimpleNamespace(error=lambda text, line: f"line {line}: {text}")

    def problematic(self, text: str, source: str, message: object) -> str:
        return f"problem: {text}"


@pytest.fixture
def inliner(tmp_path: Path) -> Inliner:
    (tmp_path / "foundations").mkdir()
    (tmp_path / "foundations" / "gradient.ipynb").touch()
    return Inliner(tmp_path)


def test_a_check_becomes_a_link_to_its_line(inliner: Inliner) -> None:
    (link,), messages = check("check", "{check}`T1.shared`", "T1.shared", 3, inliner)
    assert isinstance(link, nodes.reference)
    assert link.astext() == "T1.shared"
    assert link["refuri"] == "from a/b/page to foundations/gradient.html#check-t1-shared"
    assert not messages


def test_an_unknown_check_is_an_error(inliner: Inliner) -> None:
    shown, messages = check("check", "{check}`T1.lost`", "T1.lost", 3, inliner)
    assert shown == ["problem: {check}`T1.lost`"]
    assert messages == ["line 3: no theorem claims the check 'T1.lost'"]
