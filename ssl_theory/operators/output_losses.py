"""An operator for every loss of the outputs: of their inner products, or of the covariance of features (T13).

If a loss depends on the outputs F, one row per view, through G = FFᵀ, its full update is 2 K Λ Kᵀ vec(W) with
Λ = −∂L/∂G. In a further output z, 0 so far, the loss is L(F) − zᵀ Λ z + O(z⁴): −2Λ is its Hessian in z.
If it depends on the covariance C of the features, M = −∂L/∂C takes the place of Λ, between features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_theory.losses.feature import feature_covariance
from ssl_theory.validation import require_finite, require_flag, require_float_tensor, require_outputs

__all__ = ["OutputForm", "OutputLoss", "feature_weights", "sample_weights"]

Scalar = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class OutputForm:
    """Λ on views and M on features; as a `PairForm`, a symmetric map t -> (N, A, k, n_L).

    Attributes:
        samples: Λ, shape (N·A, N·A), or None.
        features: M, shape (n_L, n_L) or (A·n_L, A·n_L), or None.
        branches: Which of the two M is.
    """

    samples: Tensor | None
    features: Tensor | None
    branches: bool
    over_objects: bool = False

    def __call__(self, t: Float[Tensor, "N A k n_L"]) -> Float[Tensor, "N A k n_L"]:
        """Return the image of t, the changes of the outputs under k changes of the weights."""
        image = torch.zeros_like(t)
        if self.samples is not None:
            image = image + (self.samples @ t.flatten(0, 1).flatten(1)).reshape(t.shape)
        if self.features is None:
            return image
        n, a, k, width = t.shape
        if not self.branches:
            return image + (t - t.mean((0, 1))) @ self.features / (n * a)
        rows = (t - t.mean(0)).transpose(1, 2).flatten(2)
        return image + (rows @ self.features / n).reshape(n, k, a, width).transpose(1, 2)


@dataclass(frozen=True)
class OutputLoss:
    """A loss of the outputs alone, as a sum of two parts; a `loss` of `operator`.

    Args:
        samples: A function of the outputs, (N, A, n) -> scalar, for any n, through their inner products
            alone: any loss of distances, inner products or cosines of views.
        features: A function of the covariance of the features, as `feature_covariance` gives it.
        branches: Which covariance: of all views, (n_L, n_L), or of the A views of an object side by side,
            each view centred by itself, (A·n_L, A·n_L).

    Raises:
        TypeError: If a part is not callable, or `branches` is no truth value.
        ValueError: If there is no part.

    Example:
        >>> simple = OutputLoss(samples=lambda f: -(f - f.mean(0)).square().sum() / len(f))
        >>> float(simple(torch.tensor([[[1.0]], [[3.0]]])))
        -1.0
    """

    samples: Scalar | None = None
    features: Scalar | None = None
    branches: bool = False

    def __post_init__(self) -> None:
        require_flag("branches", self.branches)
        for name, part in (("samples", self.samples), ("features", self.features)):
            if part is not None and not callable(part):
                raise TypeError(f"{name} must be a function, got {type(part).__name__}")
        if self.samples is None and self.features is None:
            raise ValueError("give at least one of samples and features")

    def __call__(self, outputs: Float[Tensor, "N A n_L"]) -> Float[Tensor, ""]:
        """Return the loss, differentiable in the outputs."""
        total = outputs.new_zeros(())
        if self.samples is not None:
            total = total + self.samples(outputs)
        if self.features is not None:
            total = total + self.features(feature_covariance(outputs, branches=self.branches))
        return total

    def form(self, outputs: Float[Tensor, "N A n_L"]) -> OutputForm:
        """Return Λ and M at the outputs.

        Raises:
            ValueError: If a part is no differentiable scalar, or `samples` depends on more than inner
                products.
        """
        samples = features = None
        if self.samples is not None:
            samples = sample_weights(self.samples, outputs)
        if self.features is not None:
            covariance = feature_covariance(outputs.detach(), branches=self.branches)
            features = feature_weights(self.features, covariance)
        return OutputForm(samples, features, self.branches)


def sample_weights(loss: Scalar, outputs: Float[Tensor, "N A n_L"]) -> Float[Tensor, "views views"]:
    """Return Λ = −∂L/∂G of a loss of G = FFᵀ, from the outputs alone: by a further output that is 0 so far.

    Args:
        loss: (N, A, n) -> scalar, for any n; twice differentiable.
        outputs: f_L of every view, shape (N, A, n_L).

    Returns:
        Symmetric, shape (N·A, N·A): minus half of the loss's Hessian in the further output, by N·A products
        with it.

    Raises:
        TypeError: If the outputs are no float tensor, or the loss returns no tensor.
        ValueError: If they have not three dimensions, the loss is no differentiable scalar, or 2ΛF is not
            minus its gradient: it depends on more than inner products.

    Example:
        >>> sample_weights(lambda f: -f.sum((0, 1)).square().sum(), torch.tensor([[[1.0]], [[2.0]]]))
        tensor([[1., 1.],
                [1., 1.]])
    """
    require_outputs("outputs", outputs)
    outputs = outputs.detach()
    views = outputs.shape[0] * outputs.shape[1]

    def widened(z: Tensor) -> Tensor:
        return _scalar("samples", loss, torch.cat([outputs, z.reshape(*outputs.shape[:2], 1)], -1))

    with torch.enable_grad():
        hessian: Tensor = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
            widened, outputs.new_zeros(views)
        )
    weights: Tensor = -0.25 * (hessian + hessian.mT)
    require_finite("the loss's second derivative", weights)
    _require_inner_products(loss, outputs, weights)
    return weights


def feature_weights(loss: Scalar, covariance: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """Return M = −∂L/∂C, symmetric.

    Args:
        loss: (d, d) -> scalar, a function of a covariance.
        covariance: C, shape (d, d).

    Returns:
        Shape (d, d).

    Raises:
        TypeError: If the covariance is no float tensor, or the loss returns no tensor.
        ValueError: If the loss is no differentiable scalar, or its derivative is not finite.

    Example:
        >>> feature_weights(lambda c: -(c**2).sum(), torch.tensor([[1.0, 0.5], [0.5, 1.0]]))
        tensor([[2., 1.],
                [1., 2.]])
    """
    require_float_tensor("covariance", covariance)
    slope = _gradient("features", loss, covariance)
    weights = -0.5 * (slope + slope.mT)
    require_finite("the loss's derivative", weights)
    return weights


def _require_inner_products(loss: Scalar, outputs: Tensor, weights: Tensor) -> None:
    expected = 2 * (weights @ outputs.flatten(0, 1)).reshape(outputs.shape)
    missing = (_gradient("samples", loss, outputs) + expected).abs().max()
    scale = expected.abs().max() + (weights.abs() @ outputs.flatten(0, 1).abs()).max()
    if missing > outputs.shape[0] * 1e4 * torch.finfo(outputs.dtype).eps * scale:
        raise ValueError(
            "samples must depend on the outputs through their inner products alone: its gradient differs "
            f"from −2ΛF by {float(missing):.1e}"
        )


def _gradient(name: str, loss: Scalar, at: Tensor) -> Tensor:
    with torch.enable_grad():
        point = at.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(_scalar(name, loss, point), point, materialize_grads=True)
    return slope


def _scalar(name: str, loss: Scalar, at: Tensor) -> Tensor:
    value = loss(at)
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must return a tensor, got {type(value).__name__}")
    if value.numel() != 1:
        raise ValueError(f"{name} must return a scalar, got shape {tuple(value.shape)}")
    if not value.requires_grad:
        raise ValueError(f"{name} must be differentiable, got a value without a gradient")
    return value.squeeze()
