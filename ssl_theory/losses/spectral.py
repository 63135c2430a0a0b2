"""The spectral contrastive loss, of inner products alone (T13).

Source: HaoChen, Wei, Gaidon and Ma, arXiv:2106.04156, equation (6).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ssl_theory.validation import require_float_tensor, require_rank, require_same_kind

__all__ = ["spectral_contrastive", "two_view_spectral_contrastive"]


def spectral_contrastive(outputs: Float[Tensor, "N A n_L"]) -> Float[Tensor, ""]:
    """Return −2 E f(x1)·f(x+) + E (f(x1)·f(x-))² on a finite view set, exactly.

    Views are drawn independently, so that x+ may be x1 and x- may be a view of the same object.

    Args:
        outputs: f_L of every view, shape (N, A, n_L).

    Returns:
        A scalar, differentiable in the outputs.

    Raises:
        TypeError: If the outputs are no float tensor.
        ValueError: If they have not three dimensions, or one of them is 0.

    Example:
        >>> import torch
        >>> float(spectral_contrastive(torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])))
        -0.75
    """
    require_float_tensor("outputs", outputs)
    require_rank("outputs", outputs, 3, "(N objects, A augmentations, n_L)")
    if 0 in outputs.shape:
        raise ValueError(f"outputs must have no dimension of size 0, got shape {tuple(outputs.shape)}")
    positives = outputs.mean(1).square().sum(-1).mean()  # E f(x1)·f(x+), drawn independently
    flat = outputs.flatten(0, 1)
    return -2 * positives + (flat @ flat.mT).square().mean()


def two_view_spectral_contrastive(
    first: Float[Tensor, "B n_L"], second: Float[Tensor, "B n_L"]
) -> Float[Tensor, ""]:
    """Return the loss of a batch of two views: −(2/B) Σ_i f_i·g_i + Σ_{i≠j} (f_i·g_j)²/(B(B − 1)).

    An unbiased estimate of the loss over pairs of views of different objects. The published program first
    shortens outputs longer than √μ to length √μ; that belongs to its network and is not part of the loss.

    Args:
        first: f_L of one view of B ≥ 2 objects.
        second: g, that of another view of the same objects.

    Returns:
        A scalar.

    Raises:
        TypeError: If an argument is no float tensor, or dtypes differ.
        ValueError: If shapes or devices differ, or B < 2.
    """
    size = require_batch(first, second)
    squares = (first @ second.mT).square()
    others = squares.sum() - squares.diagonal().sum()
    return -2 * (first * second).sum() / size + others / (size * (size - 1))


def require_batch(first: Tensor, second: Tensor) -> int:
    """Return B if both are outputs of shape (B ≥ 2, n_L), of one dtype on one device, else raise."""
    require_float_tensor("first", first)
    require_float_tensor("second", second)
    require_same_kind("second", second, "first", first)
    if first.ndim != 2 or first.shape[0] < 2 or first.shape[1] < 1 or second.shape != first.shape:
        raise ValueError(
            f"first and second must share a shape (B ≥ 2, n_L ≥ 1), got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    return int(first.shape[0])
