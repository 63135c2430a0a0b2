"""Losses whose negatives are the other objects of the batch, as in practice: SimCLR's NT-Xent (T2, T12)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_theory.validation import require_float_tensor, require_real, require_same_kind


def nt_xent(
    first: Float[Tensor, "B n_L"], second: Float[Tensor, "B n_L"], temperature: float
) -> Float[Tensor, ""]:
    """Return SimCLR's NT-Xent loss: InfoNCE on normalised outputs with the 2B − 2 in-batch negatives.

    On unit vectors r = 1 − cosine, so the loss of an anchor is `InfoNCE` of its distances; both views of each
    object serve as anchor, and the negatives are both views of the other objects. One matrix of 2B rows and
    columns is formed, for loss and gradient together.
    Source: Chen et al., arXiv:2002.05709.

    Args:
        first: Outputs of one view of B ≥ 2 objects; a zero output is left as it is.
        second: Outputs of another view of the same objects.
        temperature: τ > 0.

    Returns:
        The mean over the 2B anchors; of outputs in bfloat16 computed in float32, also under autocast.

    Raises:
        TypeError: If an output is no float tensor or dtypes differ.
        ValueError: If shapes or devices differ, B < 2, or τ is not positive and finite.
    """
    temperature = require_real("temperature", temperature, above=0.0)
    if first.dtype == second.dtype == torch.bfloat16:
        first, second = first.float(), second.float()
    require_float_tensor("first", first)
    require_same_kind("second", second, "first", first)
    if first.ndim != 2 or first.shape[0] < 2 or second.shape != first.shape:
        raise ValueError(
            f"first and second must share a shape (B ≥ 2, n_L), got {tuple(first.shape)} and "
            f"{tuple(second.shape)}"
        )
    with torch.autocast(first.device.type, enabled=False):
        first, second = (F.normalize(view, dim=-1) / temperature**0.5 for view in (first, second))
        everyone: Tensor = _LogSumOfOthers.apply(torch.cat([first, second]))  # type: ignore[no-untyped-call]
        return everyone.mean() - (first * second).sum(-1).mean()


class _LogSumOfOthers(torch.autograd.Function):
    """log Σ_{j≠i} e^{u_i·u_j} of each row i, with the matrix of the products overwritten by its softmax."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        weights = (rows @ rows.mT).fill_diagonal_(-torch.inf)
        top = weights.amax(-1, keepdim=True)
        total = weights.sub_(top).exp_().sum(-1, keepdim=True)
        ctx.save_for_backward(rows, weights.div_(total))
        return (total.log() + top).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        rows, weights = ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives the softmax has to be a function of the rows
            weights = (rows @ rows.mT).fill_diagonal_(-torch.inf).softmax(-1)
        gradient = gradient.unsqueeze(-1)
        change: Tensor = gradient * (weights @ rows) + weights.mT @ (gradient * rows)
        return change
