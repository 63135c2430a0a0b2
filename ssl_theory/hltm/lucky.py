"""Lucky nodes at initialisation: how large the largest of N random gaps is (T10).

A neuron of N_μ draws its weights from Uniform[±σ_w√(3/n)], n the fan-in; half its pre-activation gap is
Y = wᵀa with a = a_μ, symmetric, with Var Y = σ_w²‖a‖²/n.

Sources: Paley and Zygmund, Proc. Cambridge Phil. Soc. 28 (1932) 190–205; Clopper and Pearson, Biometrika 26
(1934) 404–413, for the confidence bands.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from scipy.stats import beta
from torch import Tensor

from ssl_theory.validation import require_float_tensor, require_integer, require_real


def draw_gaps(
    child_vector: Float[Tensor, " n"],
    draws: int,
    neurons: int = 1,
    *,
    scale: float = 1.0,
    generator: torch.Generator,
) -> Float[Tensor, "draws neurons"]:
    """Draw Y_j = w_jᵀa of `neurons` neurons, `draws` times.

    Args:
        child_vector: a, not empty.
        draws: Independent node sets, at least 0.
        neurons: N, at least 1.
        scale: σ_w > 0.
        generator: Source of randomness.

    Returns:
        The gaps' halves, in the dtype of a, on the generator's device.

    Raises:
        TypeError: If a is no float tensor or a number is no integer.
        ValueError: If a is empty or a number is out of range.
    """
    require_float_tensor("child_vector", child_vector)
    if child_vector.ndim != 1 or not len(child_vector):
        raise ValueError(f"child_vector must have shape (n ≥ 1,), got {tuple(child_vector.shape)}")
    draws, neurons = require_integer("draws", draws, 0), require_integer("neurons", neurons, 1)
    bound = require_real("scale", scale, above=0.0) * math.sqrt(3.0 / len(child_vector))
    shape = (draws, neurons, len(child_vector))
    uniform = torch.rand(shape, generator=generator, dtype=child_vector.dtype, device=generator.device)
    return bound * (2.0 * uniform - 1.0) @ child_vector.to(generator.device)


def variance(child_vector: Float[Tensor, " n"], scale: float = 1.0) -> float:
    """Return Var Y = σ_w²‖a‖²/n."""
    return scale**2 * float(child_vector.square().mean())


def kurtosis(child_vector: Float[Tensor, " n"]) -> float:
    """Return E Y⁴/(Var Y)² = 3 − 1.2 Σa⁴/‖a‖⁴, between 1.8 (one input) and 3 (the Gaussian limit).

    Raises:
        ValueError: If a is 0.
    """
    norm = float(child_vector.square().sum())
    if norm == 0.0:
        raise ValueError("child_vector must not be 0: Y is then 0 and has no kurtosis")
    return 3.0 - 1.2 * float(child_vector.pow(4).sum()) / norm**2


def paley_zygmund(t: float, kurtosis: float) -> float:
    """Return the lower bound (1 − t²)²/κ of P(|Y| ≥ t·sd Y), for 0 ≤ t ≤ 1.

    Raises:
        TypeError: If t is not a real number.
        ValueError: If t is not in [0, 1].
    """
    if not 0.0 <= require_real("t", t) <= 1.0:
        raise ValueError(f"t must lie in [0, 1], got {t}")
    return (1.0 - t**2) ** 2 / kurtosis


def no_luck_bound(t: float, kurtosis: float, neurons: int) -> float:
    """Return the upper bound (1 − (1 − t²)²/κ)^N of the probability that no |Y_j| reaches t·sd Y."""
    return (1.0 - paley_zygmund(t, kurtosis)) ** require_integer("neurons", neurons, 0)


def neurons_enough(probability: float, failure: float) -> int:
    """Return the smallest N with (1 − probability)^N ≤ failure.

    Args:
        probability: Of a single lucky neuron, in (0, 1].
        failure: δ in (0, 1).

    Returns:
        ⌈log(1/δ)/(−log(1 − probability))⌉.

    Raises:
        ValueError: If an argument is out of range.
    """
    if not 0.0 < probability <= 1.0:
        raise ValueError(f"probability must lie in (0, 1], got {probability}")
    if not 0.0 < failure < 1.0:
        raise ValueError(f"failure must lie in (0, 1), got {failure}")
    if probability == 1.0:
        return 1
    return math.ceil(math.log(failure) / math.log1p(-probability))


def support_limit(child_vector: Float[Tensor, " n"]) -> float:
    """Return 1.5‖a‖₁²/‖a‖₂² ≤ 1.5 n: P(|Y| ≥ √(2c)·sd Y) = 0 for every c beyond it."""
    return 1.5 * float(child_vector.abs().sum()) ** 2 / float(child_vector.square().sum())


def gaussian_tail(c: float) -> float:
    """Return P(|Y| ≥ √(2c)·sd Y) = erfc(√c) of a Gaussian Y, about e^{−c}/√(πc)."""
    return math.erfc(math.sqrt(c))


def confidence_band(hits: int, draws: int, level: float = 0.99) -> tuple[float, float]:
    """Return the Clopper–Pearson interval of a probability from `hits` successes in `draws` trials.

    Args:
        hits: Number of successes, from 0 to draws.
        draws: Number of trials, at least 1.
        level: Coverage, in (0, 1).

    Returns:
        Lower and upper end; the interval covers the truth with at least the given probability.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If an argument is out of range.
    """
    draws = require_integer("draws", draws, 1)
    hits = require_integer("hits", hits, 0, draws)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    rest = (1.0 - level) / 2.0
    low = 0.0 if hits == 0 else float(beta.ppf(rest, hits, draws - hits + 1))
    high = 1.0 if hits == draws else float(beta.ppf(1.0 - rest, hits + 1, draws - hits))
    return low, high


def relu_mean_bounds(
    mean: Float[Tensor, "*shape"], variance: Float[Tensor, "*shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return ψ(u) ≤ E ψ(Y) ≤ ½(u + √(u² + σ²)) for ψ = ReLU and any Y of mean u and variance σ²."""
    return torch.relu(mean), 0.5 * (mean + (mean.square() + variance).sqrt())


def selectivity_bound(
    mean_one: Float[Tensor, "*shape"],
    mean_zero: Float[Tensor, "*shape"],
    variance_zero: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """Return the lower bound ½[ψ(u_1) − ½(u_0 + √(u_0² + σ_0²))] of the selectivity s_j.

    Args:
        mean_one: u_1 = E[f̃_j | z_μ = 1].
        mean_zero: u_0 = E[f̃_j | z_μ = 0].
        variance_zero: σ_0² = V[f̃_j | z_μ = 0].

    Returns:
        The bound; it says something only where u_1 > 0.
    """
    return 0.5 * (torch.relu(mean_one) - relu_mean_bounds(mean_zero, variance_zero)[1])
