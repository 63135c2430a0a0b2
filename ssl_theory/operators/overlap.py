"""How much of a change of weights an operator explains (T12)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ssl_theory.losses import ContrastiveLoss, SimpleContrastive
from ssl_theory.losses.weights import mean_loss
from ssl_theory.networks import ReLUNetwork, vec
from ssl_theory.operators.interface import (
    MEMORY_LIMIT,
    WeightOperator,
    _checked,
    _derivative,
    _product,
)
from ssl_theory.operators.modules import Mode, operator_layers
from ssl_theory.operators.pairs import Part, form_of
from ssl_theory.validation import require_float_tensor, require_integer, require_one_of, require_rank

__all__ = ["Explained", "cosine", "explained_update", "overlap", "predicted_overlap", "random_target"]

_SIMPLE = SimpleContrastive()


def overlap(change: Float[Tensor, "n_l n_k"], basis: Float[Tensor, "k n_l n_k"]) -> float:
    """Return ‖P Δ‖²/‖Δ‖², the share of a change that lies in a subspace: k/D on average at random.

    Args:
        change: Δ, a matrix of weights.
        basis: An orthonormal basis of the subspace, shape (k, n_l, n_k).

    Returns:
        A number from 0 to 1; NaN for no change.

    Raises:
        TypeError: If an argument is no float tensor.
        ValueError: If the shapes do not fit.

    Example:
        >>> round(overlap(torch.tensor([[3.0, 4.0]]), torch.tensor([[[1.0, 0.0]]])), 4)
        0.36
    """
    require_float_tensor("change", change)
    require_float_tensor("basis", basis)
    require_rank("change", change, 2, "(n_l, n_k)")
    if basis.ndim != 3 or basis.shape[1:] != change.shape:
        raise ValueError(
            f"basis must have shape (k, {change.shape[0]}, {change.shape[1]}), got {tuple(basis.shape)}"
        )
    coordinates = (basis * change).sum((1, 2))
    return float(coordinates.square().sum() / change.square().sum())


def cosine(first: Float[Tensor, " *shape"], second: Float[Tensor, " *shape"]) -> float:
    """Return the cosine of the angle between two changes of weights, computed in float64.

    Args:
        first: One change.
        second: The other, of the same shape.

    Returns:
        A number from -1 to 1; NaN if one of them vanishes.

    Raises:
        ValueError: If the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"second must have the shape of first, {tuple(first.shape)}, got {tuple(second.shape)}"
        )
    a, b = first.flatten().double(), second.flatten().double()
    return float(a @ b / (a.norm() * b.norm()))


def random_target(
    outputs: Float[Tensor, "N A n_L"], kind: Literal["object", "view"], generator: torch.Generator
) -> Float[Tensor, "N A n_L"]:
    """Return a target t that knows nothing of a loss, for a null in the span of the connections.

    Every gradient of a function of the outputs is Σ_u K_u t_u, with t its slope there. What it is compared
    with has to lie in the same span: Σ_u K_u t_u for this t.

    Args:
        outputs: Of A views of N objects; only their shape, dtype and device count.
        kind: "object" for one normal draw for all views of an object, "view" for one for each view.
        generator: Source of the draws.

    Returns:
        Entries of mean 0 and variance 1, on the device of the outputs.

    Raises:
        ValueError: If the kind is neither.
    """
    n, copies, width = outputs.shape
    shape = (n, 1 if require_one_of("kind", kind, ("object", "view")) == "object" else copies, width)
    drawn = torch.randn(shape, generator=generator, device=generator.device, dtype=outputs.dtype)
    return drawn.to(outputs.device).expand(outputs.shape)


def predicted_overlap(
    operator: WeightOperator,
    values: Float[Tensor, " k"],
    basis: Float[Tensor, "k n_l n_k"],
    *,
    probes: int,
    generator: torch.Generator,
) -> float:
    """Return Σ_{i ≤ k} λ_i² / tr OP², the overlap of the update OP·w with isotropic w.

    Args:
        operator: OP, symmetric.
        values: Its k leading eigenvalues.
        basis: Their eigenvectors, orthonormal.
        probes: Random signs from which the trace of the rest is estimated (Hutchinson's estimator).
        generator: Source of the signs.

    Returns:
        The ratio, at most 1.

    Raises:
        TypeError: If `probes` is not an integer.
        ValueError: If `probes` is less than 1.
    """
    shape = (operator.shape[0], require_integer("probes", probes, 1))
    signs = torch.randint(0, 2, shape, generator=generator, device=generator.device) * 2 - 1
    probe = signs.to(operator.device, operator.dtype)
    columns = vec(basis)
    rest = (operator @ (probe - columns.mT @ (columns @ probe))).square().sum() / probes
    known = values.square().sum()
    return float(known / (known + rest))


@dataclass(frozen=True)
class Explained:
    """How well 2 OP vec(W) describes −∇L in one layer.

    Attributes:
        cosine: Of the angle between the two; NaN if one of them vanishes.
        length: ‖2 OP vec(W)‖/‖∇L‖.
    """

    cosine: float
    length: float


def explained_update(
    net: ReLUNetwork | nn.Module,
    views: Shaped[Tensor, "N A *input"],
    layers: Iterable[int | str] | None = None,
    *,
    part: Part = "exact",
    loss: ContrastiveLoss = _SIMPLE,
    negatives: int = 1,
    mode: Mode = "eval",
    memory_limit: int = MEMORY_LIMIT,
) -> Mapping[int | str, Explained]:
    """Return, layer by layer, how well an operator times the weights describes the step −∇E[L].

    Cosine and length are 1 for the exact part in a ReLU network without biases. Where outputs are normalised,
    as by BatchNorm, the operator can vanish on the weights while the step does not.

    Args:
        net: As for `operator`.
        views: As for `operator`.
        layers: Layers as for `operator`; None for all.
        part: As for `operator`.
        loss: The loss, of the step and of the operator.
        negatives: H, how many negatives an anchor has.
        mode: As for `operator`.
        memory_limit: As for `operator`.

    Returns:
        Cosine and relative length, by layer.

    Raises:
        TypeError: As for `operator`.
        ValueError: As for `operator`.
    """
    views = _checked(net, views)
    if layers is None:
        layers = range(1, net.depth + 1) if isinstance(net, ReLUNetwork) else operator_layers(net)
    found = {}
    for layer in layers:
        derivative = _derivative(net, views.flatten(0, 1), layer, mode, memory_limit)
        outputs = derivative.outputs.reshape(*views.shape[:2], -1)
        with torch.enable_grad():
            live = outputs.detach().requires_grad_()
            (slope,) = torch.autograd.grad(mean_loss(live, loss, negatives), live)
        step = -derivative.vjp(slope.flatten(0, 1).unsqueeze(1)).flatten()
        form = form_of(part, outputs, loss, negatives)
        asked = 2 * _product(derivative, form, views.shape[:2], vec(derivative.matrix).unsqueeze(1)).flatten()
        found[layer] = Explained(cosine(step, asked), float(asked.norm() / step.norm()))
    return found
