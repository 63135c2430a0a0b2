"""The list of mutations fits the library as it stands; `make mutate` tries them."""

from __future__ import annotations

import pytest

from tests.mutate import ROOT, Mutation, load


@pytest.mark.parametrize("mutation", load(), ids=lambda mutation: mutation.name)
def test_what_a_mutation_replaces_stands_once(mutation: Mutation) -> None:
    source = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert source.count(mutation.find) == 1
    assert mutation.replace != mutation.find
    assert all((ROOT / test.split("::")[0]).exists() for test in mutation.tests.split())
