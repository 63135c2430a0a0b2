"""When an augmentation is weak: the temperature above which norms grow, exact and by variances (T16)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor

from ssl_theory.losses.contrastive import InfoNCE
from ssl_theory.validation import require_finite, require_flag, require_outputs, require_real

__all__ = ["OutputMoments", "augmentation_temperature", "output_moments", "own_temperature"]

_FACTOR = 4.0  # from one end of a bracket to the next


def own_temperature(r_pos: Float[Tensor, " B"], r_neg: Float[Tensor, "B H"]) -> float:
    """Return τ*, the temperature at which the mean InfoNCE loss of fixed distances is least.

    With InfoNCE at temperature τ the quadratic form vec(W)ᵀ OP vec(W) of every layer of a network without
    biases, and with it the growth of its squared norms, is positive for τ > τ* and negative for τ < τ*.

    Args:
        r_pos: Distance of each of B anchors to its positive, shape (B,).
        r_neg: Distances to its H ≥ 1 negatives, shape (B, H).

    Returns:
        τ*; 0 if no negative is nearer than the positive of its anchor, infinity if negatives are on average
        no farther than positives.

    Raises:
        TypeError: If distances are no float tensors, or dtypes differ.
        ValueError: If the shapes do not fit, or a distance is not finite.

    Example:
        >>> import torch
        >>> u = torch.tensor([[-1.0], [1.0], [1.0], [1.0]])
        >>> round(own_temperature(0.0 * u[:, 0], u), 6)  # 1/log 3
        0.910239
    """
    InfoNCE(1.0)(r_pos, r_neg)  # names what does not fit
    for name, distances in (("r_pos", r_pos), ("r_neg", r_neg)):
        require_finite(name, distances)
    r_pos, r_neg = r_pos.detach().double(), r_neg.detach().double()
    gaps = r_neg - r_pos.unsqueeze(-1)
    size = float(gaps.abs().mean())
    if float(gaps.mean()) <= 0:
        return math.inf
    if not bool((gaps < 0).any()):
        return 0.0

    def growth(exponent: float) -> float:
        temperature = size * math.exp(exponent)
        weights = InfoNCE(temperature).pair_weights(r_pos, r_neg)
        return temperature * float((weights * gaps).sum(-1).mean())

    low = high = 0.0
    while growth(low) >= 0:
        low -= _FACTOR
    while growth(high) <= 0:
        high += _FACTOR
    return size * math.exp(float(brentq(growth, low, high, xtol=1e-14, rtol=1e-14)))


@dataclass(frozen=True)
class OutputMoments:
    """What the variances of the outputs say about how weak an augmentation is.

    Attributes:
        V_x: tr Σ_x, Σ_x = V_x[f̄_L], between objects.
        V_a: tr Σ_a, Σ_a = E_x V_aug[f_L | x], within them.
        mixed: tr Σ_x Σ_a.
        square: tr Σ_a².
    """

    V_x: float
    V_a: float
    mixed: float
    square: float

    def temperature(self, strength: float = 1.0) -> float:
        """Return (2 tr Σ_x Σ_a + 3/2 tr Σ_a²)/V_x after deviations have grown by a factor; inf if V_x ≤ 0."""
        z = strength**2
        return (2.0 * z * self.mixed + 1.5 * z**2 * self.square) / self.V_x if self.V_x > 0 else math.inf

    def onset(self, temperature: float) -> float:
        """Return the factor on all deviations at which `temperature(factor)` is the given one; 0 if V_x ≤ 0.

        Raises:
            TypeError: If the temperature is not a real number.
            ValueError: If it is not positive and finite.
        """
        room = self.V_x * require_real("temperature", temperature, above=0.0)
        if room <= 0:
            return 0.0
        root = self.mixed + math.sqrt(self.mixed**2 + 1.5 * self.square * room)
        return math.sqrt(room / root) if root > 0 else math.inf


def output_moments(outputs: Float[Tensor, "N A n_L"], *, sample: bool = False) -> OutputMoments:
    """Return the moments of the outputs that tell how weak an augmentation is.

    Args:
        outputs: f_L of A views of each of N objects, shape (N, A, n_L).
        sample: Whether objects and views are samples of larger sets, so that the variances need their
            corrections, and tr Σ_a² that of normal deviations; N ≥ 3 and A ≥ 2 then.

    Returns:
        The moments; of a sample V_x can come out negative where it is small.

    Raises:
        TypeError: If the outputs are no float tensor, or `sample` is no truth value.
        ValueError: If the outputs have not three dimensions, are not finite, or are too few for a sample.
    """
    require_flag("sample", sample)
    require_finite("outputs", require_outputs("outputs", outputs))
    n, a, _ = outputs.shape
    if sample and (n < 3 or a < 2):
        raise ValueError(f"outputs of a sample must hold at least 3 objects with 2 views, got {n} with {a}")
    values = outputs.detach().double()
    means = values.mean(1)
    inner, outer = (values - means.unsqueeze(1)).flatten(0, 1), means - means.mean(0)
    free = n * (a - 1) if sample else n * a
    within, between = inner.mT @ inner / free, outer.mT @ outer / (n - 1 if sample else n)
    V_x, V_a = float(between.trace()), float(within.trace())
    square, mixed = float(within.square().sum()), float((between * within).sum())
    if sample:
        square = free**2 / ((free - 1) * (free + 2)) * (square - V_a**2 / free)
        V_x, mixed = V_x - V_a / a, mixed - square / a
    return OutputMoments(V_x, V_a, mixed, max(square, 0.0))


def augmentation_temperature(outputs: Float[Tensor, "N A n_L"], *, sample: bool = False) -> float:
    """Return (2 tr Σ_x Σ_a + 3/2 tr Σ_a²)/V_x, the temperature τ* as the variances of the outputs tell it.

    It is E Var(r_- − r_+ | x, x′)/(2 V_x) for normal deviations of one law, and τ* itself if given the
    objects r_- − r_+ is normal with 2τ* times its mean as variance. An augmentation is weak at temperature τ
    if this is well below τ. With n_a = V_a²/tr Σ_a² directions and 1/n_xa = tr Σ_x Σ_a/(V_x V_a) it is
    V_a (2/n_xa + 3 V_a/(2 n_a V_x)): V_a alone does not tell.

    Args:
        outputs: f_L of A views of each of N objects, shape (N, A, n_L).
        sample: As for `output_moments`.

    Returns:
        The temperature; infinity where V_x, or its estimate, is not positive.

    Raises:
        TypeError: As for `output_moments`.
        ValueError: As for `output_moments`.

    Example:
        >>> import torch
        >>> augmentation_temperature(torch.tensor([[[0.0], [2.0]], [[4.0], [6.0]]]))
        2.375
    """
    return output_moments(outputs, sample=sample).temperature()
