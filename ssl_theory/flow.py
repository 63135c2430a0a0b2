"""Gradient flow, dW/dt = −∂L/∂W, integrated to near machine precision (T3, T5, T6, T9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from ssl_theory.validation import require_float_tensor, require_real


def gradient_flow(
    loss: Callable[[tuple[Tensor, ...]], Tensor],
    weights: Sequence[Tensor],
    times: Sequence[float],
    *,
    rtol: float = 1e-11,
    atol: float = 1e-13,
) -> list[tuple[Tensor, ...]]:
    """Follow the gradient flow of a loss from `weights` and return the weights at the given times.

    Args:
        loss: Maps weights like the given ones to a scalar tensor.
        weights: Starting point at times[0]; float64 recommended.
        times: Increasing, at least two.
        rtol: Relative tolerance of the integrator, scipy's DOP853.
        atol: Absolute tolerance.

    Returns:
        One tuple of weights per time, detached, the first one equal to the start. Where a gate flips the
        right-hand side has a kink; the integrator shortens its steps there.

    Raises:
        ValueError: If the times do not increase.
        RuntimeError: If the integrator gives up, as it does where the flow blows up.
    """
    start = [require_float_tensor(f"weights[{i}]", w).detach() for i, w in enumerate(weights)]
    moments = [require_real(f"times[{i}]", t) for i, t in enumerate(times)]
    if len(moments) < 2 or any(b <= a for a, b in pairwise(moments)):
        raise ValueError(f"times must increase and hold at least two entries, got {moments}")
    like = start[0]

    def unpack(flat: Tensor) -> tuple[Tensor, ...]:
        pieces = torch.split(flat, [w.numel() for w in start])
        return tuple(piece.reshape(w.shape) for piece, w in zip(pieces, start, strict=True))

    def tensor(state: object) -> Tensor:
        return torch.as_tensor(state, dtype=torch.float64).to(like)

    def velocity(_: float, state: object) -> object:
        current = tuple(w.detach().clone().requires_grad_() for w in unpack(tensor(state)))
        gradient = torch.autograd.grad(loss(current), current)
        return -torch.cat([g.flatten() for g in gradient]).double().cpu().numpy()

    flat = torch.cat([w.flatten() for w in start]).double().cpu().numpy()
    solution = solve_ivp(
        velocity, (moments[0], moments[-1]), flat, method="DOP853", t_eval=moments, rtol=rtol, atol=atol
    )
    if not solution.success:
        raise RuntimeError(f"the flow could not be followed to t = {moments[-1]:g}: {solution.message}")
    return [unpack(tensor(column)) for column in solution.y.T]
