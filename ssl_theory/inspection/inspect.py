"""Your encoder, your views: what does your loss do to your weights (T5, T12, T13)?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssl_theory.inspection.actions import Action, Loss, act, on_sphere, slope_of
from ssl_theory.inspection.advice import advise
from ssl_theory.inspection.estimates import Estimate, groups_of, jackknife, over_objects
from ssl_theory.inspection.layers import Against, LayerReport, Plan, measure_layer
from ssl_theory.inspection.outputs import (
    alpha_req,
    effective_rank,
    lidar,
    negatives_in_use,
    overlap_of_distances,
    pair_distances,
    rankme,
    unbiased_variances,
)
from ssl_theory.losses import augmentation_temperature
from ssl_theory.operators import linearise, operator_layers, refused_layers
from ssl_theory.operators.interface import MEMORY_LIMIT
from ssl_theory.operators.modules import Mode
from ssl_theory.validation import require_finite, require_integer, require_one_of, require_real

__all__ = ["Inspection", "inspect", "measure_outputs"]

Progress = Callable[[str, int, int], None]
HALF = (torch.bfloat16, torch.float16)
SMALL = 2**16  # weights of a layer


@dataclass(frozen=True, eq=False)
class Inspection:
    """What was found; see `inspect`.

    Attributes:
        outputs: Measures of the outputs, by name; see `measure_outputs`.
        layers: Measures of each layer, by name.
        refused: Layers with weights that have no operator or could not be measured, with the reason.
        notes: What was done that the numbers depend on.
        advice: One sentence each.
        setting: Numbers of objects, views and outputs, temperature and mode.
        complete: False if it was interrupted before the last layer.
    """

    outputs: Mapping[str, Estimate]
    layers: Mapping[str, LayerReport]
    refused: Mapping[str, str]
    notes: Sequence[str]
    advice: Sequence[str]
    setting: Mapping[str, str | float | int | None]
    complete: bool = True

    def table(self) -> pd.DataFrame:
        """Return a row for each layer that has an operator, as `LayerReport.row` gives it."""
        return pd.DataFrame([layer.row() for layer in self.layers.values()])

    def __str__(self) -> str:
        lines = [f"{name:16} {_shown(estimate)}" for name, estimate in self.outputs.items()]
        for name, layer in self.layers.items():
            found = ", ".join(f"{n} {_cosine_shown(a)}" for n, a in layer.against.items())
            lines.append(f"{name}: cosine with the step: {found or 'no operator of the loss'}")
        lines += [f"{name}: {reason}" for name, reason in self.refused.items()]
        return "\n".join([*lines, *self.notes, *self.advice])


def inspect(
    model: nn.Module,
    views: Shaped[Tensor, "N A *input"] | Iterable[Tensor],
    *,
    loss: Loss,
    layers: Sequence[str] | None = None,
    mode: Mode = "batch",
    directions: int = 20,
    negatives: int = 1,
    temperature: float | None = None,
    splits: int = 8,
    probes: int = 32,
    nulls: int = 8,
    seed: int = 0,
    memory_limit: int = MEMORY_LIMIT,
    progress: Progress | None = None,
) -> Inspection:
    """Return what a loss does to the weights of a model on some views, and what its outputs are worth.

    Layers that have no operator, or fail, are named with the reason and the rest goes on. Ctrl-C ends the
    measurement and returns what is done. Standard errors are between objects: the numbers are taken again
    without each of `splits` groups, with BatchNorm's statistics of all views.

    Args:
        model: Any module from a batch of views to a batch of outputs, encoder with or without projector; it
            is not changed. Half precision is computed in float32.
        views: A ≥ 2 views of each of N ≥ 2 objects, shape (N, A, ...), or several such batches, which are
            put together; they are brought to the device of the model.
        loss: A loss of the library, an `OutputLoss`, or a function of outputs (N, A, n_L) -> scalar; for a
            loss of two views, `over_pairs(loss)`.
        layers: Names as `operator_layers` gives them; None for all.
        mode: "batch" for BatchNorm with the statistics of all views, as in training, "eval" for its own.
        directions: How many leading eigenvalues and directions of each operator.
        negatives: H of a loss of the library.
        temperature: τ, in which distances are told; None for that of the loss, or 1 if it has none.
        splits: Into how many groups objects are split for standard errors.
        probes: Random changes of the weights from which traces are estimated; layers with no more weights
            are taken exactly.
        nulls: Random targets of each kind.
        seed: Of probes and targets.
        memory_limit: As for `operator`.
        progress: Called with the name of each layer before it is measured, its index and how many there are.

    Returns:
        The measures, with standard errors, notes and advice.

    Raises:
        TypeError: If an argument is of the wrong type, or the views have another dtype than the weights.
        ValueError: If there are fewer than two objects or views, views do not fit together or into the model,
            a layer is not there, a number is out of range, or the loss is no finite, differentiable scalar.

    Example:
        >>> from ssl_theory.losses import SimpleContrastive
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))
        >>> found = inspect(model, torch.randn(6, 4, 4), loss=SimpleContrastive(), directions=3)
        >>> [round(layer.against["exact"].cosine.value, 5) for layer in found.layers.values()]
        [1.0, 1.0]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch module, got {type(model).__name__}")
    require_one_of("mode", mode, ("batch", "eval"))
    names = _layers(model, layers)
    views = _placed(_gathered(views), model)
    numbers = {"directions": directions, "probes": probes, "nulls": nulls, "splits": splits}
    for name, number in numbers.items():
        require_integer(name, number, 2 if name == "splits" else 1)
    outputs = _outputs(model, views, names, mode, memory_limit)
    action = act(loss, outputs, negatives)
    kept = [some.to(outputs.device) for some in groups_of(len(outputs), splits)]
    without = [(some, act(loss, outputs[some], negatives)) for some in kept]
    plan = Plan(action, without, directions, probes, nulls, seed)
    tau = _temperature(temperature, loss)
    measured = _measures(outputs, action, without, tau)
    measured["below_rounding"] = _between_objects(_below_rounding(loss, outputs, negatives), outputs.shape[1])
    refused = {} if layers is not None else refused_layers(model)
    found, failed, complete = _each_layer(model, views, names, plan, mode, memory_limit, progress)
    notes = _notes(model, outputs, action, tau, mode)
    n, a, width = outputs.shape
    setting = {"objects": n, "views": a, "outputs": width, "temperature": tau, "mode": mode}
    advice = advise(measured, found, setting)
    return Inspection(measured, found, {**refused, **failed}, notes, advice, setting, complete)


def measure_outputs(
    outputs: Float[Tensor, "N A n_L"],
    loss: Loss,
    *,
    negatives: int = 1,
    temperature: float | None = None,
    splits: int = 8,
) -> dict[str, Estimate]:
    """Return what can be read off the outputs alone, with standard errors between objects.

    Args:
        outputs: Of A ≥ 2 views of each of N ≥ 2 objects.
        loss: As for `inspect`.
        negatives: As for `inspect`.
        temperature: τ; None for 1.
        splits: As for `inspect`.

    Returns:
        "loss"; "rankme", "effective_rank", "alpha_req" of all views; "lidar"; "V_x" and "V_a", unbiased
        traces. Of the outputs as the loss compares them, normalised if it does not see their length:
        "V_a_over_tau"; "own_over_tau", the temperature at which growth stops by the variances, over τ;
        "r_positive" and "r_negative", mean distances over τ; "overlap", the chance that a
        negative is nearer than a positive; "negatives_in_use" of an anchor, and "negatives_share" of those
        there are; "below_rounding", the share of rows whose gradient float32 does not know to half its size.

    Raises:
        TypeError: As for `inspect`.
        ValueError: As for `inspect`.
    """
    splits = require_integer("splits", splits, 2)
    kept = [some.to(outputs.device) for some in groups_of(len(outputs), splits)]
    without = [(some, act(loss, outputs[some], negatives)) for some in kept]
    action = act(loss, outputs, negatives)
    found = _measures(outputs, action, without, _temperature(temperature, loss))
    found["below_rounding"] = _between_objects(_below_rounding(loss, outputs, negatives), outputs.shape[1])
    return found


def _measures(
    outputs: Tensor, action: Action, without: Sequence[tuple[Tensor, Action]], temperature: float | None
) -> dict[str, Estimate]:
    tau = 1.0 if temperature is None else temperature
    kept = [some for some, _ in without]
    compared = on_sphere(outputs, action.slope)
    ranks = {"rankme": rankme, "effective_rank": effective_rank, "alpha_req": alpha_req}
    found = {"loss": jackknife(action.value, [part.value for _, part in without])}
    for name, rank in ranks.items():
        found[name] = over_objects(partial(_of_rows, rank), outputs, kept)
    found["lidar"] = over_objects(lidar, outputs, kept)
    found["V_x"] = over_objects(lambda f: unbiased_variances(f)[0], outputs, kept)
    found["V_a"] = over_objects(lambda f: unbiased_variances(f)[1], outputs, kept)
    found["V_a_over_tau"] = over_objects(lambda f: unbiased_variances(f)[1] / tau, compared, kept)
    found["own_over_tau"] = over_objects(lambda f: _own_temperature(f) / tau, compared, kept)
    positives, others = pair_distances(compared)
    copies = outputs.shape[1]
    found["r_positive"] = _between_objects((positives / tau).mean(1), copies)
    found["r_negative"] = _between_objects((others / tau).mean(1), copies)
    found["overlap"] = over_objects(lambda f: overlap_of_distances(*pair_distances(f)), compared, kept)
    pushes = action.weights()
    used = (
        negatives_in_use(pushes, copies) if pushes is not None else others.new_full((len(others),), math.nan)
    )
    found["negatives_in_use"] = _between_objects(used, copies)
    found["negatives_share"] = _between_objects(used / others.shape[1], copies)
    return found


def _own_temperature(outputs: Tensor) -> float:
    return augmentation_temperature(outputs.double(), sample=True) if len(outputs) > 2 else math.nan


def _of_rows(rank: Callable[[Tensor], float], outputs: Tensor) -> float:
    return rank(outputs.flatten(0, 1))


def _between_objects(values: Float[Tensor, " views"], copies: int) -> Estimate:
    """Return the mean over views with its standard error between objects."""
    means = values.double().view(-1, copies).nanmean(1)
    return Estimate(float(means.mean()), float(means.std() / math.sqrt(len(means))))


def _below_rounding(loss: Loss, outputs: Tensor, negatives: int) -> Float[Tensor, " views"]:
    """Return 1 for each view whose gradient in float32 misses that in float64 by half, or vanishes.

    NaN for views that the loss does not look at, of whatever object, and where it insists on one dtype.
    """
    unknown = outputs.new_full((outputs.shape[0] * outputs.shape[1],), math.nan)
    try:
        exact = slope_of(loss, outputs.double(), negatives)
        rough = slope_of(loss, outputs.float(), negatives).double()
    except (RuntimeError, TypeError, ValueError):
        return unknown
    missed = (rough - exact).norm(dim=-1) >= 0.5 * exact.norm(dim=-1)
    return torch.where(_looked_at(exact), missed.to(unknown), unknown.view_as(missed)).flatten()


def _looked_at(slope: Float[Tensor, "N A n_L"]) -> Tensor:
    """Return which of the A views a loss looks at; all, if it looks at none."""
    seen = (slope != 0).any(-1).any(0)
    return seen | ~seen.any()


def _gathered(views: Tensor | Iterable[Tensor]) -> Tensor:
    """Return one view set, of all batches."""
    if not isinstance(views, Tensor):
        if not isinstance(views, Iterable) or isinstance(views, str | bytes | Mapping):
            raise TypeError(f"views must be a tensor or batches of views, got {type(views).__name__}")
        batches = list(views)
        for batch in batches:
            if not isinstance(batch, Tensor):
                raise TypeError(
                    f"each batch of views must be a tensor (N, A, ...), got {type(batch).__name__}"
                )
        shapes = {tuple(batch.shape[1:]) for batch in batches}
        if len(shapes) != 1:
            raise ValueError(f"batches of views must share a shape (N, A, ...), got {sorted(shapes)}")
        views = torch.cat(batches)
    if views.ndim < 3 or min(views.shape[:2]) < 2 or 0 in views.shape:
        raise ValueError(
            "views must hold at least two views of each of two objects, shape (N, A, ...), "
            f"got {tuple(views.shape)}"
        )
    if views.is_floating_point():
        require_finite("views", views)
    return views


def _placed(views: Tensor, model: nn.Module) -> Tensor:
    """Return the views on the device of the model, half precision as float32."""
    device = next((p.device for p in model.parameters()), views.device)
    return views.to(device, torch.float32 if views.dtype in HALF else views.dtype)


def _layers(model: nn.Module, layers: Sequence[str] | None) -> list[str]:
    known = list(operator_layers(model))
    if layers is None:
        if not known:
            raise ValueError(f"model must have a layer with an operator, got {type(model).__name__} without")
        return known
    missing = [name for name in layers if name not in known]
    if missing or isinstance(layers, str) or not layers:
        raise ValueError(f"layers must be a list of {known}, got {layers!r}")
    return list(layers)


def _outputs(model: nn.Module, views: Tensor, names: Sequence[str], mode: Mode, memory_limit: int) -> Tensor:
    """Return the outputs, from the first layer that they depend on."""
    failures = []
    for name in names:
        try:
            return linearise(model, views, name, mode=mode, memory_limit=memory_limit).outputs
        except (NotImplementedError, RuntimeError, ValueError) as error:
            failures.append(error)
    raise failures[0]


def _each_layer(
    model: nn.Module,
    views: Tensor,
    names: Sequence[str],
    plan: Plan,
    mode: Mode,
    memory_limit: int,
    progress: Progress | None,
) -> tuple[dict[str, LayerReport], dict[str, str], bool]:
    found: dict[str, LayerReport] = {}
    failed: dict[str, str] = {}
    weights, parameters = operator_layers(model), dict(model.named_parameters(remove_duplicate=False))
    try:
        for i, name in enumerate(names):
            if progress is not None:
                progress(name, i, len(names))
            try:
                layer = linearise(model, views, name, mode=mode, memory_limit=memory_limit)
                found[name] = measure_layer(name, tuple(parameters[weights[name]].shape), layer, plan)
            except (NotImplementedError, RuntimeError, ValueError) as error:
                failed[name] = f"could not be measured: {str(error).splitlines()[0]}"
    except KeyboardInterrupt:
        return found, failed, False
    return found, failed, True


def _temperature(given: float | None, loss: Loss) -> float | None:
    if given is None:
        own = getattr(loss, "temperature", None)
        return float(own) if isinstance(own, int | float) else None
    return require_real("temperature", given, above=0.0)


def _notes(model: nn.Module, outputs: Tensor, action: Action, tau: float | None, mode: Mode) -> list[str]:
    found = []
    halves = {p.dtype for p in model.parameters()} & set(HALF)
    if halves:
        kinds = " and ".join(sorted(str(kind).removeprefix("torch.") for kind in halves))
        found.append(f"Weights in {kinds} were computed in float32.")
    if tau is None:
        found.append("The loss has no temperature that is known: distances are told in units of 1.")
    if on_sphere(outputs, action.slope) is not outputs:
        found.append(
            "The loss does not see the length of outputs: distances are those of normalised outputs."
        )
    if action.reason:
        found.append(f"No operator: {action.reason}.")
    n, a, width = outputs.shape
    unseen = torch.nonzero(~_looked_at(action.slope)).flatten().tolist()
    if unseen:
        found.append(f"The loss does not look at views {', '.join(map(str, unseen))} of an object.")
    found.append(
        f"{a} views leave 1/{a} of the variance within objects in the view set's between operator; traces "
        "and corrected eigenvalues are without it."
    )
    if n * a <= width:
        found.append(f"Ranks of {width} outputs are at most {n * a} here, the number of views.")
    if mode == "batch" and any(isinstance(part, _BatchNorm) for part in model.modules()):
        found.append("BatchNorm took its statistics from all views together.")
    threads, largest = torch.get_num_threads(), max(p.numel() for p in model.parameters())
    if outputs.device.type == "cpu" and threads > 1 and largest < SMALL:
        found.append(
            f"{threads} threads cost more than one gains on layers this small: torch.set_num_threads(1)."
        )
    return found


def _cosine_shown(against: Against) -> str:
    """Return a cosine, or which of its two sides has no direction."""
    if not math.isnan(against.cosine.value):
        return _shown(against.cosine)
    return "undefined (it vanishes beside the step)" if against.length.value < 1 else "undefined (no step)"


def _shown(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "undefined"
    error = "" if math.isnan(estimate.error) else f" ± {estimate.error:.2g}"
    return f"{estimate.value:.4g}{error}"
