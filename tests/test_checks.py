from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from IPython.utils.capture import capture_output

from ssl_theory import checks
from ssl_theory.checks import MIME, CheckError, Checks, relative_error


def notebook(chapter: str = "gradient") -> Checks:
    return Checks(chapter, profile="quick", seed=3)


def test_a_check_that_holds_is_recorded_and_shown() -> None:
    book = notebook()
    record = book.exact("T1.shared", 3e-15, cases=40)
    assert book.records == [record]
    assert record.passed
    assert record.status == "exact"
    assert (record.theorem, record.chapter, record.profile, record.seed) == ("T1", "gradient", "quick", 3)
    assert {"python", "torch", "numpy", "ssl-theory"} <= set(record.versions)
    json.dumps(asdict(record))


def test_the_record_travels_with_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, object]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    record = notebook().fails("T1.bias-below", 0.4, exceeds=0.01)
    assert shown[0][MIME] == asdict(record)
    assert "0.01" not in str(shown[0]["text/plain"])  # printed as 1.0e-02
    assert "> 1.0e-02" in str(shown[0]["text/plain"])


@pytest.mark.parametrize("error", [1e-11, float("nan"), float("inf")])
def test_a_check_that_fails_stops_with_statement_error_and_tolerance(error: float) -> None:
    book = notebook()
    with pytest.raises(CheckError, match=r"T1.shared failed.*tolerance 1.000e-12.*Statement: Two networks"):
        book.exact("T1.shared", error)
    assert not book.records


@pytest.mark.bad_input
def test_a_negative_error_is_no_error() -> None:
    with pytest.raises(ValueError, match=r"error of T1\.shared must be at least 0, got -1"):
        notebook().exact("T1.shared", -1.0)


def test_no_cases_are_no_evidence() -> None:
    with pytest.raises(CheckError, match="0 cases"):
        notebook().exact("T1.shared", 0.0, cases=0)


def test_every_kind_of_evidence_has_its_own_test() -> None:
    with capture_output():
        assert notebook("simple").slope("T3.balance-flow", 1.01, expected=1.0).error == pytest.approx(0.01)
        notebook("one-layer").sampled("T6.probability", 5.9)
    with pytest.raises(CheckError, match="T3.balance-flow failed"):
        notebook("simple").slope("T3.balance-flow", 1.2, expected=1.0)
    with pytest.raises(CheckError, match="T6.probability failed"):
        notebook("one-layer").sampled("T6.probability", 6.1)
    with pytest.raises(CheckError, match=r"T1.bias-below failed.*must exceed 1.000e-03"):
        notebook().fails("T1.bias-below", 1e-9, exceeds=1e-3)
    with pytest.raises(CheckError, match="error inf"):
        notebook().fails("T1.bias-below", float("inf"), exceeds=1e-3)


@pytest.mark.bad_input
def test_a_claim_has_to_be_stated_before_it_is_recorded() -> None:
    with pytest.raises(ValueError, match="claim must be one of theorems"):
        notebook().exact("T99.magic", 0.0)
    with pytest.raises(ValueError, match="claim T3.loss belongs to chapter 'simple', got 'gradient'"):
        notebook().exact("T3.loss", 0.0)
    with pytest.raises(ValueError, match="claim T1.bias-below is of kind 'fails', got 'exact'"):
        notebook().exact("T1.bias-below", 0.0)


def test_theorems_are_complete() -> None:
    assert set(checks.theorems()) >= {"T1", "T2", "T3", "T6"}
    for theorem in checks.theorems().values():
        assert theorem.claims, theorem.id
        assert theorem.statement.endswith("."), theorem.id
        assert theorem.assumptions, theorem.id
        assert theorem.paper, theorem.id
    assert len(checks.claims()) == sum(len(t.claims) for t in checks.theorems().values())


def test_error_of_a_comparison() -> None:
    a, b = torch.tensor([1.0, 5.0]), torch.tensor([2.0, 10.0])
    assert relative_error(a, b) == 0.5
    assert relative_error(a / 100, b / 100) == pytest.approx(0.05)
    assert relative_error(a[:0], b[:0]) == 0.0
    assert relative_error(a, b * float("nan")) != relative_error(a, b * float("nan"))
    with pytest.raises(ValueError, match=r"value must have the shape of expected, \(2,\), got \(1,\)"):
        relative_error(a[:1], b)
