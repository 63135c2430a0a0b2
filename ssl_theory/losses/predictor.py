"""A loss without negatives: a predictor before one branch, a stopped gradient behind the other (T15)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ssl_theory.validation import require_float_tensor, require_rank, require_same_kind

__all__ = ["predictor_loss"]


def predictor_loss(
    outputs: Float[Tensor, "N A n_L"],
    predictor: Float[Tensor, "_ _"],
    targets: Float[Tensor, "_ _ _"] | None = None,
    *,
    centred: bool = False,
) -> Float[Tensor, ""]:
    """Return ½ E‖W_p f(x1) − sg[f(x+)]‖² over all pairs of views of each object, x+ = x1 included.

    Args:
        outputs: f_L of every view, shape (N, A, n_L), differentiable.
        predictor: W_p, shape (n_L, n_L), differentiable.
        targets: What stands for f(x+), such as the outputs of a slower copy of the network, of the shape of
            the outputs; None for the outputs themselves. No gradient flows through them.
        centred: Whether outputs and targets have their means over all views subtracted first.

    Returns:
        A scalar.

    Raises:
        TypeError: If an argument is no float tensor, or the dtypes differ.
        ValueError: If the outputs have not three dimensions, or another shape or device does not fit.

    Example:
        >>> import torch
        >>> f = torch.tensor([[[1.0], [3.0]]])  # one object in two views
        >>> predictor_loss(f, torch.eye(1)).item()
        1.0
    """
    require_float_tensor("outputs", outputs)
    require_rank("outputs", outputs, 3, "(objects, views, neurons)")
    targets = (outputs if targets is None else targets).detach()
    size = outputs.shape[-1]
    for name, value, shape in (("predictor", predictor, (size, size)), ("targets", targets, outputs.shape)):
        require_float_tensor(name, value)
        require_same_kind(name, value, "outputs", outputs)
        if value.shape != shape:
            raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(value.shape)}")
    if centred:
        outputs, targets = (z - z.mean((0, 1)) for z in (outputs, targets))
    predicted = outputs @ predictor.mT
    squares = predicted.square().sum(-1).mean() + targets.square().sum(-1).mean()
    return squares / 2 - (predicted.mean(1) * targets.mean(1)).sum(-1).mean()
