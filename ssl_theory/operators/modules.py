"""The covariance operators of one layer of any torch module, by automatic differentiation (T3–T5, T12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, func, nn

from ssl_theory.losses import ContrastiveLoss, SimpleContrastive
from ssl_theory.operators.networks import WeightOperator, assemble
from ssl_theory.operators.pairs import Part, form_of
from ssl_theory.validation import require_finite, require_float_tensor, require_integer

_SIMPLE = SimpleContrastive()


def module_operator(
    module: nn.Module,
    layer: str,
    views: Float[Tensor, "N A *input"],
    part: Part = "between",
    loss: ContrastiveLoss = _SIMPLE,
    negatives: int = 1,
    *,
    batch_size: int = 256,
) -> WeightOperator:
    """Return an operator of the weights of one Linear or Conv2d layer, in matrix-free form.

    K_u is the derivative of the module's flattened output at u in the layer's weights, whatever the module
    computes; for a ReLU network without biases it is the book's connection. The weights of a convolution
    are taken as a matrix of shape (channels out, channels in · height · width of the kernel).

    Args:
        module: A module in evaluation mode, so that its outputs for a view do not depend on the others.
        layer: Name of the layer, as in `module.named_modules()`.
        views: Finite view set, shape (N, A, ...), with the dtype and device of the weights.
        part: "between", "within", "leading" or "exact".
        loss: The loss of the exact and the leading part.
        negatives: H, how many negatives an anchor has.
        batch_size: How many views go through the module at a time; bounds the memory.

    Returns:
        The operator, on the device and in the dtype of the views.

    Raises:
        TypeError: If the views are no float tensor, or of another dtype than the weights.
        ValueError: If the module is in training mode, the layer is not there or of another kind, the
            views are no view set, or an output is not finite.
    """
    weight = _weight(module, layer)
    require_float_tensor("views", views)
    if views.ndim < 3 or 0 in views.shape:
        raise ValueError(f"views must have shape (N, A, ...) without zeros, got {tuple(views.shape)}")
    if views.dtype != weight.dtype:
        raise TypeError(f"views must have the dtype of the weights, {weight.dtype}, got {views.dtype}")
    chunks = torch.split(views.flatten(0, 1), require_integer("batch_size", batch_size, 1))
    derivatives = [ModuleDerivative(module, f"{layer}.weight", weight, chunk) for chunk in chunks]
    with torch.no_grad():
        outputs = torch.cat([derivative.outputs(weight) for derivative in derivatives])
    require_finite("the module's outputs", outputs)
    form = form_of(part, outputs.reshape(*views.shape[:2], -1), loss, negatives)

    def linearised() -> Iterator[tuple[slice, ModuleDerivative]]:
        for index, derivative in enumerate(derivatives):
            yield slice(index * batch_size, (index + 1) * batch_size), derivative

    rows = weight.shape[0]
    return assemble(linearised, form, views, rows, weight.numel() // rows)


@dataclass(frozen=True)
class ModuleDerivative:
    """The derivative of a module's outputs at m inputs in one weight, one direction at a time.

    Attributes:
        module: The module.
        name: Name of the weight.
        weight: Where the derivative is taken.
        x: The inputs.
    """

    module: nn.Module
    name: str
    weight: Tensor
    x: Tensor

    def outputs(self, weight: Tensor) -> Tensor:
        """Return the outputs with another weight in place, shape (m, n_L)."""
        output: Tensor = func.functional_call(self.module, {self.name: weight}, (self.x,))
        return output.flatten(1)

    def jvp(self, matrices: Tensor) -> Tensor:
        """Return K_uᵀ vec(V), shape (m, 1, n_L), for one matrix Vᵀ, shape (n_{l-1}, 1, n_l)."""
        tangent = matrices.squeeze(1).mT.reshape(self.weight.shape)
        with torch.no_grad():
            change: Tensor = func.jvp(self.outputs, (self.weight,), (tangent,))[1]
        return change.unsqueeze(1)

    def vjp(self, changes: Tensor) -> Tensor:
        """Return Σ_u K_u t_u as one matrix Vᵀ, shape (n_{l-1}, 1, n_l), for t of shape (m, 1, n_L)."""
        gradient: Tensor = func.vjp(self.outputs, self.weight)[1](changes.squeeze(1))[0]
        return gradient.detach().flatten(1).mT.unsqueeze(1)


def _weight(module: nn.Module, layer: str) -> Tensor:
    if module.training:
        raise ValueError("module must be in evaluation mode: call module.eval() first")
    layers = dict(module.named_modules())
    kinds = [name for name, part in layers.items() if isinstance(part, nn.Linear | nn.Conv2d)]
    if layer not in kinds:
        raise ValueError(f"layer must be one of the Linear and Conv2d layers {kinds}, got {layer!r}")
    weight = layers[layer].weight
    assert isinstance(weight, Tensor)
    return weight.detach()
