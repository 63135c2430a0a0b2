"""The theorems as data: statements, assumptions, and what is claimed to be checked about them.

Each chapter has a file <chapter>.toml. A claim names its control: the nearest wrong version of the statement,
which the same check must refuse.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from typing import Literal, get_args

__all__ = ["KINDS", "Claim", "Kind", "Relation", "Theorem", "claims", "dependencies", "theorems"]

Kind = Literal["exact", "bound", "sampled", "slope", "interval", "fails"]
Relation = Literal["restates", "sharpens", "extends"]

KINDS: tuple[Kind, ...] = get_args(Kind)
TOLERANCE: dict[Kind, float] = {
    "exact": 1e-12,  # what float64 leaves of two computations of one number
    "bound": 1e-12,
    "sampled": 6.0,  # standard errors
    "slope": 0.05,
    "interval": 0.0,  # an interval lies in the stated region or it does not
    "fails": 0.01,  # the least error that counts as broken
}


@dataclass(frozen=True)
class Claim:
    """One checkable consequence of a theorem.

    Attributes:
        id: Its name, such as "T3.operator".
        what: What is compared, in words.
        kind: By which kind of evidence.
        control: The wrong version that the same check must refuse, in words; for "fails" the case in which
            the assumption holds and the theorem is back.
        tolerance: The largest error that holds; for "fails" the error that every case must exceed.
        reason: Why the tolerance is not the one of its kind.
        share: For "fails": the share of the cases that must break, 1 if all.
    """

    id: str
    what: str
    kind: Kind
    control: str = ""
    tolerance: float = float("nan")
    reason: str = ""
    share: float = 1.0


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


@cache
def theorems() -> dict[str, Theorem]:
    """Return all theorems by id, file by file.

    Raises:
        ValueError: If a file is no TOML, an id is used twice, a kind or relation is unknown, or a tolerance
            that is not its kind's has no reason.
    """
    files = [f for f in (resources.files("ssl_theory") / "theorems").iterdir() if f.name.endswith(".toml")]
    table: dict[str, Theorem] = {}
    for file in sorted(files, key=lambda f: f.name):
        try:
            entries = list(tomllib.loads(file.read_text(encoding="utf-8"))["theorem"])
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"theorems/{file.name} does not hold theorems: {error}") from error
        for entry in entries:
            try:
                theorem = _theorem(entry)
            except (KeyError, TypeError, AttributeError) as error:  # a field is missing, or not known
                raise ValueError(f"theorems/{file.name} holds a damaged theorem: {error}") from error
            if theorem.id in table:
                raise ValueError(f"theorem {theorem.id} stands twice")
            table[theorem.id] = theorem
    return table


def _theorem(entry: dict[str, object]) -> Theorem:
    fields = dict(entry)
    own: list[dict[str, object]] = fields.pop("claims")  # type: ignore[assignment]
    lists: dict[str, tuple[str, ...]] = {key: tuple(fields.get(key, ())) for key in ("assumptions", "uses")}  # type: ignore[arg-type]
    theorem = Theorem(**{**fields, **lists}, claims=tuple(map(_claim, own)))  # type: ignore[arg-type]
    if theorem.relation not in get_args(Relation):
        raise ValueError(f"theorem {theorem.id}: unknown relation {theorem.relation!r}")
    return theorem


def _claim(entry: dict[str, object]) -> Claim:
    kind = entry["kind"]
    if kind not in TOLERANCE:
        raise ValueError(f"claim {entry['id']}: unknown kind {kind!r}, allowed are {', '.join(TOLERANCE)}")
    usual = TOLERANCE[kind]
    claim = Claim(**{"tolerance": usual, **entry})  # type: ignore[arg-type]
    if kind != "fails" and claim.tolerance != usual and not claim.reason:
        raise ValueError(
            f"claim {claim.id}: tolerance {claim.tolerance:g} of a check of kind {kind!r} needs a reason; "
            f"without one it is {usual:g}"
        )
    return claim


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
