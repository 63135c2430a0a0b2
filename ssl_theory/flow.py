"""Gradient flow, dW/dt = −∂L/∂W, to near machine precision, and gradient descent (T3, T5, T6, T9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor

from ssl_theory.validation import require_finite, require_float_tensor, require_integer, require_real

__all__ = ["Descent", "descend", "gradient_flow", "gradients", "smooth_flow"]

Weights: TypeAlias = tuple[Tensor, ...]
Loss: TypeAlias = Callable[[Weights], Tensor]
Rate: TypeAlias = Callable[[float, Weights, Weights], float]

_HALVINGS = 30  # of the time of a flow that is to meet no kink
_FIRST = 0.01  # the first step moves the weights by this share of their norm


class Descent(NamedTuple):
    """A path of gradient descent.

    Attributes:
        weights: Before the first step and after each one, detached.
        losses: The loss at these points, float64, shape (steps + 1,).
        rates: η of each step, float64, shape (steps,).
        squares: Squared norms of the gradients of each step, float64, shape (steps, weights).
    """

    weights: list[Weights]
    losses: Float[Tensor, " steps_and_start"]
    rates: Float[Tensor, " steps"]
    squares: Float[Tensor, "steps weights"]


def gradients(loss: Loss, weights: Sequence[Tensor]) -> Weights:
    """Return ∂L/∂W for each of several weights, detached.

    Args:
        loss: Maps weights like the given ones to a scalar tensor.
        weights: Where the gradient is taken; they are copied.

    Returns:
        One gradient for each weight, of its shape; 0 for a weight that the loss does not depend on.

    Raises:
        TypeError: If a weight is no float tensor, or the loss returns no tensor.
        ValueError: If there is no weight, one is not finite, or the loss is no scalar.

    Example:
        >>> gradients(lambda w: (w[0] ** 2).sum(), [torch.tensor([1.0, 2.0])])
        (tensor([2., 4.]),)
    """
    return _value_and_gradients(loss, _checked(weights))[1]


def descend(loss: Loss, weights: Sequence[Tensor], rate: float | Rate, steps: int) -> Descent:
    """Follow gradient descent, W ← W − η ∂L/∂W, and keep every step.

    Args:
        loss: Maps weights like the given ones to a scalar tensor.
        weights: Where to start; they are copied.
        rate: η, or a function of the loss, the weights and the gradients that returns it.
        steps: How many, at least 0.

    Returns:
        The path.

    Raises:
        TypeError: As for `gradients`, or if `steps` is not an integer or a rate not a number.
        ValueError: As for `gradients`, or if `steps` is negative or a rate not finite.
        RuntimeError: If the weights cease to be finite.

    Example:
        >>> path = descend(lambda w: 0.5 * (w[0] ** 2).sum(), [torch.tensor([8.0])], rate=0.5, steps=3)
        >>> [float(w) for (w,) in path.weights]
        [8.0, 4.0, 2.0, 1.0]
        >>> path.losses
        tensor([32.0000,  8.0000,  2.0000,  0.5000], dtype=torch.float64)
    """
    path, steps = [_checked(weights)], require_integer("steps", steps, 0)
    losses: list[float] = []
    rates: list[float] = []
    squares: list[list[float]] = []
    for step in range(steps + 1):
        value, slopes = _value_and_gradients(loss, path[-1])
        losses.append(value)
        if step == steps:
            break
        eta = require_real("rate", rate(value, path[-1], slopes) if callable(rate) else rate)
        path.append(tuple(w - eta * g for w, g in zip(path[-1], slopes, strict=True)))
        if not all(bool(torch.isfinite(w).all()) for w in path[-1]):
            raise RuntimeError(f"the weights are not finite after step {step + 1}, of rate {eta:g}")
        rates.append(eta)
        squares.append([float(g.square().sum()) for g in slopes])
    shape = (steps, len(path[0]))
    numbers = (torch.tensor(row, dtype=torch.float64) for row in (losses, rates, squares))
    losses_, rates_, squares_ = numbers
    return Descent(path, losses_, rates_, squares_.reshape(shape))


def gradient_flow(
    loss: Loss,
    weights: Sequence[Tensor],
    times: Sequence[float],
    *,
    rtol: float = 1e-11,
    atol: float = 1e-13,
) -> list[Weights]:
    """Follow the gradient flow of a loss from `weights` and return the weights at the given times.

    Args:
        loss: Maps weights like the given ones to a scalar tensor.
        weights: Starting point at times[0]; float64 recommended.
        times: Increasing, at least two.
        rtol: Relative tolerance of the integrator, scipy's DOP853, greater than 0.
        atol: Absolute tolerance, greater than 0.

    Returns:
        One tuple of weights per time, detached, the first one equal to the start. Where a gate flips the
        right-hand side has a kink; the integrator shortens its steps there.

    Raises:
        TypeError: If a weight is no float tensor, or a time or tolerance not a number.
        ValueError: If there is no weight or one is not finite, the times do not increase, or a tolerance is
            not positive.
        RuntimeError: If the gradient is not finite, or the integrator gives up, as it does where the flow
            blows up.
    """
    start = _checked(weights)
    moments = [require_real(f"times[{i}]", t) for i, t in enumerate(times)]
    if len(moments) < 2 or any(b <= a for a, b in pairwise(moments)):
        raise ValueError(f"times must increase and hold at least two entries, got {moments}")
    rtol, atol = require_real("rtol", rtol, above=0.0), require_real("atol", atol, above=0.0)
    like, failed = start[0], f"the flow could not be followed to t = {moments[-1]:g}"

    def unpack(flat: Tensor) -> Weights:
        pieces = torch.split(flat, [w.numel() for w in start])
        return tuple(piece.reshape(w.shape) for piece, w in zip(pieces, start, strict=True))

    def flat(weights: Weights) -> Tensor:
        return torch.cat([w.flatten() for w in weights]).double().cpu()

    def tensor(state: object) -> Tensor:
        return torch.as_tensor(state, dtype=torch.float64).to(like)

    def velocity(time: float, state: object) -> object:
        speed = -flat(_value_and_gradients(loss, unpack(tensor(state)))[1])
        if bool(speed.isnan().any()):
            raise RuntimeError(f"{failed}: the gradient is NaN at {time:g}")
        return speed.numpy()

    end, initial = moments[-1], flat(start)
    solution = solve_ivp(
        velocity,
        (moments[0], end),
        initial.numpy(),
        method="DOP853",
        t_eval=moments,
        rtol=rtol,
        atol=atol,
        first_step=_first_step(initial, velocity(moments[0], initial), end - moments[0]),
    )
    if not solution.success:
        raise RuntimeError(f"{failed}: {solution.message}")
    return [unpack(tensor(column)) for column in solution.y.T]


class _GateFlippedError(RuntimeError):
    """The flow has met a kink."""


def smooth_flow(
    loss: Loss,
    weights: Sequence[Tensor],
    gates: Callable[[Weights], Tensor],
    longest: float,
    fractions: Sequence[float],
) -> tuple[float, list[Weights]]:
    """Follow the gradient flow to fractions of a time that ends before any kink and any blow-up.

    Args:
        loss: As for `gradient_flow`.
        weights: Starting point; float64 recommended.
        gates: Maps weights to the pattern that must not change, such as which neurons are on.
        longest: The time to try first, greater than 0; halved until the flow meets no change of pattern.
        fractions: Increasing, of the time that is found.

    Returns:
        That time, and the weights at its start and at its fractions.

    Raises:
        TypeError: As for `gradient_flow`.
        ValueError: As for `gradient_flow`, or if `longest` is not positive.
        RuntimeError: If a change of pattern is met at once, within `longest`/2^30.

    Example:
        >>> start = [torch.tensor([1.0], dtype=torch.float64)]
        >>> time, path = smooth_flow(lambda w: w[0].sum(), start, lambda w: w[0] > 0, 3.0, [1.0])
        >>> time, round(float(path[-1][0]), 6)
        (0.75, 0.25)
    """
    horizon, before = require_real("longest", longest, above=0.0), gates(_checked(weights))

    def guarded(moved: Weights) -> Tensor:
        if not torch.equal(gates(moved), before):
            raise _GateFlippedError
        return loss(moved)

    for _ in range(_HALVINGS):
        try:
            return horizon, gradient_flow(guarded, weights, [0.0, *(horizon * f for f in fractions)])
        except RuntimeError:  # a kink, or the integrator gave up before a blow-up
            horizon /= 2
    raise RuntimeError(f"a gate flips at once: no smooth flow within {horizon:g}")


def _first_step(start: Tensor, velocity: object, longest: float) -> float:
    """Return a step that ends in time: the integrator's own guess looks beyond the last time."""
    speed = float(torch.as_tensor(velocity).norm())
    if speed == 0.0:
        return longest
    size = float(start.norm())
    return min(longest, _FIRST * size / speed if size > 0.0 else _FIRST * longest)


def _value_and_gradients(loss: Loss, weights: Weights) -> tuple[float, Weights]:
    with torch.enable_grad():
        live = tuple(w.detach().clone().requires_grad_() for w in weights)
        value = loss(live)
        if not isinstance(value, Tensor):
            raise TypeError(f"loss must return a tensor, got {type(value).__name__}")
        if value.numel() != 1:
            raise ValueError(f"loss must return a scalar, got shape {tuple(value.shape)}")
        found = torch.autograd.grad(value.squeeze(), live, allow_unused=True, materialize_grads=True)
    return float(value.detach()), tuple(g.detach() for g in found)


def _checked(weights: Sequence[Tensor]) -> Weights:
    checked = tuple(require_float_tensor(f"weights[{i}]", w).detach() for i, w in enumerate(weights))
    if not checked:
        raise ValueError("weights must hold at least one tensor, got none")
    for index, weight in enumerate(checked):
        require_finite(f"weights[{index}]", weight)
    return checked
