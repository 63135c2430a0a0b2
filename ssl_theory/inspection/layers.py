"""What a loss does to the weights of one layer, and how much of it the covariance operator explains (T12)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.inspection.actions import Action, Form
from ssl_theory.inspection.estimates import Estimate, jackknife, over_objects
from ssl_theory.inspection.outputs import unbiased_variances
from ssl_theory.losses import SimpleContrastive
from ssl_theory.networks import unvec, vec
from ssl_theory.operators import Eigenpairs, WeightOperator, cosine, overlap, random_target
from ssl_theory.operators.linearised import Linearised
from ssl_theory.operators.pairs import Part, form_of

__all__ = ["Against", "LayerReport", "Plan", "measure_layer"]

CANDIDATES = ("exact", "leading", "mixed")
NULLS: tuple[Literal["object"], Literal["view"]] = ("object", "view")


@dataclass(frozen=True, eq=False)
class Plan:
    """What is measured alike in every layer.

    Attributes:
        action: What the loss asks of the outputs.
        without: For each group of objects that is left out: the others, and what the loss asks of them.
        directions: How many leading directions.
        probes: How many random changes of the weights estimate traces.
        nulls: How many random targets of each kind.
        seed: Of probes and targets.
    """

    action: Action
    without: Sequence[tuple[Tensor, Action]]
    directions: int
    probes: int
    nulls: int
    seed: int

    @property
    def kept(self) -> list[Tensor]:
        """The objects that are left without each group."""
        return [kept for kept, _ in self.without]


@dataclass(frozen=True)
class Against:
    """How a predicted step of a layer compares with the step −∇L.

    Attributes:
        cosine: Of the angle between the two; NaN if one vanishes.
        length: Of the prediction over that of −∇L.
        null_object: Root mean square cosine of the prediction with steps that random targets for objects ask.
        null_view: The same for random targets for every view.
    """

    cosine: Estimate
    length: Estimate
    null_object: float
    null_view: float


@dataclass(frozen=True, eq=False)
class LayerReport:
    """What was measured of one layer; see `inspect`.

    Attributes:
        name: The layer, as `operator_layers` names it.
        weight: W as a matrix, shape (n_l, n_k).
        shape: Of the weight in the module.
        between: Leading eigenvalues and directions of V_x[K̄] of the view set.
        within: Those of E_x V_aug[K].
        exact: Those of the operator of the loss; None if it has none.
        between_corrected: Eigenvalues of `between` in its directions without what finitely many views leave.
        between_trace: tr V_x[K̄], unbiased.
        within_trace: E_x tr V_aug[K], unbiased.
        view_bias: Share of the trace of the view set's between operator that is variance within objects.
        participation: (tr B)²/tr B² of the between operator B: as many equal eigenvalues.
        step: ‖∇L‖.
        against: By prediction: "exact", 2 OP·vec W; "leading", the same with the leading part; "mixed", the
            covariance ½ Σ ξ̄ Cov(ΔK̄, Δf̄), twice, which needs no bias-free network.
        residue: ‖ρ‖²/(‖ρ‖² + ‖m‖²), m the mixed covariance and ρ the rest of −∇L.
        shares: Of "gradient", "weight" and the nulls "object" and "view", the share in the directions of
            `between`.
    """

    name: str
    weight: Float[Tensor, "n_l n_k"]
    shape: tuple[int, ...]
    between: Eigenpairs
    within: Eigenpairs
    exact: Eigenpairs | None
    between_corrected: Float[Tensor, " k"]
    between_trace: Estimate
    within_trace: Estimate
    view_bias: float
    participation: float
    step: float
    against: Mapping[str, Against]
    residue: Estimate
    shares: Mapping[str, float]

    def row(self) -> dict[str, str | float]:
        """Return all numbers by name, eigenvalues only the largest; standard errors end in _se."""
        rows, columns = self.weight.shape
        found: dict[str, str | float] = {"layer": self.name, "rows": rows, "columns": columns}
        found |= {"step": self.step}
        for name, against in self.against.items():
            found |= _with_error(f"cos_{name}", against.cosine) | _with_error(
                f"length_{name}", against.length
            )
            found |= {f"null_object_{name}": against.null_object, f"null_view_{name}": against.null_view}
        found |= _with_error("residue", self.residue)
        found |= {f"share_{name}": share for name, share in self.shares.items()}
        found |= _with_error("V_x", self.between_trace) | _with_error("V_a", self.within_trace)
        found |= {"view_bias": self.view_bias, "participation": self.participation}
        for name in ("between", "within", "exact"):
            pairs: Eigenpairs | None = getattr(self, name)
            found[f"top_{name}"] = math.nan if pairs is None else float(pairs.values[0])
        return found


def measure_layer(name: str, shape: tuple[int, ...], layer: Linearised, plan: Plan) -> LayerReport:
    """Return what a loss does to one layer.

    Args:
        name: Of the layer.
        shape: Of its weight in the module.
        layer: The layer, linearised.
        plan: What to measure.

    Returns:
        The report.

    Raises:
        ValueError: If a product is not finite.
    """
    rows, columns = layer.weight.shape
    k = min(plan.directions, rows * columns)
    between, within = (layer.operator(_form(part, layer)) for part in ("between", "within"))
    tops = between.top(k), within.top(k)
    exact = None if plan.action.exact is None else layer.operator(plan.action.exact).top(k)
    inside = torch.stack([layer.push(direction) for direction in tops[0].vectors])
    traces = _traces(layer, plan)
    steps = _Steps(layer, layer.push(layer.weight))
    nulls = _null_steps(layer, plan)
    return LayerReport(
        name=name,
        weight=layer.weight,
        shape=shape,
        between=tops[0],
        within=tops[1],
        exact=exact,
        between_corrected=_corrected(tops[0].values, inside),
        between_trace=traces[0],
        within_trace=traces[1],
        view_bias=_view_bias(traces[0].value, traces[1].value, *layer.outputs.shape[:2]),
        participation=_participation(between, tops[0], plan),
        step=float(steps.step(plan.action).norm()),
        against=_against(steps, plan, nulls),
        residue=_residue(steps, plan),
        shares=_shares(steps.step(plan.action), layer.weight, nulls, tops[0].vectors),
    )


@dataclass(frozen=True, eq=False)
class _Steps:
    """The step of a loss and its predictions, of all objects or of some.

    Attributes:
        layer: The layer.
        pushed: Kᵀ vec(W), shape (N, A, n_L).
    """

    layer: Linearised
    pushed: Tensor

    def step(self, action: Action, kept: Tensor | None = None) -> Tensor:
        return -self._pull(action.slope, kept)

    def predictions(self, action: Action, kept: Tensor | None = None) -> dict[str, Tensor]:
        """Return what 2 OP·vec W, its leading part and the mixed covariance predict; nothing without OP."""
        if action.exact is None or action.leading is None:
            return {}
        return {
            "exact": self._predict(action.exact, self.pushed, kept),
            "leading": self._predict(action.leading, self.pushed, kept),
            "mixed": self._predict(action.leading, self.layer.outputs, kept),
        }

    def _predict(self, form: Form, values: Tensor, kept: Tensor | None) -> Tensor:
        values = values if kept is None else values[kept]
        return 2 * self._pull(form(values.unsqueeze(2)).squeeze(2), kept)

    def _pull(self, targets: Tensor, kept: Tensor | None) -> Tensor:
        if kept is not None:
            targets = torch.zeros_like(self.pushed).index_copy(0, kept, targets)
        return self.layer.pull(targets)


def _form(part: Part, layer: Linearised) -> Form:
    return form_of(part, layer.outputs, SimpleContrastive())


def _against(steps: _Steps, plan: Plan, nulls: Mapping[str, Sequence[Tensor]]) -> dict[str, Against]:
    step, whole = steps.step(plan.action), steps.predictions(plan.action)
    parts = [(steps.step(a, kept), steps.predictions(a, kept)) for kept, a in plan.without]
    found = {}
    for name, asked in whole.items():
        fair = [(s, predicted[name]) for s, predicted in parts if name in predicted]
        found[name] = Against(
            jackknife(_cosine(step, asked), [_cosine(*pair) for pair in fair]),
            jackknife(_length(step, asked), [_length(*pair) for pair in fair]),
            *(_root_mean_square([cosine(asked, null) for null in nulls[kind]]) for kind in NULLS),
        )
    return found


def _residue(steps: _Steps, plan: Plan) -> Estimate:
    def share(action: Action, kept: Tensor | None = None) -> float:
        predicted = steps.predictions(action, kept)
        if not predicted:
            return math.nan
        mixed = predicted["mixed"]
        rest = (steps.step(action, kept) - mixed).square().sum()
        total = rest + mixed.square().sum()
        return float(rest / total) if total > 0 else math.nan

    return jackknife(share(plan.action), [share(action, kept) for kept, action in plan.without])


def _shares(
    step: Tensor, weight: Tensor, nulls: Mapping[str, Sequence[Tensor]], basis: Tensor
) -> dict[str, float]:
    found = {"gradient": overlap(step, basis), "weight": overlap(weight, basis)}
    return found | {kind: _mean([overlap(null, basis) for null in steps]) for kind, steps in nulls.items()}


def _null_steps(layer: Linearised, plan: Plan) -> dict[str, list[Tensor]]:
    """Return steps in the span of the connections that know nothing of the loss: Σ_u K_u g_u, g random."""
    g = torch.Generator().manual_seed(plan.seed)
    return {
        kind: [layer.pull(random_target(layer.outputs, kind, g)) for _ in range(plan.nulls)] for kind in NULLS
    }


def _traces(layer: Linearised, plan: Plan) -> tuple[Estimate, Estimate]:
    """Return unbiased estimates of tr V_x[K̄] and E_x tr V_aug[K].

    E over random signs V of ‖Kᵀ vec V‖² is ‖K‖²; few weights are all taken instead.
    """
    size = layer.weight.numel()
    every = size <= plan.probes
    probes = _identity(layer.weight) if every else _signs(layer.weight, plan.probes, plan.seed)
    changes = torch.cat([layer.push(probe) for probe in probes], -1)
    changes = changes if every else changes / math.sqrt(plan.probes)
    between = over_objects(lambda values: unbiased_variances(values)[0], changes, plan.kept)
    return between, over_objects(lambda values: unbiased_variances(values)[1], changes, plan.kept)


def _participation(operator: WeightOperator, top: Eigenpairs, plan: Plan) -> float:
    """Return (tr B)²/tr B²: leading eigenvalues exactly, the rest by Hutchinson's estimator."""
    columns = vec(top.vectors).mT
    known = torch.stack([top.values.sum(), top.values.square().sum()]).double()
    rest = torch.zeros_like(known)
    size = operator.shape[0]
    if len(top.values) < size:
        every = size <= plan.probes
        changes = _identity(top.vectors[0]) if every else _signs(top.vectors[0], plan.probes, plan.seed + 1)
        probes = vec(changes).mT
        probes = probes - columns @ (columns.mT @ probes)
        images = operator @ probes
        rest = torch.stack([(probes * images).sum(), images.square().sum()]).double()
        rest = rest if every else rest / plan.probes
    trace, square = (known + rest).tolist()
    return trace**2 / square if square > 0 else 0.0


def _corrected(values: Tensor, inside: Float[Tensor, "k N A n_L"]) -> Tensor:
    """Return unbiased quadratic forms of V_x[K̄] in the directions of the view set's own operator."""
    n, a = inside.shape[1:3]
    within = inside.var(2).sum(-1).mean(1) if a > 1 else torch.zeros_like(values)
    return values * n / (n - 1) - within / a


def _view_bias(between: float, within: float, n: int, a: int) -> float:
    """Return V_a/A over V_x + V_a/A: what the views leave in the trace of V_x[K̄] of a view set."""
    left = within / a
    return left / (between + left) if between + left > 0 else math.nan


def _identity(weight: Tensor) -> Tensor:
    return unvec(torch.eye(weight.numel(), dtype=weight.dtype, device=weight.device), len(weight))


def _signs(weight: Tensor, count: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return (torch.randint(0, 2, (count, *weight.shape), generator=g) * 2 - 1).to(weight)


def _cosine(step: Tensor, asked: Tensor) -> float:
    """Return the cosine of the angle between two steps; NaN if one is nothing beside the other."""
    small = 100 * torch.finfo(step.dtype).eps
    a, b = float(step.norm()), float(asked.norm())
    return cosine(step, asked) if min(a, b) > small * max(a, b) else math.nan


def _length(step: Tensor, asked: Tensor) -> float:
    size = float(step.norm())
    return float(asked.norm()) / size if size > 0 else math.nan


def _root_mean_square(numbers: Sequence[float]) -> float:
    return math.sqrt(_mean([number**2 for number in numbers]))


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _with_error(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_se": estimate.error}
