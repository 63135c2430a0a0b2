"""What a loss asks of the outputs, and the forms of its operators, from the outputs alone (T5, T13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ssl_theory.losses import ContrastiveLoss, InfoNCE, SimpleContrastive, SoftTriplet, nt_xent
from ssl_theory.losses.weights import mean_loss
from ssl_theory.operators import OutputLoss
from ssl_theory.operators.pairs import Part, form_of
from ssl_theory.validation import require_one_of, require_real

__all__ = ["LOSSES", "Action", "Loss", "act", "named_loss", "over_pairs"]

Scalar = Callable[[Tensor], Tensor]
Form = Callable[[Tensor], Tensor]
PARTS: tuple[Part, Part] = ("exact", "leading")
Loss = ContrastiveLoss | OutputLoss | Scalar


@dataclass(frozen=True, eq=False)
class Action:
    """What a loss asks of the outputs of some objects.

    Attributes:
        value: The loss.
        slope: ∂L/∂f, shape (N, A, n_L).
        exact: Λ of the operator whose double is the full update, or None.
        leading: Λ of its leading part, which sees augmentation means alone, or None.
        reason: Why there is no operator; empty if there is one.
    """

    value: float
    slope: Float[Tensor, "N A n_L"]
    exact: Form | None
    leading: Form | None
    reason: str = ""

    def weights(self) -> Float[Tensor, "views views"] | None:
        """Return −Λ between views: how strongly a pair is pushed apart; None if the loss acts otherwise."""
        n, a, _ = self.slope.shape
        if self.exact is None or getattr(self.exact, "features", None) is not None:
            return None
        eye = torch.eye(n * a, dtype=self.slope.dtype, device=self.slope.device)
        return -self.exact(eye.reshape(n, a, n * a, 1)).reshape(n * a, n * a)


def act(loss: Loss, outputs: Float[Tensor, "N A n_L"], negatives: int = 1) -> Action:
    """Return what a loss asks of outputs.

    Args:
        loss: A loss of the library, with `negatives` negatives; an `OutputLoss`; or any function of the
            outputs, (N, A, n_L) -> scalar, which has an operator if it depends on inner products alone.
        outputs: f of every view.
        negatives: H.

    Returns:
        Its value, slope and forms.

    Raises:
        TypeError: If the loss is none of these, or returns no tensor.
        ValueError: If its value is no finite, differentiable scalar.
    """
    if isinstance(loss, ContrastiveLoss):
        value, slope = _slope(_scalar(loss, negatives), outputs)
        exact, leading = (form_of(part, outputs, loss, negatives) for part in PARTS)
        return Action(value, slope, exact, leading)
    value, slope = _slope(_scalar(loss, negatives), outputs)
    whole = loss if isinstance(loss, OutputLoss) else OutputLoss(samples=_of_any_width(loss))
    try:
        exact, at_means = whole.form(outputs), whole.form(_means(outputs))
    except (ValueError, RuntimeError) as error:
        return Action(value, slope, None, None, f"the loss has no operator here: {error}")
    return Action(value, slope, exact, lambda t: _means(at_means(_means(t))))


def slope_of(loss: Loss, outputs: Float[Tensor, "N A n_L"], negatives: int) -> Tensor:
    """Return ∂L/∂f alone; arguments and errors as in `act`."""
    return _slope(_scalar(loss, negatives), outputs)[1]


def over_pairs(loss: Callable[[Tensor, Tensor], Tensor]) -> Scalar:
    """Return the mean of a loss of two views over all pairs of the views of a view set.

    Args:
        loss: (N, n_L), (N, n_L) -> scalar, such as SimCLR's or one of another library.

    Returns:
        A function of outputs, (N, A, n_L) -> scalar.

    Raises:
        TypeError: If the loss is not callable.

    Example:
        >>> gap = over_pairs(lambda first, second: (first - second).square().sum())
        >>> gap(torch.tensor([[[0.0], [1.0], [3.0]]]))  # mean of 1, 9 and 4
        tensor(4.6667)
    """
    if not callable(loss):
        raise TypeError(f"loss must be a function of two views, got {type(loss).__name__}")

    def mean(outputs: Tensor) -> Tensor:
        pairs = torch.combinations(torch.arange(outputs.shape[1])).tolist()
        return torch.stack([loss(outputs[:, a], outputs[:, b]) for a, b in pairs]).mean()

    return mean


LOSSES = ("infonce", "nt-xent", "simple", "triplet")


def named_loss(name: str, *, temperature: float = 0.5, margin: float = 0.0) -> Loss:
    """Return a loss by its name.

    Args:
        name: "infonce", "simple" or "triplet", of distances of outputs with H independent negatives, or
            "nt-xent", SimCLR's, of cosines with the other objects of the view set as negatives, averaged over
            pairs of views.
        temperature: τ.
        margin: r_0 of the triplet loss.

    Returns:
        The loss.

    Raises:
        TypeError: If a number is none.
        ValueError: If the name is none of these, or a number is out of range.
    """
    require_one_of("name", name, LOSSES)
    if name == "nt-xent":
        require_real("temperature", temperature, above=0.0)
        return over_pairs(partial(nt_xent, temperature=temperature))
    if name == "infonce":
        return InfoNCE(temperature)
    return SimpleContrastive() if name == "simple" else SoftTriplet(temperature, margin)


def ignores_length(outputs: Float[Tensor, "N A n_L"], slope: Float[Tensor, "N A n_L"]) -> bool:
    """Return whether a loss does not change with the length of any output, as losses of cosines do."""
    along = (outputs * slope).sum(-1).abs().sum()
    bound = (outputs.norm(dim=-1) * slope.norm(dim=-1)).sum()
    return bool(bound > 0) and float(along / bound) < 1e3 * torch.finfo(outputs.dtype).eps


def on_sphere(outputs: Float[Tensor, "N A n_L"], slope: Float[Tensor, "N A n_L"]) -> Tensor:
    """Return the outputs that a loss compares: of length 1 if it does not see the length."""
    return F.normalize(outputs, dim=-1) if ignores_length(outputs, slope) else outputs


def _scalar(loss: Loss, negatives: int) -> Scalar:
    if isinstance(loss, ContrastiveLoss):
        return partial(mean_loss, loss=loss, negatives=negatives)
    if not callable(loss):
        raise TypeError(f"loss must be a loss or a function of the outputs, got {type(loss).__name__}")
    return loss


def _slope(loss: Scalar, outputs: Tensor) -> tuple[float, Tensor]:
    with torch.enable_grad():
        live = outputs.detach().clone().requires_grad_()
        value = loss(live)
        if not isinstance(value, Tensor):
            raise TypeError(f"loss must return a tensor, got {type(value).__name__}")
        if value.numel() != 1 or not value.requires_grad:
            raise ValueError(f"loss must return a differentiable scalar, got shape {tuple(value.shape)}")
        (slope,) = torch.autograd.grad(value, live, materialize_grads=True)
    if not bool(torch.isfinite(slope).all() & torch.isfinite(value)):
        raise ValueError(f"loss must be finite with a finite gradient, got {float(value.detach())}")
    return float(value.detach()), slope


def _of_any_width(loss: Scalar) -> Scalar:
    def told(outputs: Tensor) -> Tensor:
        try:
            return loss(outputs)
        except (RuntimeError, IndexError, TypeError) as error:
            raise ValueError(f"it does not take one more output: {error}") from error

    return told


def _means(t: Tensor) -> Tensor:
    return t.mean(1, keepdim=True).expand(t.shape)
