"""The theorems as data, and the record of every check (the ledger).

A theorem and what is claimed to be checked about it stand in theorems/<chapter>.toml. A chapter records
what it measured through `Checks`; the record travels with the output of the cell, so that an executed
notebook carries its own evidence. A check that fails raises `CheckError` and stops the chapter.
"""

from __future__ import annotations

import html
import math
import platform
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # the command line reads theorems without importing torch
    from torch import Tensor

MIME = "application/vnd.ssl-theory.check+json"

Kind = Literal["exact", "sampled", "slope", "fails"]
Relation = Literal["restates", "sharpens", "extends"]

STATUS: dict[Kind, str] = {
    "exact": "exact",
    "sampled": "within sampling error",
    "slope": "measured slope",
    "fails": "fails as predicted outside its assumptions",
}


class CheckError(AssertionError):
    """A claim of the book that did not hold in this run."""


@dataclass(frozen=True)
class Claim:
    """One checkable consequence of a theorem: its id, what is compared, and by which kind of evidence."""

    id: str
    what: str
    kind: Kind


@dataclass(frozen=True)
class Theorem:
    """A numbered statement of the book.

    `relation` says whether it restates, sharpens or extends the paper's claim, `paper` where the paper
    makes it, in words; `uses` names the theorems, by id, that its proof rests on.
    """

    id: str
    title: str
    chapter: str
    statement: str
    assumptions: tuple[str, ...]
    relation: Relation
    paper: str
    claims: tuple[Claim, ...]
    uses: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The label of its statement in the chapter."""
        return self.id.lower().replace(".", "-")


@dataclass(frozen=True)
class Record:
    """What one check found, with all that is needed to find it again."""

    id: str
    theorem: str
    chapter: str
    statement: str
    checked: str
    status: str
    error: float
    tolerance: float
    cases: int
    passed: bool
    profile: str
    seed: int
    device: str
    versions: Mapping[str, str]


@cache
def theorems() -> dict[str, Theorem]:
    """Return all theorems by id, file by file.

    Raises:
        ValueError: If an id is used twice, or a kind or relation is unknown.
    """
    folder = resources.files("ssl_theory") / "theorems"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    texts = [f.read_text(encoding="utf-8") for f in files]
    table: dict[str, Theorem] = {}
    for entry in [entry for text in texts for entry in tomllib.loads(text)["theorem"]]:
        claims = tuple(Claim(**claim) for claim in entry.pop("claims"))
        lists = {key: tuple(entry.get(key, ())) for key in ("assumptions", "uses")}
        theorem = Theorem(**{**entry, **lists}, claims=claims)
        if theorem.relation not in ("restates", "sharpens", "extends"):
            raise ValueError(f"theorem {theorem.id}: unknown relation {theorem.relation!r}")
        for claim in claims:
            if claim.kind not in STATUS:
                raise ValueError(f"claim {claim.id}: unknown kind {claim.kind!r}")
        if theorem.id in table:
            raise ValueError(f"theorem {theorem.id} stands twice")
        table[theorem.id] = theorem
    return table


def dependencies() -> dict[str, tuple[str, ...]]:
    """Return what each theorem uses, by id, every theorem after those that it uses.

    Raises:
        ValueError: If a theorem uses one that does not exist, or itself by a detour.
    """
    table = theorems()
    graph = {theorem.id: theorem.uses for theorem in table.values()}
    unknown = [f"{user} uses {used}" for user, uses in graph.items() for used in uses if used not in table]
    if unknown:
        raise ValueError(f"theorems that do not exist are used: {', '.join(unknown)}")
    try:
        return {name: graph[name] for name in TopologicalSorter(graph).static_order()}
    except CycleError as error:
        raise ValueError(f"theorems use each other in a circle: {' → '.join(error.args[1])}") from error


@cache
def claims() -> dict[str, tuple[Theorem, Claim]]:
    """Return all claims by id, each with its theorem.

    Raises:
        ValueError: If an id is used twice.
    """
    pairs = [(theorem, claim) for theorem in theorems().values() for claim in theorem.claims]
    table = {claim.id: (theorem, claim) for theorem, claim in pairs}
    if len(table) < len(pairs):
        ids = [claim.id for _, claim in pairs]
        raise ValueError(f"claims stand twice: {sorted({i for i in ids if ids.count(i) > 1})}")
    return table


def relative_error(value: Tensor, expected: Tensor) -> float:
    """Return max|value − expected| / max(1, max|expected|), the book's one measure of error.

    Args:
        value: Any shape.
        expected: The same shape.

    Returns:
        The error; 0 for empty tensors, NaN if any entry is NaN.

    Raises:
        ValueError: If the shapes differ.
    """
    if value.shape != expected.shape:
        raise ValueError(
            f"value must have the shape of expected, {tuple(expected.shape)}, got {tuple(value.shape)}"
        )
    if expected.numel() == 0:
        return 0.0
    scale = max(1.0, float(expected.detach().abs().max()))
    return float((value.detach() - expected.detach()).abs().max()) / scale


class Checks:
    """Records the checks of one chapter.

    Args:
        chapter: The chapter's name, its file's stem.
        profile: "quick" or "paper".
        seed: The seed that all cases derive from.
        device: The device of the computation.
    """

    def __init__(self, chapter: str, *, profile: str, seed: int, device: str = "cpu") -> None:
        self.chapter, self.profile, self.seed, self.device = chapter, profile, seed, device
        self.records: list[Record] = []

    def exact(self, claim: str, error: float, tolerance: float = 1e-12, cases: int = 1) -> Record:
        """Record that two computations agree: passed if error ≤ tolerance.

        Args:
            claim: Id of the claim in theorems/<chapter>.toml.
            error: Largest relative error over all cases.
            tolerance: What float64 arithmetic allows.
            cases: How many independent cases were compared.

        Returns:
            The record.

        Raises:
            CheckError: If the check fails.
            ValueError: If the chapter claims no such check, or the error is negative.
        """
        return self._record("exact", claim, error, tolerance, cases, passed=error <= tolerance)

    def sampled(self, claim: str, deviation: float, tolerance: float = 6.0, cases: int = 1) -> Record:
        """Return the record of an estimate within `tolerance` standard errors; `deviation` is |z|."""
        return self._record("sampled", claim, deviation, tolerance, cases, passed=deviation <= tolerance)

    def slope(
        self, claim: str, slope: float, *, expected: float, tolerance: float = 0.05, cases: int = 1
    ) -> Record:
        """Return the record of a log–log slope that is `expected` ± `tolerance`; see `exact`."""
        error = abs(slope - expected)
        return self._record("slope", claim, error, tolerance, cases, passed=error <= tolerance)

    def fails(self, claim: str, error: float, *, exceeds: float, cases: int = 1) -> Record:
        """Return the record of a theorem that breaks where it should: passed if error > exceeds.

        `error` is the smallest over the cases, so that every one of them breaks the theorem.
        """
        return self._record("fails", claim, error, exceeds, cases, passed=error > exceeds)

    def _record(
        self, kind: Kind, claim_id: str, error: float, tolerance: float, cases: int, *, passed: bool
    ) -> Record:
        theorem, claim = _claim_of(claim_id, kind, self.chapter)
        if error < 0:
            raise ValueError(f"error of {claim_id} must be at least 0, got {error}")
        record = Record(
            id=claim.id,
            theorem=theorem.id,
            chapter=self.chapter,
            statement=theorem.statement,
            checked=claim.what,
            status=STATUS[kind],
            error=float(error),
            tolerance=float(tolerance),
            cases=int(cases),
            passed=bool(passed) and math.isfinite(error) and cases > 0,
            profile=self.profile,
            seed=self.seed,
            device=self.device,
            versions=_versions(),
        )
        if not record.passed:
            raise CheckError(
                f"{record.id} failed: {record.checked}. error {record.error:.3e}, "
                f"{'must exceed' if kind == 'fails' else 'tolerance'} {record.tolerance:.3e}, "
                f"{record.cases} cases. Statement: {theorem.statement}"
            )
        self.records.append(record)
        _show(record)
        return record


def _claim_of(claim_id: str, kind: Kind, chapter: str) -> tuple[Theorem, Claim]:
    if claim_id not in claims():
        raise ValueError(f"claim must be one of theorems/*.toml, got {claim_id!r}")
    theorem, claim = claims()[claim_id]
    if theorem.chapter != chapter:
        raise ValueError(f"claim {claim_id} belongs to chapter {theorem.chapter!r}, got {chapter!r}")
    if claim.kind != kind:
        raise ValueError(f"claim {claim_id} is of kind {claim.kind!r}, got {kind!r}")
    return theorem, claim


@cache
def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("ssl-theory", "torch", "numpy")}
    return {"python": platform.python_version(), **packages}


def _show(record: Record) -> None:
    """Show the record under the cell; its data go along under the type `MIME`."""
    from IPython.display import display

    sign = ">" if record.status == STATUS["fails"] else "≤"
    line = f"{record.id}: {record.checked}. Error {record.error:.1e} {sign} {record.tolerance:.1e}"
    line += f", {record.cases} {'case' if record.cases == 1 else 'cases'} ({record.status})."
    data: dict[str, Any] = {
        "text/plain": f"✓ {line}",
        "text/html": f'<p class="check"><span class="check-mark" aria-hidden="true">✓</span> '
        f"{html.escape(line)}</p>",
        MIME: asdict(record),
    }
    display(data, raw=True)
