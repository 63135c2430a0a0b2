from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from ssl_theory.publishing import api, docstrings, notebooks
from ssl_theory.publishing.catalogue import find_book
from tests.publishing.books import code, text

BOOK = find_book(Path(__file__))
CHAPTERS = BOOK.chapters()


def test_every_module_has_a_room_and_every_room_a_page_of_the_book() -> None:
    assert not api.homeless(), "add these to a room"
    assert [name for name in BOOK.files() if name.startswith("api/")] == [
        "api/index",
        *map(api.place, api.ROOMS),
    ]
    for room in api.ROOMS:
        for module in room.modules:
            assert f"ssl_theory.{module}" in api.modules(), (
                f"{room.name} names {module}, which does not exist"
            )
        assert f"{{doc}}`{room.name}`" in api.contents()


def test_what_is_documented_exists_and_is_what_the_source_says() -> None:
    kinds = {
        "function": callable,
        "class": inspect.isclass,
        "data": lambda value: value is not None,
    }
    for (module, name), full in api.public().items():
        where, _, public = full.rpartition(".")
        found = getattr(importlib.import_module(where), public)
        assert found is getattr(importlib.import_module(module), name)
        assert kinds[api.modules()[module].defined[name]](found), full
    listed = api.public().values()
    assert {"ssl_theory.operators.covariance_operator", "ssl_theory.hltm.LatentTree"} <= set(listed)
    assert "ssl_theory.operators.interface.covariance_operator" not in listed
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_name_that_a_chapter_imports_is_documented_with_the_chapter(name: str) -> None:
    notebook = notebooks.read(CHAPTERS[name].path)
    used = api.used_names(notebook)
    pages = "".join(api.page(room, {full: [CHAPTERS[name]] for full in used}) for room in api.ROOMS)
    assert used
    assert pages.count(f":doc:`{name} </{CHAPTERS[name].place}>`") == len(used)
    for line in "\n".join("".join(cell["source"]) for cell in notebook["cells"]).splitlines():
        if line == "from ssl_theory.chapter import start":
            assert "ssl_theory.chapter.start" in used


def test_names_are_found_by_import_and_as_attributes_of_modules() -> None:
    cells = [
        text("from ssl_theory.training import fit"),
        code("%pip install x", notebooks.INSTALL),
        code("from ssl_theory import losses, views as v\nfrom ssl_theory.operators.interface import residue"),
        code("import ssl_theory.flow as flow\nfrom ssl_theory.hltm import lucky\nfrom math import pi"),
        code("losses.InfoNCE(0.5); v.nothing_of_this_name; flow.gradient_flow; lucky.variance; pi.imag"),
    ]
    assert api.used_names({"cells": cells}) == {
        "ssl_theory.losses.InfoNCE",
        "ssl_theory.operators.residue",
        "ssl_theory.flow.gradient_flow",
        "ssl_theory.hltm.lucky.variance",
    }


@pytest.mark.bad_input
def test_examples_are_shown_as_they_are() -> None:
    lines = ["A *b*.", "", ">>> a ** b | c_", "a * b", "", "And *c*."]
    docstrings._escape(None, "", "", None, None, lines)  # type: ignore[arg-type]
    assert lines == [r"A \*b\*.", "", ">>> a ** b | c_", "a * b", "", r"And \*c\*."]


def test_plain_text_is_not_read_as_markup() -> None:
    assert docstrings.plain("|x| and K_l*, f_ but r_neg_k; `a*b` and ``c_``") == (
        r"\|x\| and K_l\*, f\_ but r_neg_k; `a*b` and ``c_``"
    )


def test_signatures_read_as_in_the_source() -> None:
    from ssl_theory.losses import SoftTriplet
    from ssl_theory.networks import ReLUNetwork
    from ssl_theory.operators import Eigenpairs, covariance_operator

    arguments, result = docstrings.signature(covariance_operator) or ("", "")
    assert arguments.startswith(
        '(net: ReLUNetwork | nn.Module, views: Shaped[Tensor, "N A *input"], layer: int | str, loss:'
    )
    assert arguments.endswith("= SimpleContrastive(), negatives: int = 1)")
    assert result == 'Float[Tensor, "D D"]'
    assert docstrings.signature(Eigenpairs) == ("(values: Tensor, vectors: Tensor)", "")
    assert docstrings.signature(SoftTriplet) == ("(temperature: float, margin: float = 0.0)", "")
    arguments, result = docstrings.signature(SoftTriplet.__call__) or ("", "")
    assert arguments == '(r_pos: Float[Tensor, "B"], r_neg: Float[Tensor, "B H"])'
    arguments, _ = docstrings.signature(ReLUNetwork.random) or ("", "")
    assert "dtype: torch.dtype = torch.float64" in arguments
    assert docstrings.signature(3) is None
    nowhere = object()
    hidden = docstrings.signature(lambda x=nowhere: x)
    assert hidden is not None
    assert " at 0x" not in hidden[0]
