from __future__ import annotations

import pytest

from ssl_theory.theorems import Claim, _claim, claims, theorems


def test_theorems_are_complete() -> None:
    assert set(theorems()) >= {"T1", "T2", "T3", "T6"}
    for theorem in theorems().values():
        assert theorem.claims, theorem.id
        assert theorem.statement.endswith("."), theorem.id
        assert theorem.assumptions, theorem.id
        assert theorem.paper, theorem.id
    assert len(claims()) == sum(len(t.claims) for t in theorems().values())


@pytest.mark.parametrize("claim", [claim for _, claim in claims().values()], ids=lambda claim: claim.id)
def test_every_claim_names_a_control(claim: Claim) -> None:
    assert claim.control, f"{claim.id}: say in `control` which wrong statement the check must refuse"
    assert claim.control != claim.what


def test_another_tolerance_needs_a_reason() -> None:
    entry = {"id": "X.a", "what": "a", "kind": "exact", "control": "b"}
    assert _claim(entry).tolerance == 1e-12
    assert _claim({**entry, "kind": "sampled"}).tolerance == 6
    assert _claim({**entry, "tolerance": 1e-9, "reason": "an integrator"}).tolerance == 1e-9
    with pytest.raises(ValueError, match=r"claim X\.a: tolerance 1e-09 .* needs a reason"):
        _claim({**entry, "tolerance": 1e-9})
    with pytest.raises(ValueError, match=r"claim X\.a: unknown kind 'guess', allowed are exact"):
        _claim({**entry, "kind": "guess"})
