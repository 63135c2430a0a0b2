"""One layer of a torch module, linearised once for many products (T3–T5, T12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ssl_theory.networks import unvec, vec
from ssl_theory.operators.interface import MEMORY_LIMIT, WeightOperator, _checked, _product
from ssl_theory.operators.modules import Mode, _ModuleDerivative
from ssl_theory.validation import require_finite

__all__ = ["Form", "Linearised", "linearise"]

Form = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Linearised:
    """The connections K of one layer at N·A views, known by their products; see `linearise`.

    Attributes:
        weight: W as a matrix, shape (n_l, n_k).
        outputs: f of every view, shape (N, A, n_L).
    """

    weight: Float[Tensor, "n_l n_k"]
    outputs: Float[Tensor, "N A n_L"]
    _derivative: _ModuleDerivative

    def push(self, change: Float[Tensor, "n_l n_k"]) -> Float[Tensor, "N A n_L"]:
        """Return K_uᵀ vec(V), what a change V of the weights does to the output of every view."""
        found = self._derivative.jvp(change.mT.unsqueeze(1))
        return found.reshape(self.outputs.shape)

    def pull(self, targets: Float[Tensor, "N A n_L"]) -> Float[Tensor, "n_l n_k"]:
        """Return Σ_u K_u t_u as a matrix of weights; t = ∂L/∂f gives ∂L/∂W."""
        return self._derivative.vjp(targets.flatten(0, 1).unsqueeze(1))[:, 0].mT

    def operator(self, form: Form) -> WeightOperator:
        """Return K Λ Kᵀ.

        Args:
            form: Λ, symmetric, (N, A, k, n_L) -> (N, A, k, n_L) for k changes of the weights at once.

        Returns:
            The operator on vec(W).
        """
        rows, columns = self.weight.shape
        grid = self.outputs.shape[:2]
        product = partial(_product, self._derivative, form, grid)
        return WeightOperator(rows, columns, self.outputs.dtype, self.outputs.device, product)

    def apply(self, form: Form, change: Float[Tensor, "n_l n_k"]) -> Float[Tensor, "n_l n_k"]:
        """Return K Λ Kᵀ vec(V) as a matrix."""
        return unvec(self.operator(form) @ vec(change), len(change))


def linearise(
    module: nn.Module,
    views: Shaped[Tensor, "N A *input"],
    layer: str,
    *,
    mode: Mode = "eval",
    memory_limit: int = MEMORY_LIMIT,
) -> Linearised:
    """Return one layer of a module at some views, ready for products with its connections.

    Args:
        module: As for `operator`.
        views: As for `operator`.
        layer: As for `operator`.
        mode: As for `operator`.
        memory_limit: As for `operator`.

    Returns:
        Products, in the dtype of the weights; half precision is computed in float32.

    Raises:
        TypeError: As for `operator`.
        ValueError: As for `operator`.

    Example:
        >>> import torch
        >>> module = nn.Linear(2, 1, bias=False).requires_grad_(False).eval()
        >>> _ = module.weight.copy_(torch.tensor([[1.0, 2.0]]))
        >>> found = linearise(module, torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]), "weight")
        >>> found.push(found.weight).flatten()
        tensor([1., 2.])
        >>> found.pull(torch.tensor([[[1.0]], [[-1.0]]]))
        tensor([[ 1., -1.]])
    """
    views = _checked(module, views)
    derivative = _ModuleDerivative.at(
        module, views.flatten(0, 1), layer, mode=mode, memory_limit=memory_limit
    )
    require_finite("the outputs", derivative.outputs)
    outputs = derivative.outputs.reshape(*views.shape[:2], -1)
    return Linearised(derivative.matrix, outputs, derivative)
