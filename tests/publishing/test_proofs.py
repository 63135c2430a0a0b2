from __future__ import annotations

import pytest

from ssl_theory.publishing import notebooks
from ssl_theory.publishing.catalogue import find_book
from ssl_theory.publishing.proofs import anchored, proof_anchor

BOOK = find_book()


def box(kind: str, label: str = "", first: str = "Words.") -> str:
    named = f":label: {label}\n\n" if label else ""
    return f"````{{prf:{kind}}}\n{named}{first}\n````\n"


def test_a_proof_belongs_to_the_last_statement_without_one() -> None:
    text = box("theorem", "t3") + box("lemma", "l1") + box("proof") + box("definition", "d") + box("proof")
    (marked,), proved = anchored([text])
    assert marked.index("(proof-l1)=\n````{prf:proof}") < marked.index("(proof-t3)=\n````{prf:proof}")
    assert proved == {"l1", "t3"}
    assert marked.replace("(proof-l1)=\n", "").replace("(proof-t3)=\n", "") == text


@pytest.mark.parametrize(
    "said", ["We prove {prf:ref}`a`.", "(Of {prf:ref}`a`.)", "The proof of {prf:ref}`A <a>`."]
)
def test_a_proof_says_what_it_proves(said: str) -> None:
    texts, proved = anchored([box("theorem", "a"), box("theorem", "b"), box("proof", first=said)])
    assert texts[2].startswith("(proof-a)=\n")
    assert proved == {"a"}


def test_a_second_proof_of_the_same_has_no_anchor() -> None:
    texts, _ = anchored(
        [box("theorem", "a"), box("proof"), box("proof"), box("proof", first="Of {prf:ref}`a`.")]
    )
    assert [text.startswith("(") for text in texts] == [False, True, False, False]


@pytest.mark.parametrize("name", BOOK.chapters())
def test_every_theorem_of_the_book_has_its_proof(name: str) -> None:
    chapter = BOOK.chapters()[name]
    cells = [c for c in notebooks.read(chapter.path)["cells"] if c["cell_type"] == "markdown"]
    texts, proved = anchored([notebooks.source(cell) for cell in cells])
    assert {i.lower().replace(".", "-") for i in chapter.theorem_ids} <= proved
    for label in proved:
        assert sum(text.count(f"({proof_anchor(label)})=\n") for text in texts) == 1
