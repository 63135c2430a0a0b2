from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from IPython.utils.capture import capture_output

from ssl_theory import checks
from ssl_theory.checks import MIME, STATUS, TWINS, Check, CheckError, Record, holds, relative_error
from ssl_theory.theorems import KINDS, Claim, Kind, Theorem

ONES = torch.ones(3, dtype=torch.float64)


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a theorem claim one check of every kind."""
    monkeypatch.delenv(TWINS, raising=False)
    own = tuple(
        Claim(f"X.{kind}", "this against that", kind, "without the factor ½", tolerance)
        for kind, tolerance in zip(KINDS, (1e-12, 1e-12, 6.0, 0.05, 0.0, 0.01), strict=True)
    )
    own = (*own, Claim("X.bare", "no control", "exact", tolerance=1e-12))
    own = (*own, Claim("X.most", "in most cases", "fails", "inside", 0.01, share=0.5))
    theorem = Theorem("X", "Title", "here", "All is well.", ("none",), "extends", "nowhere", own)
    monkeypatch.setattr(checks, "claims", lambda: {claim.id: (theorem, claim) for claim in own})
    with capture_output():
        yield


def new(kind: str) -> Check:
    return Check(f"X.{kind}", "here", profile="quick", seed=3)


def file(check: Check, kind: Kind, *, right: bool = True, control: bool = True) -> None:
    """File a case whose statement holds or not, and whose control fails or not."""
    off, twin = (0.0 if right else 0.5), (0.5 if control else 0.0)
    cases: dict[Kind, Callable[[], None]] = {
        "exact": lambda: check.equal(ONES, ONES + off, ONES + twin),
        "bound": lambda: check.bound(ONES, ONES - off, ONES - twin),
        "sampled": lambda: check.sample(1.0, 1.0 + off, 0.01, 1.0 + twin),
        "slope": lambda: check.slope(2.0, 2.0 + off, control=2.0 + off + twin),
        "interval": lambda: check.interval((0 - off, 1), (0, 2), control=(0 - twin, 1)),
        "fails": lambda: check.breaks(0.5 - off, 0.0, restored=(0.5 - twin, 0.0)),
    }
    cases[kind]()


@pytest.mark.parametrize("kind", KINDS)
def test_a_check_that_holds_is_recorded_with_its_control(kind: Kind) -> None:
    with new(kind) as check:
        file(check, kind)
        file(check, kind)
    record = check.record
    assert record.passed
    assert (record.kind, record.status, record.cases, record.empty) == (kind, STATUS[kind], 2, 0)
    assert (record.theorem, record.chapter, record.profile, record.seed) == ("X", "here", "quick", 3)
    assert {"python", "torch", "numpy", "ssl-theory"} <= set(record.versions)
    assert (record.control_error > record.tolerance) != (kind == "fails")
    entry = json.loads(json.dumps(dataclasses.asdict(record), allow_nan=False))
    assert holds(entry)


@pytest.mark.parametrize("kind", KINDS)
def test_a_statement_that_is_wrong_stops(kind: Kind) -> None:
    def run() -> None:
        with new(kind) as check:
            file(check, kind)
            file(check, kind, right=False)

    with pytest.raises(CheckError, match=rf"X\.{kind} failed: this against that.*Statement: All is well"):
        run()


@pytest.mark.parametrize("kind", KINDS)
def test_a_control_that_passes_stops_and_says_so(kind: Kind) -> None:
    def run() -> None:
        with new(kind) as check:
            file(check, kind, control=False)

    with pytest.raises(
        CheckError, match=r"control (passes in all 1 cases|fails as well): without the factor ½"
    ):
        run()


@pytest.mark.parametrize("kind", KINDS)
def test_no_cases_are_no_evidence(kind: Kind) -> None:
    with pytest.raises(CheckError, match="0 cases"), new(kind):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_the_wrong_version_in_the_place_of_the_statement_stops(
    monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    def run() -> Record:
        with new(kind) as check:
            file(check, kind)
        return check.record

    monkeypatch.setenv(TWINS, "X.other")
    run()
    monkeypatch.setenv(TWINS, f"X.{kind}")
    with pytest.raises(CheckError, match=rf"X\.{kind} failed"):
        run()
    monkeypatch.setenv(TWINS, "all")
    assert run().passed, "it was refused, and the chapter goes on"


def test_cases_that_tell_nothing_are_tested_but_counted_apart() -> None:
    with new("exact") as check:
        check.equal(ONES, ONES, ONES / 2)
        check.equal(0, 0, 0)
    assert (check.record.cases, check.record.empty) == (1, 1)
    assert check.record.control_error == 0.5
    check = new("exact")
    check.equal(ONES, ONES, ONES / 2)
    check.equal(1, 0, 0)
    with pytest.raises(CheckError, match="error 1.000e"), check:
        pass


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_none_never_hold(bad: float) -> None:
    with pytest.raises(CheckError, match=r"error (nan|inf)"), new("exact") as check:
        check.equal(bad, 1.0, 2.0)
    with pytest.raises(CheckError, match="not finite"), new("exact") as check:
        check.equal(1.0, 1.0, bad)
    with pytest.raises(CheckError, match="no finite number"), new("fails") as check:
        check.breaks(bad, 0.0, restored=(0.0, 0.0))


def test_rows_are_cases_and_a_control_may_have_a_value_of_its_own() -> None:
    value = torch.rand(5, 2, 2, dtype=torch.float64)
    with new("exact") as check:
        check.equal(value, value, value.mT, rows=True)
        check.equal(1.0, 1.0, control=(3.0, 1.0))
        check.equal(np.ones(2), [1.0, 1.0], 2)
    assert check.record.cases == 7


def test_a_bound_records_how_tight_it_is() -> None:
    with new("bound") as check:
        check.bound([1.0, 2.0], [4.0, 4.0], [1.5, 1.5])
        check.bound([0.0], [0.0], [-1.0])
    assert check.record.tightness == 0.5
    with new("bound") as check:
        check.bound(2.0 + 1e-13, 2.0, 1.0)
    with pytest.raises(CheckError, match="error 5"), new("bound") as check:
        check.bound(3.0, 2.0, 1.0)


def test_a_sample_records_its_power_and_needs_some() -> None:
    with new("sampled") as check:
        check.sample([0.5, 0.52], 0.5, 0.01, 0.4)
    assert check.record.power == pytest.approx(0.12)
    assert check.record.error == pytest.approx(2)
    with (
        pytest.raises(CheckError, match="would not have noticed 20% of its effect, only 60%"),
        new("sampled") as c,
    ):
        c.sample(0.1, 0.1, 0.01, 1.0)
    with pytest.raises(CheckError, match="only 30%"), new("sampled") as check:
        check.sample(0.2, 0.2, 0.01, 1.0)
    with new("sampled") as check:
        check.sample(0.0, 0.0, 0.01, 0.5, effect=0.5)
    with pytest.raises(CheckError, match="would not have noticed"), new("sampled") as check:
        check.sample(0.0, 0.0, 0.01, 0.5)


def test_failing_in_some_cases_says_in_how_many() -> None:
    with new("most") as check:
        for error in (0.5, 0.3, 0.001):
            check.breaks(error, 0.0, restored=(0.0, 0.0))
    assert (check.record.cases, check.record.of, check.record.error) == (2, 3, 0.3)
    for name, errors, told in (("most", (0.5, 0, 0), "50% of 3"), ("fails", (0.5, 0.001), "100% of 2")):
        check = new(name)
        for error in errors:
            check.breaks(error, 0.0, restored=(0.0, 0.0))
        with pytest.raises(CheckError, match=f"in {told} cases, does in 1"), check:
            pass


def test_an_error_in_the_block_is_not_hidden_by_a_judgement() -> None:
    with pytest.raises(ZeroDivisionError), new("exact"):
        _ = 1 / 0


def test_the_record_travels_with_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    with new("exact") as check:
        check.equal(ONES, ONES, ONES / 2)
    assert shown[0][MIME] == dataclasses.asdict(check.record)
    assert "Error 0.0e+00 ≤ 1e-12; without the factor ½: 5.0e-01. 1 case (exact)." in shown[0]["text/plain"]


@pytest.mark.parametrize(
    "change",
    [
        {"passed": False},
        {"passed": 1},
        {"error": 1.0},
        {"error": math.nan},
        {"control_error": 1e-14},
        {"cases": 0},
        {"tolerance": "much"},
        {"kind": "fails"},
    ],
)
def test_a_record_that_was_tampered_with_does_not_hold(change: dict[str, Any]) -> None:
    with new("exact") as check:
        check.equal(ONES, ONES, ONES / 2)
    entry = dataclasses.asdict(check.record)
    assert holds(entry)
    assert not holds(entry | change)
    assert not holds({})


@pytest.mark.bad_input
def test_a_claim_has_to_be_stated_with_a_control_before_it_is_checked() -> None:
    with pytest.raises(ValueError, match=r"claim must be one of theorems.*got 'X\.magic'"):
        new("magic")
    with pytest.raises(ValueError, match=r"claim X\.exact belongs to chapter 'here', got 'there'"):
        Check("X.exact", "there", profile="quick", seed=0)
    with pytest.raises(ValueError, match=r"claim X\.bare names no control"):
        new("bare")
    with pytest.raises(ValueError, match=r"claim X\.bound is of kind 'bound', got a case of 'exact'"):
        new("bound").equal(1, 1, 2)


@pytest.mark.bad_input
def test_cases_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="exactly one of wrong and control"):
        new("exact").equal(1, 1)
    with pytest.raises(ValueError, match="exactly one of wrong and control"):
        new("exact").equal(1, 1, 2, control=(1, 2))
    with pytest.raises(ValueError, match="value must have the shape of expected"):
        new("exact").equal(ONES, torch.ones(2), ONES)
    with pytest.raises(ValueError, match="deviation must be positive, got 0"):
        new("sampled").sample(1, 1, 0, 2)
    with pytest.raises(ValueError, match=r"interval must not end before it begins, got \(2.0, 1.0\)"):
        new("interval").interval((2, 1), (0, 3), control=(0, 1))


def test_error_of_a_comparison() -> None:
    a, b = torch.tensor([1.0, 5.0]), torch.tensor([2.0, 10.0])
    assert relative_error(a, b) == 0.5
    assert relative_error(a / 100, b / 100) == pytest.approx(0.05)
    assert relative_error(a[:0], b[:0]) == 0.0
    assert relative_error(a, b * float("nan")) != relative_error(a, b * float("nan"))
    with pytest.raises(ValueError, match=r"value must have the shape of expected, \(2,\), got \(1,\)"):
        relative_error(a[:1], b)


@pytest.mark.bad_input
def test_a_comparison_is_one_of_tensors() -> None:
    with pytest.raises(TypeError, match="expected must be a tensor, got list"):
        relative_error(torch.ones(1), [1.0])  # type: ignore[arg-type]


@given(st.floats(-1e3, 1e3), st.floats(0, 1e3), st.floats(0, 1e3))
def test_an_interval_holds_exactly_if_it_lies_inside(low: float, width: float, most: float) -> None:
    outside = checks._outside((low, low + width), (0.0, most))
    assert (outside == 0) == (low >= 0 and low + width <= most)
    assert outside >= 0


def test_a_check_tells_the_errors_of_its_cases_and_of_their_controls() -> None:
    with new("exact") as check:
        assert check.errors == []
        file(check, "exact")
        file(check, "exact", control=False)
    assert check.errors == [(0.0, pytest.approx(0.5 / 1.5)), (0.0, 0.0)]
