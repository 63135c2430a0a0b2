"""Checks and their records: no statement is tested without its wrong twin.

A check files its cases one by one. For each it computes, by the same code, the error of the statement and
that of a deliberately wrong version of it, the control. It holds if every error of the statement is within
tolerance and the control's are not. A case in which the wrong version would have passed as well, such as
0 = 0, tells nothing: it is tested, but counted apart. The record travels with the output of the cell, so that
an executed notebook carries its own evidence; a check that fails raises `CheckError` and stops the chapter.
"""

from __future__ import annotations

import html
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from statistics import median
from types import TracebackType
from typing import TYPE_CHECKING, Any

import ssl_theory
from ssl_theory.theorems import Claim, Kind, Theorem, claims

if TYPE_CHECKING:  # the command line reads records without importing torch
    from torch import Tensor

__all__ = ["MIME", "POWER", "STATUS", "Check", "CheckError", "Record", "evidence", "holds", "relative_error"]

MIME = "application/vnd.ssl-theory.check+json"
POWER = 0.2  # a sampled check has to notice an effect of this size
TWINS = "SSL_THEORY_TWINS"  # environment: the claim to be replaced by its wrong version, or "all"

STATUS: dict[Kind, str] = {
    "exact": "exact",
    "bound": "bound",
    "sampled": "within sampling error",
    "slope": "measured slope",
    "interval": "interval of a stored table",
    "fails": "fails as predicted outside its assumptions",
}

Pair = tuple[Any, Any]  # a value and what is expected, or two ends


class CheckError(AssertionError):
    """A claim of the book that did not hold in this run, or a control that did not fail."""


@dataclass(frozen=True)
class Record:
    """What one check found, with all that is needed to find it again.

    Attributes:
        error: The largest error of the statement; for "fails" the smallest of those that count.
        tolerance: What it has to stay within, or to exceed.
        control: The wrong version, in words.
        control_error: Its error by the same measure, the median over the cases that tell the two apart.
        cases: Cases that tell the statement from the control.
        empty: Cases counted apart: tested, but the control would have passed as well.
        of: For "fails": of how many cases `cases` broke.
        tightness: For "bound": the largest left side / right side.
        power: For "sampled": the smallest effect that would have been noticed, as a share of the effect.
    """

    id: str
    theorem: str
    chapter: str
    statement: str
    checked: str
    kind: Kind
    status: str
    error: float
    tolerance: float
    reason: str
    control: str
    control_error: float
    cases: int
    empty: int
    passed: bool
    profile: str
    seed: int
    device: str
    versions: Mapping[str, str]
    of: int | None = None
    tightness: float | None = None
    power: float | None = None


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Return max|value − expected| / max(1, max|expected|), the book's one measure of error.

    Args:
        value: Any shape.
        expected: The same shape.

    Returns:
        The error; 0 for empty tensors, NaN if any entry is NaN.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the shapes differ.
    """
    import torch

    for name, given in (("value", value), ("expected", expected)):
        if not isinstance(given, torch.Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(given).__name__}")
    if value.shape != expected.shape:
        raise ValueError(
            f"value must have the shape of expected, {tuple(expected.shape)}, got {tuple(value.shape)}"
        )
    if expected.numel() == 0:
        return 0.0
    scale = max(1.0, float(expected.detach().abs().max()))
    return float((value.detach() - expected.detach()).abs().max()) / scale


class Check:
    """One claim under test: `with Check("T3.operator", …) as check:` and a call for each case.

    Which call depends on the kind of the claim: `equal` (exact), `bound`, `sample` (sampled), `slope`,
    `interval` or `breaks` (fails). At the end of the block the check is judged, recorded and shown.

    Args:
        claim: Id of the claim in theorems/<chapter>.toml.
        chapter: The chapter's name, its file's stem.
        profile: "quick" or "paper".
        seed: The seed that all cases derive from.
        device: The device of the computation.

    Raises:
        ValueError: If the chapter claims no such check, or the claim names no control.
    """

    record: Record

    def __init__(self, claim: str, chapter: str, *, profile: str, seed: int, device: str = "cpu") -> None:
        self._theorem, self._claim = _claim_of(claim, chapter)
        self._profile, self._seed, self._device = profile, seed, device
        self._errors: list[tuple[float, float]] = []  # of the statement and of the control
        self._tightness: list[float] = []
        self._powers: list[float] = []

    def __enter__(self) -> Check:
        """Return the check."""
        return self

    @property
    def errors(self) -> list[tuple[float, float]]:
        """The error of every case filed so far, and that of its control."""
        return list(self._errors)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Judge, record and show the check, unless the block was left by an error."""
        if kind is not None:
            return
        wanted = os.environ.get(TWINS)
        if wanted == self._claim.id:
            self._judge([pair[::-1] for pair in self._errors])
        elif wanted == "all":
            self._refuse_twin()
        self.record = self._judge(self._errors)
        _show(self.record)

    def equal(
        self,
        value: Any,
        expected: Any,
        wrong: Any = None,
        *,
        control: Pair | None = None,
        rows: bool = False,
    ) -> None:
        """File a case of an exact claim: value = expected.

        Args:
            value: What was computed; a number, an array or a tensor.
            expected: What the statement says, of the same shape.
            wrong: What the wrong version says about the same value, of the same shape.
            control: Instead of `wrong`, a value and an expectation of its own, by the same code: another
                flow, an assumption violated.
            rows: Whether each entry along the first dimension is a case of its own.

        Raises:
            ValueError: If shapes differ, or not exactly one of `wrong` and `control` is given.
        """
        self._expect("exact")
        twin = _twin(value, wrong, control)
        if rows:
            for statement, other in zip(_split(value, expected), _split(*twin), strict=True):
                self._file(relative_error(*statement), relative_error(*other))
        else:
            self._file(relative_error(*_tensors(value, expected)), relative_error(*_tensors(*twin)))

    def bound(self, left: Any, right: Any, wrong: Any = None, *, control: Pair | None = None) -> None:
        """File a case of a bound: left ≤ right, entry by entry.

        Args:
            left: The smaller side; a number, an array or a tensor.
            right: The larger side.
            wrong: A right side that is too small: the nearest sharper statement.
            control: Instead of `wrong`, a left and a right side of their own, by the same code.

        Raises:
            ValueError: As for `equal`.
        """
        self._expect("bound")
        a, b = _tensors(left, right)
        ratios = (a / b)[b > 0]
        self._tightness += [float(ratios.max())] if ratios.numel() else []
        self._file(_excess(a, b), _excess(*_tensors(*_twin(left, wrong, control))))

    def sample(
        self, estimate: Any, expected: Any, deviation: Any, wrong: Any, *, effect: float | None = None
    ) -> None:
        """File a case of a sampled claim: an estimate within its sampling error of what is expected.

        Args:
            estimate: The estimate; a number or an array.
            expected: What the statement says.
            deviation: Standard error of the estimate, > 0.
            wrong: What the wrong version says.
            effect: Size of the effect that the claim is about; `expected` itself if not given.

        Raises:
            ValueError: If shapes differ, or a standard error is not positive.
        """
        self._expect("sampled")
        value, right, error = _tensors(estimate, expected, deviation)
        if not bool((error > 0).all()):
            raise ValueError(f"deviation must be positive, got {error.min()}")
        size = abs(effect) if effect is not None else float(right.abs().min())
        self._powers.append(self._claim.tolerance * float(error.max()) / size if size else math.inf)
        distances = [float(((value - other).abs() / error).max()) for other in _tensors(right, wrong)]
        self._file(*distances)

    def slope(self, slope: float, expected: float, *, control: float) -> None:
        """File a case of a slope.

        Args:
            slope: The measured log–log slope.
            expected: What the statement says.
            control: The slope of the wrong version, measured by the same code.
        """
        self._expect("slope")
        self._file(abs(float(slope) - expected), abs(float(control) - expected))

    def interval(self, interval: Pair, within: Pair, *, control: Pair) -> None:
        """File a case of a claim about a table: an interval that lies within a region, and one that does not.

        Args:
            interval: Lower and upper end of the confidence interval.
            within: The region in which the claim is true; its ends may be infinite.
            control: The interval by the same code where the claim is wrong: signs flipped, labels permuted.

        Raises:
            ValueError: If an interval ends before it begins.
        """
        self._expect("interval")
        self._file(_outside(interval, within), _outside(control, within))

    def breaks(self, value: Any, expected: Any, *, restored: Pair) -> None:
        """File a case outside the assumptions: value ≠ expected; and one inside them, by the same code.

        Args:
            value: What was computed where the assumption does not hold.
            expected: What the theorem would say.
            restored: Value and expectation where it holds; they have to agree to 1e-9.

        Raises:
            ValueError: If shapes differ.
        """
        self._expect("fails")
        self._file(relative_error(*_tensors(value, expected)), relative_error(*_tensors(*restored)))

    def _expect(self, kind: Kind) -> None:
        if self._claim.kind != kind:
            raise ValueError(
                f"claim {self._claim.id} is of kind {self._claim.kind!r}, got a case of {kind!r}"
            )

    def _file(self, error: float, control: float) -> None:
        self._errors.append((error, control))

    def _refuse_twin(self) -> None:
        """Put the wrong version in the statement's place; it is an error if it passes."""
        try:
            self._judge([pair[::-1] for pair in self._errors])
        except CheckError:
            return
        raise RuntimeError(f"the wrong version of {self._claim.id} passes: {self._claim.control}")

    def _judge(self, errors: Sequence[tuple[float, float]]) -> Record:
        claim, kind = self._claim, self._claim.kind
        judged = _broken(errors, claim) if kind == "fails" else _held(errors, claim)
        extra = {
            "tightness": max(self._tightness, default=None) if kind == "bound" else None,
            "power": max(self._powers, default=math.inf) if kind == "sampled" else None,
            "of": len(errors) if kind == "fails" else None,
        }
        fault = judged.fault
        if not fault and extra["power"] is not None and extra["power"] > POWER:
            fault = f"it would not have noticed {POWER:.0%} of its effect, only {extra['power']:.0%}"
        if fault:
            raise CheckError(
                f"{claim.id} failed: {claim.what}. {fault}. Statement: {self._theorem.statement}"
            )
        return Record(
            id=claim.id,
            theorem=self._theorem.id,
            chapter=self._theorem.chapter,
            statement=self._theorem.statement,
            checked=claim.what,
            kind=kind,
            status=STATUS[kind],
            error=judged.error,
            tolerance=claim.tolerance,
            reason=claim.reason,
            control=claim.control,
            control_error=judged.control,
            cases=judged.cases,
            empty=len(errors) - judged.cases if kind != "fails" else 0,
            passed=True,
            profile=self._profile,
            seed=self._seed,
            device=self._device,
            versions=_versions(),
            **extra,  # type: ignore[arg-type]
        )


def holds(entry: Mapping[str, Any]) -> bool:
    """Return whether a record, as read from a notebook, says that its check holds and its control fails."""
    try:
        error, tolerance, control = (float(entry[key]) for key in ("error", "tolerance", "control_error"))
        inside = error > tolerance if entry["kind"] == "fails" else error <= tolerance
        refused = control <= _RESTORED if entry["kind"] == "fails" else control > tolerance
        return entry["passed"] is True and inside and refused and int(entry["cases"]) > 0
    except (KeyError, TypeError, ValueError):
        return False


_RESTORED = 1e-9  # what a theorem may be off where its assumption is back


@dataclass(frozen=True)
class _Judgement:
    error: float = math.nan
    control: float = math.nan
    cases: int = 0
    fault: str = ""


def _held(errors: Sequence[tuple[float, float]], claim: Claim) -> _Judgement:
    # every error within tolerance, and cases that tell the statement from its control
    own = [error for error, _ in errors]
    telling = [control for _, control in errors if control > claim.tolerance]
    if not errors:
        return _Judgement(fault="0 cases are no evidence")
    if not all(error <= claim.tolerance for error in own):  # NaN fails
        worst = max(own, key=lambda e: math.inf if math.isnan(e) else e)
        many = sum(not error <= claim.tolerance for error in own)
        return _Judgement(
            fault=f"error {worst:.3e}, tolerance {claim.tolerance:.3e}, in {many} of {len(own)} cases"
        )
    if any(not math.isfinite(control) for _, control in errors):
        return _Judgement(fault=f"its control, {claim.control}, gives a number that is not finite")
    if not telling:
        largest = max(control for _, control in errors)
        return _Judgement(
            fault=f"its control passes in all {len(errors)} cases: {claim.control}, error {largest:.3e}"
        )
    return _Judgement(max(own), median(telling), len(telling))


def _broken(errors: Sequence[tuple[float, float]], claim: Claim) -> _Judgement:
    # cases beyond the tolerance, and none once the assumption is back
    own = [error for error, _ in errors]
    restored = max((control for _, control in errors), default=math.nan)
    if not own:
        return _Judgement(fault="0 cases are no evidence")
    if not all(map(math.isfinite, own)):
        return _Judgement(fault="an error is no finite number")
    if not restored <= _RESTORED:
        return _Judgement(fault=f"its control fails as well: {claim.control}, error {restored:.3e}")
    broken = [error for error in own if error > claim.tolerance]
    if not broken or len(broken) < claim.share * len(own):
        return _Judgement(
            fault=f"error {min(own):.3e} must exceed {claim.tolerance:.3e} in "
            f"{claim.share:.0%} of {len(own)} cases, does in {len(broken)}"
        )
    return _Judgement(min(broken), restored, len(broken))


def _tensors(*values: Any) -> tuple[Tensor, ...]:
    """Return numbers, arrays and tensors in float64 on the CPU, numbers in the shape of the others."""
    import torch

    found = [torch.as_tensor(value, dtype=torch.float64).detach().cpu() for value in values]
    shape = max((t.shape for t in found), key=len)
    return tuple(t.expand(shape) if t.ndim == 0 else t for t in found)


def _split(value: Any, expected: Any) -> list[tuple[Tensor, ...]]:
    return list(zip(*_tensors(value, expected), strict=True))


def _twin(value: Any, wrong: Any, control: Pair | None) -> Pair:
    if (wrong is None) == (control is None):
        raise ValueError("give exactly one of wrong and control")
    return (value, wrong) if control is None else control


def _excess(left: Tensor, right: Tensor) -> float:
    """Return by how much left exceeds right, in the book's measure of error."""
    return relative_error(left.maximum(right), right)


def _outside(interval: Pair, region: Pair) -> float:
    """Return how far an interval sticks out of a region."""
    (low, high), (least, most) = ((float(a), float(b)) for a, b in (interval, region))
    if not low <= high:
        raise ValueError(f"interval must not end before it begins, got ({low}, {high})")
    return max(least - low, high - most, 0.0)


def _claim_of(claim_id: str, chapter: str) -> tuple[Theorem, Claim]:
    if claim_id not in claims():
        raise ValueError(f"claim must be one of theorems/*.toml, got {claim_id!r}")
    theorem, claim = claims()[claim_id]
    if theorem.chapter != chapter:
        raise ValueError(f"claim {claim_id} belongs to chapter {theorem.chapter!r}, got {chapter!r}")
    if not claim.control:
        raise ValueError(f"claim {claim_id} names no control in theorems/{chapter}.toml: say what must fail")
    return theorem, claim


@cache
def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "numpy")}
    return {"python": platform.python_version(), "ssl-theory": ssl_theory.__version__, **packages}


def told(record: Mapping[str, Any]) -> str:
    """Return the numbers of a record in words: error, control, cases."""
    if record["kind"] == "fails":
        of = f" in {record['cases']} of {record['of']} cases" if record["of"] > 1 else ""
        line = f"Off by {record['error']:.1e} or more{of}; {record['control']}: {record['control_error']:.1e}"
        return f"{line} ({record['status']})."
    unit = " standard errors" if record["kind"] == "sampled" else ""
    line = f"Error {record['error']:.1e} ≤ {record['tolerance']:.0e}{unit}; "
    line += f"{record['control']}: {record['control_error']:.1e}"
    cases = f"{record['cases']:,} case{'' if record['cases'] == 1 else 's'}"
    return f"{line}. {', '.join([cases, *evidence(record)])} ({record['status']})."


def evidence(record: Mapping[str, Any]) -> list[str]:
    """Return in words how many cases told nothing, how tight a bound was, how small an effect would show.

    Args:
        record: A record, or an entry of the ledger.
    """
    parts = []
    if record["empty"]:
        parts.append(f"{record['empty']:,} more tell{'s' if record['empty'] == 1 else ''} nothing")
    if record["tightness"] is not None:
        parts.append(f"left side at most {record['tightness']:.2g} of the right")
    if record["power"] is not None:
        parts.append(f"would notice {100 * record['power']:.0f}\u00a0% of the effect")
    return parts


def _show(record: Record) -> None:
    """Show the record under the cell; its data go along under the type `MIME`."""
    from IPython.display import display

    line = f"{record.id}: {record.checked}. {told(asdict(record))}"
    data: dict[str, Any] = {
        "text/plain": f"✓ {line}",
        "text/html": f'<p class="check"><span class="check-mark" aria-hidden="true">✓</span> '
        f"{html.escape(line)}</p>",
        MIME: asdict(record),
    }
    display(data, raw=True)
