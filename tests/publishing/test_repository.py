from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from ssl_theory.publishing import site
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.repository import Repository, repository

BOOK = find_book(Path(__file__))
OTHER = "https://github.com/someone/a-fork"


def home(url: str | None = None) -> Repository:
    found = repository(site.configuration(BOOK, url))
    assert found is not None
    return found


@pytest.mark.parametrize("url", [None, OTHER])
def test_links_have_the_form_that_colab_and_binder_ask_for(url: str | None) -> None:
    there = home(url)
    assert there.url == (url or there.url)
    name = there.url.removeprefix("https://github.com/")
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", name)
    assert there.links("covariance/simple") == {
        "Colab": f"https://colab.research.google.com/github/{name}/blob/main/book/covariance/simple.ipynb",
        "Binder": f"https://mybinder.org/v2/gh/{name}/main?urlpath=lab%2Ftree%2Fbook%2Fcovariance%2Fsimple.ipynb",
    }
    for chapter in BOOK.chapters().values():
        assert (BOOK.require_checkout() / there.folder / f"{chapter.place}.ipynb").exists()


def test_colab_opens_notebooks_of_github_only_and_binder_those_of_any_git() -> None:
    elsewhere = home("https://git.example.org/a/b")
    assert elsewhere.links("one") == {
        "Binder": "https://mybinder.org/v2/git/https%3A%2F%2Fgit.example.org%2Fa%2Fb/main"
        "?urlpath=lab%2Ftree%2Fbook%2Fone.ipynb"
    }
    assert repository("title: A book\n") is None
    assert Repository("https://github.com/a/b").links("one") == {}


class Shell:
    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []

    def run_line_magic(self, name: str, line: str) -> None:
        self.ran.append((name, line))


@pytest.mark.parametrize("there", [True, False])
def test_the_install_cell_acts_only_where_the_library_is_missing(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    shell = Shell()
    if not there:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    cell: dict[str, Any] = {"get_ipython": lambda: shell}
    exec(TransformerManager().transform_cell(home(OTHER).install), cell)
    if there:
        assert not shell.ran
        return
    ((magic, line),) = shell.ran
    assert magic == "pip"
    arguments = re.fullmatch(r'install --quiet "(.*)"', line)
    assert arguments is not None
    asked = Requirement(arguments[1])
    assert (asked.name, asked.url) == ("ssl-theory", f"git+{OTHER}@main")


def test_binder_installs_this_checkout_on_the_versions_of_the_book() -> None:
    root = BOOK.require_checkout()
    folder = root / "binder"
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    options = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert options["-e"] == ".[lab,data]"
    assert (folder / options["-c"]).resolve() == root / "constraints.txt"
    assert options["--extra-index-url"].endswith("/cpu")
    version = (folder / "runtime.txt").read_text(encoding="utf-8").strip().removeprefix("python-")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert version in SpecifierSet(project["requires-python"])
