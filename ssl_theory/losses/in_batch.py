"""Losses whose negatives are the other objects of the batch, as in practice: SimCLR's NT-Xent (T2, T12)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from ssl_theory.validation import require_real, require_same_kind, require_two_views

__all__ = ["nt_xent"]

HALF = (torch.bfloat16, torch.float16)


def nt_xent(
    first: Float[Tensor, "B n_L"], second: Float[Tensor, "B n_L"], temperature: float
) -> Float[Tensor, ""]:
    """Return SimCLR's NT-Xent loss: InfoNCE on normalised outputs with the 2B − 2 in-batch negatives.

    On unit vectors r = 1 − cosine, so the loss of an anchor is `InfoNCE` of its distances; both views of each
    object serve as anchor, and the negatives are both views of the other objects. An anchor's loss is
    log(1 + Σ_k e^{(r_+ − r_-k)/τ}), so that it and its gradient keep their digits where the positive wins by
    far. One matrix of 2B rows and columns is formed, for loss and gradient together; that is counted on the
    CPU, and has not been measured on a GPU in this form. Derivatives of every order and mode exist, also
    under `torch.func`; those beyond the first gradient form further matrices.
    Source: Chen et al., arXiv:2002.05709.

    Args:
        first: Outputs of one view of B ≥ 2 objects. A zero output has no direction: its cosine with all
            others counts as 0, and no gradient reaches it.
        second: Outputs of another view of the same objects.
        temperature: τ > 0.

    Returns:
        The mean over the 2B anchors; of outputs in bfloat16 or float16 computed in float32, also under
        autocast.

    Raises:
        TypeError: If an output is no float tensor or dtypes differ.
        ValueError: If shapes or devices differ, B < 2, or τ is not positive and finite.
    """
    temperature = require_real("temperature", temperature, above=0.0)
    if all(isinstance(view, Tensor) and view.dtype in HALF for view in (first, second)):
        require_same_kind("second", second, "first", first)
        first, second = first.float(), second.float()
    require_two_views(first, second)
    with torch.autocast(first.device.type, enabled=False):
        rows = _directions(torch.cat([first, second]), temperature**-0.5)
        return (_losses(rows) if _in_forward_mode() else _Losses.apply(rows)[0]).mean()  # type: ignore[no-untyped-call]


def _directions(outputs: Tensor, length: float) -> Tensor:
    """Return vectors of the same directions and of one length; those of norm 0 stay, as constants."""
    square = outputs.square().sum(-1, keepdim=True)
    zero = square == 0
    inverse = torch.where(zero, 0.0, length * torch.where(zero, 1.0, square).rsqrt())
    return outputs * inverse


class _Losses(torch.autograd.Function):
    """log(1 + Σ e^{u_i·u_j − u_i·u_p}) of each row i, over all j but i itself and its other view p.

    Row i of the gradient weights is ∂loss_i/∂(u_i·u_j), up to a scale: e^{u_i·u_j} for the others, and for p
    minus their sum, never 1 − a share. They overwrite the matrix of products.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = len(rows) // 2
        weights = rows @ rows.mT
        partner = weights.diagonal(size), weights.diagonal(-size)
        positive = torch.cat(partner).unsqueeze(-1)
        for entries in (weights.diagonal(), *partner):
            entries.fill_(-torch.inf)
        top = weights.amax(-1, keepdim=True).maximum(positive)
        total = weights.sub_(top).exp_().sum(-1, keepdim=True)
        lead = top - positive  # of the best negative; 0 where the positive wins
        losses = lead + (total + (-lead).expm1()).log1p()
        for entries, sums in zip(partner, torch.split(total.squeeze(-1), size), strict=True):
            entries.copy_(-sums)
        return losses.squeeze(-1), weights, 1.0 / (total + (-lead).exp())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
        _, weights, scale = output
        ctx.mark_non_differentiable(weights, scale)
        ctx.set_materialize_grads(False)  # or zeros would be made, a second matrix
        ctx.save_for_backward(*inputs, weights, scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> Tensor | None:
        if gradient is None:
            return None
        rows, weights, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            weights, scale = _weights(rows), torch.ones_like(scale)
        scale = gradient.unsqueeze(-1) * scale
        change: Tensor = scale * (weights @ rows) + weights.mT @ (scale * rows)
        return change


def _in_forward_mode() -> bool:
    """Return whether derivatives are being pushed forward, which `_Losses` has no rule for."""
    return forward_ad._current_level >= 0


def _losses(rows: Tensor) -> Tensor:
    """Return what `_Losses` does by torch's own functions, of which any derivative exists."""
    products = rows @ rows.mT
    own, partner = _pairs(rows)
    positive = products.masked_fill(~partner, 0.0).sum(-1, keepdim=True)
    others = (products - positive).masked_fill(own | partner, -torch.inf)
    best = others.logsumexp(-1)
    return best.logaddexp(torch.zeros_like(best))  # softplus is cut off at 20


def _pairs(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return which entries of the matrix of products are of a row with itself, and with its other view."""
    own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    return own, own.roll(len(rows) // 2, 0)


def _weights(rows: Tensor) -> Tensor:
    """Return the gradient weights as a function of the rows, to be differentiated again."""
    own, partner = _pairs(rows)
    shares = (rows @ rows.mT).masked_fill(own, -torch.inf).softmax(-1).masked_fill(partner, 0.0)
    return torch.where(partner, -shares.sum(-1, keepdim=True), shares)
