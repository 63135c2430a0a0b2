"""Lucky nodes at initialisation: how large the largest of N random gaps is (T10).

A neuron of N_μ draws its weights from Uniform[±σ_w√(3/n)], n the fan-in; half its pre-activation gap is
Y = wᵀa with a = a_μ, symmetric, with Var Y = σ_w²‖a‖²/n. In units of its standard deviation Y is
Z = Σ α_i U_i with α = √3 |a|/‖a‖ and U_i uniform on [−1, 1], whatever σ_w and n.

Sources: Paley and Zygmund, Proc. Cambridge Phil. Soc. 28 (1932) 190–205; Clopper and Pearson, Biometrika 26
(1934) 404–413, for the confidence bands.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from scipy.stats import beta
from torch import Tensor

from ssl_theory.validation import require_float_tensor, require_generator, require_integer, require_real

__all__ = [
    "confidence_band",
    "draw_gaps",
    "exponential_bounds",
    "gaussian_tail",
    "kurtosis",
    "neurons_enough",
    "no_luck_bound",
    "paley_zygmund",
    "relu_mean_bounds",
    "selectivity_bound",
    "support_limit",
    "tail",
    "variance",
]

_MAX_TERMS = 2**17  # of the Fourier series of the exact law


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
    _require_vector(child_vector)
    require_generator("generator", generator)
    draws, neurons = require_integer("draws", draws, 0), require_integer("neurons", neurons, 1)
    bound = require_real("scale", scale, above=0.0) * math.sqrt(3.0 / len(child_vector))
    shape = (draws, neurons, len(child_vector))
    uniform = torch.rand(shape, generator=generator, dtype=child_vector.dtype, device=generator.device)
    return bound * (2.0 * uniform - 1.0) @ child_vector.to(generator.device)


def variance(child_vector: Float[Tensor, " n"], scale: float = 1.0) -> float:
    """Return Var Y = σ_w²‖a‖²/n; errors as in `draw_gaps`."""
    _require_vector(child_vector)
    scale = require_real("scale", scale, above=0.0)
    return scale**2 * float(child_vector.square().mean())


def kurtosis(child_vector: Float[Tensor, " n"]) -> float:
    """Return E Y⁴/(Var Y)² = 3 − 1.2 Σa⁴/‖a‖⁴, between 1.8 (one input) and 3 (the Gaussian limit).

    Raises:
        TypeError: If a is no float tensor.
        ValueError: If a is empty, no vector, or 0.
    """
    _require_vector(child_vector)
    norm = float(child_vector.square().sum())
    if norm == 0.0:
        raise ValueError("child_vector must not be 0: Y is then 0 and has no kurtosis")
    return 3.0 - 1.2 * float(child_vector.pow(4).sum()) / norm**2


def paley_zygmund(t: float, kurtosis: float) -> float:
    """Return the lower bound (1 − t²)²/κ of P(|Y| ≥ t·sd Y), for 0 ≤ t ≤ 1.

    Args:
        t: Threshold in standard deviations, in [0, 1].
        kurtosis: κ = E Y⁴/(E Y²)², at least 1 as for any random variable.

    Returns:
        The bound.

    Raises:
        TypeError: If an argument is not a real number.
        ValueError: If t is not in [0, 1], or κ < 1.

    Example:
        >>> paley_zygmund(0.5, 3.0)
        0.1875
    """
    if not 0.0 <= require_real("t", t) <= 1.0:
        raise ValueError(f"t must lie in [0, 1], got {t}")
    if require_real("kurtosis", kurtosis) < 1.0:
        raise ValueError(f"kurtosis must be at least 1, got {kurtosis}")
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
    if not 0.0 < require_real("probability", probability) <= 1.0:
        raise ValueError(f"probability must lie in (0, 1], got {probability}")
    if not 0.0 < require_real("failure", failure) < 1.0:
        raise ValueError(f"failure must lie in (0, 1), got {failure}")
    if probability == 1.0:
        return 1
    return math.ceil(math.log(failure) / math.log1p(-probability))


def support_limit(child_vector: Float[Tensor, " n"]) -> float:
    """Return 1.5‖a‖₁²/‖a‖₂² ≤ 1.5 n: P(|Y| ≥ √(2c)·sd Y) = 0 for every c beyond it.

    Raises:
        TypeError: If a is no float tensor.
        ValueError: If a is empty, no vector, or 0.
    """
    _standard(child_vector)
    return 1.5 * float(child_vector.abs().sum()) ** 2 / float(child_vector.square().sum())


def tail(child_vector: Float[Tensor, " n"], t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return P(|Y| ≥ t·sd Y) from the exact law of Y.

    On its support [−R, R] the law of Z is the Fourier series of its characteristic function φ, so that
    P(|Z| ≥ t) = 1 − t/R − 2 Σ_k φ(πk/R) sin(πkt/R)/(πk), without error but for the terms left out; two inputs
    have a closed form.

    Args:
        child_vector: a ≠ 0.
        t: Thresholds in standard deviations, at least 0.

    Returns:
        Probabilities, float64. The terms left out add up to less than 1e-13 where 2^17 terms do, else
        to less than 2e-12 ‖a‖_∞/(the second largest |a_i|), which only three to five unequal inputs need.

    Raises:
        TypeError: If an argument is no float tensor.
        ValueError: If a is 0 or no vector, or a threshold is negative or NaN.
    """
    alpha = _standard(child_vector)
    require_float_tensor("t", t)
    if not bool((t >= 0.0).all()):
        raise ValueError(f"t must hold numbers of at least 0, got {t.min()}")
    reach = alpha.sum()
    points = t.to(reach).clamp_max(reach)
    if len(alpha) <= 2:
        large, small = alpha[0], reach - alpha[0]
        corner = (reach - points).square() / (4.0 * large * small)
        return torch.where(points <= large - small, 1.0 - points / large, corner)
    result = 1.0 - points / reach
    order = torch.arange(1, _terms(alpha) + 1, dtype=alpha.dtype, device=alpha.device)
    for block in torch.split(order, 2048):
        # sinc(x) = sin(πx)/(πx)
        weight = torch.sinc(torch.outer(block, alpha / reach)).prod(1) / (0.5 * torch.pi * block)
        result -= torch.sin(torch.pi / reach * points.unsqueeze(-1) * block) @ weight
    return torch.where(points < reach, result.clamp(0.0, 1.0), 0.0)


def _require_vector(child_vector: Tensor) -> None:
    require_float_tensor("child_vector", child_vector)
    if child_vector.ndim != 1 or not len(child_vector):
        raise ValueError(f"child_vector must have shape (n ≥ 1,), got {tuple(child_vector.shape)}")


def _terms(alpha: Tensor) -> int:
    """Return K with Σ_{k>K} |terms| ≤ 1e-13, or `_MAX_TERMS`: m factors of φ bound them by C/(m K^m)."""
    m = torch.arange(1, len(alpha) + 1, dtype=alpha.dtype, device=alpha.device)
    constants = (alpha.sum() / (torch.pi * alpha)).log().cumsum(0) - (0.5 * torch.pi * m * 1e-13).log()
    return math.ceil(min(_MAX_TERMS, float((constants / m).min().exp())))


def _standard(child_vector: Tensor) -> Tensor:
    """Return the α_i > 0 of Z = Σ α_i U_i, descending, in float64."""
    require_float_tensor("child_vector", child_vector)
    size = child_vector.double().abs()
    if size.ndim != 1 or not bool(size.any()):
        raise ValueError(f"child_vector must be a vector that is not 0, got {child_vector}")
    size = size[size > 0].sort(descending=True).values
    alpha: Tensor = math.sqrt(3.0) * size / size.norm()
    return alpha


def exponential_bounds(
    child_vector: Float[Tensor, " n"], t: Float[Tensor, "*shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return lower and upper bounds of P(|Y| ≥ t·sd Y) from m(λ) = E e^{λZ} = Π sinh(α_i λ)/(α_i λ).

    They are 2 sup_λ (m(λ) − e^{λt})₊²/m(2λ), by Paley and Zygmund's argument, and 2 inf_λ e^{−λt} m(λ), by
    Chernoff's, on a grid of λ > 0. Unlike `paley_zygmund` the lower one is positive up to the support's end.

    Args:
        child_vector: a ≠ 0.
        t: Thresholds in standard deviations, above 0.

    Returns:
        Lower and upper bound, float64.

    Raises:
        TypeError: If an argument is no float tensor.
        ValueError: If a is 0 or no vector, or a threshold is not positive.
    """
    alpha = _standard(child_vector)
    require_float_tensor("t", t)
    if not bool((t > 0.0).all()):
        raise ValueError(f"t must hold positive numbers, got {t.min()}")
    grid = torch.logspace(-2, 5, 1401, dtype=alpha.dtype, device=alpha.device)

    def log_m(strength: Tensor) -> Tensor:
        x = torch.outer(strength, alpha)
        return (x + (-torch.expm1(-2.0 * x) / (2.0 * x)).log()).sum(1)

    excess = log_m(grid) - grid * t.to(alpha).unsqueeze(-1)
    share = -torch.expm1(-excess.clamp_min(0.0))  # 1 − e^{λt}/m(λ)
    low = (2.0 * (share.log() + log_m(grid)) - log_m(2.0 * grid)).amax(-1)
    return 2.0 * low.exp(), 2.0 * excess.amin(-1).exp()


def gaussian_tail(c: float) -> float:
    """Return P(|Y| ≥ √(2c)·sd Y) = erfc(√c) of a Gaussian Y, about e^{−c}/√(πc); ValueError if c < 0."""
    if require_real("c", c) < 0.0:
        raise ValueError(f"c must not be negative, got {c}")
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
    if not 0.0 < require_real("level", level) < 1.0:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    rest = (1.0 - level) / 2.0
    low = 0.0 if hits == 0 else float(beta.ppf(rest, hits, draws - hits + 1))
    high = 1.0 if hits == draws else float(beta.ppf(1.0 - rest, hits + 1, draws - hits))
    return low, high


def relu_mean_bounds(
    mean: Float[Tensor, "*shape"], variance: Float[Tensor, "*shape"]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return ψ(u) ≤ E ψ(Y) ≤ ½(u + √(u² + σ²)) for ψ = ReLU and any Y of mean u and variance σ².

    Raises:
        TypeError: If an argument is no float tensor.
    """
    require_float_tensor("mean", mean)
    require_float_tensor("variance", variance)
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
