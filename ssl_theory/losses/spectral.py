"""The spectral contrastive loss, of inner products alone (T13).

Source: HaoChen, Wei, Gaidon and Ma, arXiv:2106.04156, equation (6).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ssl_theory.validation import require_outputs, require_two_views

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
    require_outputs("outputs", outputs)
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
    size = require_two_views(first, second)
    squares = (first @ second.mT).square()
    others = squares.sum() - squares.diagonal().sum()
    return -2 * (first * second).sum() / size + others / (size * (size - 1))
